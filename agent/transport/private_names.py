"""Every private name of aiortc, aioice and pylibsrtp that this package leans on, and the check that it is there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

CHECKED_VERSIONS: Final[Mapping[str, str]] = {
    "aiortc": "1.16",
    "aioice": "0.13",
    "pylibsrtp": "1.0",
}
"""The minor versions that pyproject.toml pins and that tests/transport/test_private_names.py ran with."""


class UnsupportedLibrary(RuntimeError):
    """A library lacks a name without which no connection can be made; the text says which and what to install."""


@dataclass(frozen=True, slots=True)
class PrivateNames:
    """Names of one class or module, and whether a connection can do without them.

    Without the names of a fast group, media takes aiortc's own way (`dtls._send_rtp` on the loop).
    """

    owner: str
    names: tuple[str, ...]
    used_for: str
    fast: bool = False


PRIVATE_NAMES: Final = (
    PrivateNames("aiortc.rtcpeerconnection", ("RTCRtpSender",), "our sender stands in while built"),
    PrivateNames("RTCRtpTransceiver", ("_codecs", "_headerExtensions"), "the negotiated formats"),
    PrivateNames("RTCIceTransport", ("_connection",), "the aioice connection"),
    PrivateNames("RTCDtlsTransport", ("_handle_rtcp_data", "_send_rtp"), "RTCP in, RTP out"),
    PrivateNames("RTCDtlsTransport", ("_srtp_profiles", "_role", "_set_role"), "AES-128-GCM first"),
    PrivateNames(
        "Connection",
        ("_local_candidates", "_local_candidates_start", "_local_candidates_end", "_closing"),
        "host candidates at once",
    ),
    PrivateNames(
        "Connection",
        ("_protocols", "_remote_candidates", "_pair_remote_candidate", "_check_list_done"),
        "relayed candidates later",
    ),
    PrivateNames(
        "Connection",
        (
            "_unfreeze_initial",
            "_early_checks",
            "_early_checks_done",
            "_check_list",
            "_check_periodic",
        ),
        "a path is taken at once",
    ),
    PrivateNames(
        "Connection", ("_check_list_state", "_query_consent_task"), "no consent checks after close"
    ),
    PrivateNames("RTCDtlsTransport", ("_tx_srtp", "_ssl"), "SRTP in place", fast=True),
    PrivateNames("Connection", ("_nominated",), "the selected pair's socket", fast=True),
    PrivateNames("Session", ("_srtp",), "the libsrtp session", fast=True),
    PrivateNames("pylibsrtp._binding", ("ffi", "lib"), "libsrtp's own functions", fast=True),
)


def missing(owners: Mapping[str, object], *, fast: bool) -> tuple[str, ...]:
    """Which names the given objects lack, as "owner.name"; `fast` chooses the group."""
    return tuple(
        f"{group.owner}.{name}"
        for group in PRIVATE_NAMES
        if group.fast is fast and group.owner in owners
        for name in group.names
        if not hasattr(owners[group.owner], name)
    )


def require(owners: Mapping[str, object]) -> None:
    """Raise UnsupportedLibrary when a name is missing that nothing can replace."""
    names = missing(owners, fast=False)
    if names:
        raise UnsupportedLibrary(
            f"{', '.join(names)} is missing: install {_wanted()}"
            " (this version was made for exactly these)"
        )


def _wanted(libraries: Iterable[tuple[str, str]] = CHECKED_VERSIONS.items()) -> str:
    return ", ".join(f"{name}=={version}.*" for name, version in libraries)
