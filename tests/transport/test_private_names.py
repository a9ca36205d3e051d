"""Fails loudly when aiortc, aioice or pylibsrtp changes what agent/transport leans on."""

from __future__ import annotations

import ctypes
import importlib.metadata
import inspect
import re
from typing import Any

import aioice
import pytest
from aiortc import RTCDtlsTransport, RTCPeerConnection, rtcpeerconnection
from pylibsrtp import Policy, Session
from pylibsrtp._binding import ffi, lib

from agent.transport import private_names
from agent.transport.path import SRTP_WINDOW_PACKETS, protector
from agent.transport.private_names import CHECKED_VERSIONS, PRIVATE_NAMES
from agent.transport.track_sender import add_transceiver


@pytest.mark.parametrize("library", CHECKED_VERSIONS)
def test_the_installed_version_is_the_checked_one(library: str) -> None:
    version = importlib.metadata.version(library)
    assert version.startswith(CHECKED_VERSIONS[library] + "."), (
        f"{library} {version}: check every name in agent/transport/private_names.py, then the version"
    )


async def owners() -> dict[str, Any]:
    pc = RTCPeerConnection()
    transceiver = add_transceiver(pc, "video")
    dtls = transceiver.receiver.transport
    await pc.close()
    policy = Policy(key=bytes(30), ssrc_type=Policy.SSRC_ANY_OUTBOUND)
    return {
        "aiortc.rtcpeerconnection": rtcpeerconnection,
        "RTCRtpTransceiver": transceiver,
        "RTCIceTransport": dtls.transport,
        "RTCDtlsTransport": dtls,
        "Connection": dtls.transport._connection,
        "Session": Session(policy),
        "pylibsrtp._binding": importlib.import_module("pylibsrtp._binding"),
    }


async def test_every_private_name_is_there() -> None:
    there = await owners()
    assert {group.owner for group in PRIVATE_NAMES} <= set(there)
    assert private_names.missing(there, fast=False) == ()
    assert private_names.missing(there, fast=True) == ()


async def test_a_missing_name_is_named_with_the_version_to_install() -> None:
    there = {**await owners(), "RTCDtlsTransport": object()}
    with pytest.raises(private_names.UnsupportedLibrary, match=r"_send_rtp.*aiortc==1\.16"):
        private_names.require(there)
    assert "RTCDtlsTransport._tx_srtp" in private_names.missing(there, fast=True)


def test_aioice_connects_by_what_we_do_in_its_stead() -> None:
    source = inspect.getsource(aioice.Connection.connect)
    steps = re.findall(r"(?:self\.|await )[\w.]+\(|self\._early_checks_done = True", source)
    assert steps == [
        "self._pair_remote_candidate(", "self.sort_check_list(", "self._unfreeze_initial(",
        "self.check_incoming(", "self._early_checks.clear(", "self._early_checks_done = True",
        "self._check_periodic(", "await asyncio.sleep(", "await self._check_list_state.get(",
        "self.query_consent(",
    ]  # fmt: skip


def test_libsrtp_has_the_functions_that_we_call() -> None:
    assert ffi.typeof(lib.srtp_protect).args[1].kind == "pointer"
    assert ffi.typeof(lib.srtp_protect_rtcp).args[2].item.cname == "int"


@pytest.mark.parametrize("name", ["srtp_protect", "srtp_protect_rtcp"])
def test_libsrtp_called_with_the_lock_held_does_what_the_binding_does(name: str) -> None:
    policy = Policy(key=bytes(30), ssrc_type=Policy.SSRC_ANY_OUTBOUND)
    theirs, ours = Session(policy), Session(policy)
    rtp = name == "srtp_protect"
    packet = b"\x80\x60\0\1\0\0\0\1\0\0\0\1payload" if rtp else b"\x80\xc8\0\1\0\0\0\1"
    buffer, length = ctypes.create_string_buffer(packet, 100), ctypes.c_int(len(packet))
    session = ctypes.c_void_p(int(ffi.cast("uintptr_t", ours._srtp[0])))
    pointers = (ctypes.c_void_p(ctypes.addressof(it)) for it in (buffer, length))
    assert protector(name)(session, *pointers) == 0
    assert buffer.raw[: length.value] == (theirs.protect if rtp else theirs.protect_rtcp)(packet)
    length.value = 3
    pointers = (ctypes.c_void_p(ctypes.addressof(it)) for it in (buffer, length))
    assert protector(name)(session, *pointers) != 0


def test_the_window_of_srtp_is_what_we_repeat_within() -> None:
    source = inspect.getsource(RTCDtlsTransport._setup_srtp)
    assert f"tx_policy.window_size = {SRTP_WINDOW_PACKETS}\n" in source
    assert "tx_policy.allow_repeat_tx = True\n" in source


def test_aiortc_calls_what_we_replace() -> None:
    assert "self._handle_rtcp_data(" in inspect.getsource(RTCDtlsTransport._recv_next)
    assert "self._srtp_profiles" in inspect.getsource(RTCDtlsTransport.start)
    source = inspect.getsource(RTCPeerConnection)
    assert "sender=RTCRtpSender(" in source
    assert "codecs=transceiver._codecs" in source
    module: Any = rtcpeerconnection
    assert module.RTCRtpSender.__module__ == "aiortc.rtcrtpsender"
