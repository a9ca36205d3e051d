"""RTCP both ways: a viewer's reports become calls of the peer, our sender reports go out about once a second."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from functools import partial
from typing import Final, Protocol

from agent.congestion.liveness import Rhythm
from agent.rtp import rtcp
from agent.rtp.feedback import TransportFeedback
from agent.rtp.keyframes import KeyframeRequests
from agent.rtp.rtcp import LossReport
from agent.transport.sender import AUDIO_CLOCK_HZ, VIDEO_CLOCK_HZ, MediaSender, Streams

AGAIN_S: Final = 0.01
"""Where parity packets are worth it, a repetition is sent twice: one that gets lost as well costs another round trip.
The second one so much later, that a burst of losses does not take both, and still within a frame's interval."""
RTT_ALPHA: Final = 0.85
"""How much of the old estimate stays; as aiortc."""

log = logging.getLogger(__name__)


class ControlListener(Protocol):
    """Who is told what the viewer's RTCP says. All calls on the event loop."""

    def on_keyframe_wanted(self) -> None:
        """The viewer needs a key frame; asked for as seldom as agent/rtp/keyframes.py says."""
        ...

    def on_report(self, report: LossReport) -> None:
        """A receiver report about our video."""
        ...

    def on_audio_report(self, report: LossReport) -> None:
        """A receiver report about our sound."""
        ...

    def on_transport_feedback(self, feedback: TransportFeedback) -> None:
        """Arrival times, for a delay-based controller."""
        ...


class Control:
    """The RTCP of one peer connection. Lives on the event loop."""

    def __init__(
        self, sender: MediaSender, streams: Streams, cname: str, listener: ControlListener
    ) -> None:
        self._sender = sender
        self._video_ssrc = streams.video.ssrc
        self._audio_ssrc = None if streams.audio is None else streams.audio.ssrc
        self._cname = cname
        self._listener = listener
        self._keyframes = KeyframeRequests()
        self._reference: tuple[rtcp.ReferenceTime, float] | None = None
        """The viewer's latest, and when it came."""
        self.rtt_s: float | None = None
        self.rhythm = Rhythm()
        """In which the viewer reports."""
        self.rejected = 0
        """Datagrams that were no RTCP."""

    async def handle_datagram(self, datagram: bytes) -> None:
        """Take one decrypted compound packet; stands in for aiortc's `_handle_rtcp_data`."""
        try:
            packets = rtcp.parse(datagram)
        except rtcp.RtcpError as error:
            self.rejected += 1
            log.debug("RTCP from the viewer dropped: %s", error)
            return
        self.rhythm.heard(time.monotonic())
        for packet in packets:
            try:
                self._handle(packet)
            except Exception:  # would end aiortc's loop, and with it the connection
                log.exception("%s from the viewer was not handled", type(packet).__name__)

    def _handle(self, packet: rtcp.RtcpPacket) -> None:
        now = time.monotonic()
        match packet:
            case rtcp.ReceiverReport(blocks=blocks) | rtcp.SenderReport(blocks=blocks):
                for block in blocks:
                    self._report(block)
            case rtcp.Nack(media_ssrc=ssrc, sequences=sequences) if ssrc == self._video_ssrc:
                sent = self._sender.repeat(sequences, self.rtt_s)
                if sent and self._sender.is_protecting:
                    again = partial(self._sender.repeat, sent, AGAIN_S)
                    asyncio.get_running_loop().call_later(AGAIN_S, again)
            case rtcp.PictureLoss(media_ssrc=ssrc) if ssrc == self._video_ssrc:
                if self._keyframes.pli(now, self.rtt_s):
                    self._listener.on_keyframe_wanted()
            case rtcp.FullIntraRequest(entries=entries):
                for ssrc, sequence in entries:
                    ours = ssrc == self._video_ssrc
                    if ours and self._keyframes.fir(sequence, now, self.rtt_s):
                        self._listener.on_keyframe_wanted()
            case rtcp.ReferenceTime():
                self._reference = packet, now
            case TransportFeedback():
                self._listener.on_transport_feedback(packet)
            case _:
                pass  # SDES, BYE, REMB and others' streams say nothing that we act on

    def want_keyframe(self) -> None:
        """Our own sender needs one (its queue overflowed); deduplicated with the viewer's requests."""
        if self._keyframes.pli(time.monotonic(), self.rtt_s):
            self._listener.on_keyframe_wanted()

    def _report(self, block: rtcp.ReportBlock) -> None:
        if block.ssrc not in (self._video_ssrc, self._audio_ssrc):
            return
        now_ntp = self._sender.ntp(time.monotonic())
        rtt_s = rtcp.round_trip_s(block, now_ntp)
        if rtt_s is not None:
            old = self.rtt_s
            self.rtt_s = rtt_s if old is None else RTT_ALPHA * old + (1 - RTT_ALPHA) * rtt_s
        video = block.ssrc == self._video_ssrc
        report = LossReport(
            packets_lost=block.packets_lost,
            highest_sequence=block.highest_sequence,
            rtt_s=self.rtt_s,
            jitter_s=block.jitter / (VIDEO_CLOCK_HZ if video else AUDIO_CLOCK_HZ),
            reached_s=rtcp.reached_s(block, now_ntp),
        )
        if video:
            self._listener.on_report(report)
        else:
            self._listener.on_audio_report(report)

    async def send_reports(self) -> None:
        """Send reports until cancelled: at once, then every 0.5 to 1.5 s (RFC 3550 6.3.1)."""
        while True:
            for report in self._sender.reports():
                compound = rtcp.sender_report(report, self._cname)
                if report.ssrc == self._video_ssrc:
                    compound += self._reference_answer()
                self._sender.send_rtcp(compound)
            await asyncio.sleep(0.5 + random.random())  # noqa: S311 - spreads reports, hides nothing

    def _reference_answer(self) -> bytes:
        """From which the viewer learns its round trip, and so when to ask again for what is still missing."""
        if self._reference is None:
            return b""
        asked, came_at = self._reference
        return rtcp.reference_answer(self._video_ssrc, asked, time.monotonic() - came_at)

    def say_goodbye(self) -> None:
        """BYE (RFC 3550 6.6)."""
        self._sender.send_rtcp(rtcp.goodbye(self._video_ssrc))
