"""Stands in for aiortc's RTCRtpSender, so that its own encoder, history and RTCP never start."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from typing import Any

from aiortc import RTCDtlsTransport, RTCPeerConnection, RTCRtpTransceiver, rtcpeerconnection
from aiortc.rtcrtpparameters import RTCRtpSendParameters


class TrackSender:
    """What RTCPeerConnection needs to know of a sender: its names in the answer. It sends nothing itself."""

    def __init__(self, track_or_kind: object, transport: RTCDtlsTransport) -> None:
        self.kind = str(track_or_kind)
        self.track = None
        self.transport = transport
        self._ssrc = secrets.randbits(32)
        self._rtx_ssrc = secrets.randbits(32)
        self._stream_id = self.kind
        self._track_id = self.kind
        self._enabled = True

    def setTransport(self, transport: RTCDtlsTransport) -> None:  # noqa: N802 - aiortc's name
        """aiortc bundles the sections onto one transport."""
        self.transport = transport

    async def send(self, parameters: RTCRtpSendParameters) -> None:
        """aiortc says that the transport is up; our sender starts with the connection's state."""

    async def stop(self) -> None:
        """aiortc closes the transceiver; our sender was stopped before."""

    async def _handle_rtcp_packet(self, packet: object) -> None:
        """Never called: RTCP is taken before aiortc parses it."""

    def _send_keyframe(self) -> None:
        """Never called, as above."""


@contextlib.contextmanager
def _stand_in() -> Iterator[None]:
    module: Any = rtcpeerconnection
    original = module.RTCRtpSender
    module.RTCRtpSender = TrackSender
    try:
        yield
    finally:
        module.RTCRtpSender = original


def add_transceiver(pc: RTCPeerConnection, kind: str) -> RTCRtpTransceiver:
    """A send-only transceiver with our sender in it, in a MediaStream of its own.

    The replacement of the class lasts for this synchronous call only.
    """
    with _stand_in():
        transceiver = pc.addTransceiver(kind, direction="sendonly")
    sender: Any = transceiver.sender
    sender._stream_id = f"tightbeam-{kind}"
    return transceiver
