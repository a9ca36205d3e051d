"""One viewer's WebRTC connection: the offer in, the answer out, then media, RTCP and data channels until it ends."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Literal

from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCSessionDescription,
    rtcpeerconnection,
)
from aiortc.exceptions import InternalError, InvalidAccessError, InvalidStateError, OperationError

from agent.congestion.flight import Packet
from agent.encode.base import PROFILES, AccessUnit, Profile, VideoCodec
from agent.frames import SentFrame
from agent.rtp.fec import Loss
from agent.rtp.feedback import TransportFeedback
from agent.rtp.packet import PlayoutDelay
from agent.rtp.rtcp import LossReport
from agent.transport import ice, negotiation, private_names
from agent.transport.candidates import END_OF_CANDIDATES, IceServer, addresses, from_wire, to_wire
from agent.transport.channels import Channels
from agent.transport.control import Control
from agent.transport.listener import PeerListener
from agent.transport.offer import read_offer, with_parity_stream
from agent.transport.path import Path, open_path
from agent.transport.ports import PortRange
from agent.transport.sender import MediaSender, SendStats, Streams
from agent.transport.track_sender import add_transceiver
from cluster.protocol.messages import Candidate

SendPath = Literal["fast", "portable"]
CONNECT_TIMEOUT_S: Final = 30.0
"""Below the 39.5 s of RFC 8863 4: a person waits in front of it."""
MAX_EARLY_CANDIDATES: Final = 256
"""As many as a negotiation log holds (docs/protocol.md 3.2). Overflow: later ones are dropped."""
SDP_ERRORS: Final = (
    ValueError,
    AssertionError,
    LookupError,
    TypeError,
    AttributeError,
    InternalError,
    InvalidAccessError,
    InvalidStateError,
    OperationError,
)

log = logging.getLogger(__name__)


def _send_path() -> SendPath:
    return "portable" if os.environ.get("TIGHTBEAM_SEND_PATH") == "portable" else "fast"


@dataclass(frozen=True, slots=True)
class PeerOptions:
    """What a connection begins with."""

    bitrate_bps: int = 8_000_000
    playout_delay: PlayoutDelay = field(default_factory=PlayoutDelay)
    connect_timeout_s: float = CONNECT_TIMEOUT_S
    send_path: SendPath = field(default_factory=_send_path)
    profiles: tuple[Profile, ...] = PROFILES
    """Of H.264, those that can be sent, the one to be preferred first."""
    udp_ports: PortRange | None = None
    """Of our own candidates; None: any."""
    sends_at_once: bool = True
    """See `MediaSender`."""


class Peer:
    """Lives on one event loop; `send_video`, `send_audio`, `set_rate` and `stats` are for any thread."""

    def __init__(
        self,
        listener: PeerListener,
        ice_servers: Sequence[IceServer] = (),
        options: PeerOptions | None = None,
    ) -> None:
        self._listener = listener
        self._servers = addresses(ice_servers)
        self._options = options or PeerOptions()
        self._loop = asyncio.get_running_loop()
        self._pc = RTCPeerConnection(
            RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        )
        self._channels = Channels(listener.on_channel, listener.on_message)
        self._tasks: set[asyncio.Task[None]] = set()
        self._early: list[Candidate] = []
        self._ice: Any = None
        self._dtls: Any = None
        self._streams: Streams | None = None
        self._cname = ""
        self._first_mid = ""
        self._path: Path | None = None
        self._sender: MediaSender | None = None
        self._control: Control | None = None
        self._bitrate_bps = self._options.bitrate_bps
        self._last_stats = SendStats()
        self._closing: asyncio.Task[None] | None = None
        self._feedbacks = 0

    @property
    def video_codec(self) -> VideoCodec:
        """The codec of the answer; raises RuntimeError before it."""
        if self._streams is None:
            raise RuntimeError("answer() must come first: it chooses the codec")
        return self._streams.codec

    @property
    def has_transport_feedback(self) -> bool:
        """Whether the viewer will tell when each packet arrived; False before the answer."""
        return self._streams is not None and self._streams.video.transport_cc_id is not None

    @property
    def has_parity(self) -> bool:
        """Whether the viewer takes parity packets; False before the answer."""
        return self._streams is not None and self._streams.fec is not None

    @property
    def profile(self) -> Profile:
        """Of H.264: the most that the answer allows; raises RuntimeError before it."""
        if self._streams is None:
            raise RuntimeError("answer() must come first: it chooses the profile")
        return self._streams.profile

    async def answer(self, offer_sdp: str) -> str:
        """The answer, with this machine's addresses in it; raise ValueError in words for a bad offer."""
        if self._dtls is not None or self._closing is not None:
            raise RuntimeError("one offer per peer: make a new Peer for a new negotiation")
        offer = read_offer(offer_sdp, self._options.profiles)
        transceivers = {
            section.kind: add_transceiver(self._pc, section.kind)
            for section in offer.sections
            if section.kind != "application"
        }
        first = next(iter(transceivers.values()))
        self._dtls = first.receiver.transport
        self._ice = self._dtls.transport._connection
        private_names.require(
            {
                "aiortc.rtcpeerconnection": rtcpeerconnection,
                "RTCRtpTransceiver": first,
                "RTCIceTransport": self._dtls.transport,
                "RTCDtlsTransport": self._dtls,
                "Connection": self._ice,
            }
        )
        self._pc.on("connectionstatechange", self._on_state)
        self._pc.on("datachannel", self._on_datachannel)
        self._dtls.on("statechange", self._on_dtls_state)
        negotiation.prefer_gcm(self._dtls)
        self._ice.connect = partial(ice.connect, self._ice)
        await ice.gather_host(self._ice, self._options.udp_ports)
        try:
            await self._pc.setRemoteDescription(RTCSessionDescription(offer.sdp, "offer"))
            self._first_mid = offer.sections[0].mid
            self._streams = negotiation.agree(offer, transceivers, self._options.playout_delay)
            negotiation.become_dtls_server(self._dtls)
            await self._pc.setLocalDescription(await self._pc.createAnswer())
        except SDP_ERRORS as error:
            if self._closing is not None:
                raise ValueError("the connection was closed while it was being answered") from None
            raise ValueError(f"the offer cannot be answered: {error}") from error
        for candidate in (*offer.candidates, *self._early):
            self._add(candidate)
        self._early.clear()
        self._spawn(self._gather(self._first_mid), "gather")
        self._spawn(self._give_up(), "connect-timeout")
        answer = str(self._pc.localDescription.sdp)
        self._cname = answer.partition(" cname:")[2].partition("\r\n")[0]
        if self._streams is not None and self._streams.fec is not None:
            ssrc = self._streams.video.ssrc
            answer = with_parity_stream(answer, ssrc, self._streams.fec.ssrc)
        return answer.replace("a=end-of-candidates\r\n", "")

    async def add_candidate(self, candidate: Candidate) -> None:
        """Take a candidate of the viewer; before `answer` it is kept until then."""
        if self._streams is not None:
            self._add(candidate)
        elif len(self._early) < MAX_EARLY_CANDIDATES:
            self._early.append(candidate)

    def _add(self, candidate: Candidate) -> None:
        """Only the first section's count: it carries the bundle (RFC 8843 7.3.1), the others' ports die.

        The end of candidates means nothing here: `offer._without_candidates` says why.
        """
        if candidate.candidate == END_OF_CANDIDATES or self._closing is not None:
            return
        if candidate.sdp_mid not in (None, self._first_mid):
            return
        if candidate.sdp_mid is None and candidate.sdp_mline_index not in (None, 0):
            return
        try:
            parsed = from_wire(candidate)
        except ValueError as error:
            log.info("candidate of the viewer dropped: %s", error)
            return
        if parsed is not None and len(self._ice.remote_candidates) < MAX_EARLY_CANDIDATES:
            self._spawn(ice.add_remote(self._ice, parsed), "candidate")

    async def _gather(self, mid: str) -> None:
        def found(candidate: Any) -> None:
            self._listener.on_candidate(to_wire(candidate, mid))

        await ice.gather_public(self._ice, self._servers, found)
        self._listener.on_candidate(Candidate(END_OF_CANDIDATES, mid, 0))

    async def _give_up(self) -> None:
        await asyncio.sleep(self._options.connect_timeout_s)
        if self._sender is None:
            seconds = round(self._options.connect_timeout_s)
            self._finish(f"no network path to the viewer was found within {seconds} s")

    def _on_state(self) -> None:
        """aiortc's connection state changed."""
        state = self._pc.connectionState
        if state == "connected" and self._sender is None and self._closing is None:
            self._start_media()
            self._listener.on_connected()
        elif state == "failed":
            if self._sender is not None:
                self._finish("the viewer stopped answering")
            elif self._dtls.state == "failed" and self._dtls.transport.state == "completed":
                self._finish("the encrypted connection to the viewer could not be set up")
            else:
                self._finish("no network path to the viewer was found")

    def _on_dtls_state(self) -> None:
        """DTLS ends with the viewer's close_notify, or when ICE consent expired under it (RFC 7675)."""
        if self._dtls.state == "closed":
            alive = getattr(self._ice, "_nominated", None)
            self._finish(
                "the viewer closed the connection" if alive else "the viewer stopped answering"
            )

    def _start_media(self) -> None:
        if self._streams is None:
            raise RuntimeError("connected before it was answered")
        self._path = open_path(
            self._dtls, self._loop, portable=self._options.send_path == "portable"
        )
        self._sender = MediaSender(
            self._streams,
            self._path,
            self._bitrate_bps,
            self._want_keyframe,
            sends_at_once=self._options.sends_at_once,
        )
        self._control = Control(self._sender, self._streams, self._cname, self)
        self._dtls._handle_rtcp_data = self._control.handle_datagram
        self._sender.start()
        self._spawn(self._control.send_reports(), "rtcp")

    def _want_keyframe(self) -> None:
        """The sender thread or an encode thread found that the stream must start anew."""
        control = self._control
        if control is not None and self._closing is None:
            self._loop.call_soon_threadsafe(control.want_keyframe)

    def on_keyframe_wanted(self) -> None:
        """From `Control`: passed on."""
        if self._closing is None:
            self._listener.on_keyframe_wanted()

    def on_report(self, report: LossReport) -> None:
        """From `Control`: passed on."""
        if self._closing is None:
            self._listener.on_report(report)

    def on_audio_report(self, report: LossReport) -> None:
        """From `Control`: passed on."""
        if self._closing is None:
            self._listener.on_audio_report(report)

    def on_transport_feedback(self, feedback: TransportFeedback) -> None:
        """From `Control`: matched with what was sent, and passed on."""
        self._feedbacks += 1
        if self._closing is None and self._sender is not None:
            self._listener.on_feedback(self._sender.acknowledge(feedback))

    def _on_datachannel(self, channel: RTCDataChannel) -> None:
        if self._closing is None:
            self._channels.accept(channel)

    def send_video(self, unit: AccessUnit) -> None:
        """Send an access unit of `video_codec`. From any thread; never blocks. Dropped before `on_connected`."""
        sender = self._sender
        if sender is not None:
            sender.send_video(unit)

    def send_audio(self, packet: bytes, timestamp: int) -> None:
        """Send one Opus packet; `timestamp` counts 48 kHz. From any thread. Dropped before `on_connected`."""
        sender = self._sender
        if sender is not None:
            sender.send_audio(packet, timestamp)

    def repeat_sound(self, *, repeats: bool) -> None:
        """Whether each Opus packet goes out again behind the next one. From any thread."""
        sender = self._sender
        if sender is not None:
            sender.repeats_sound = repeats

    def send(self, label: str, payload: bytes) -> bool:
        """Send on a data channel. On the loop; False when it is not open or too much is waiting."""
        return self._closing is None and self._channels.send(label, payload)

    def set_rate(self, bitrate_bps: int) -> None:
        """The target bitrate. From any thread."""
        self._bitrate_bps = bitrate_bps
        sender = self._sender
        if sender is not None:
            sender.set_rate(bitrate_bps)

    def protect(self, loss: Loss | None) -> None:
        """Against this loss: second repetitions, and parity packets where they were negotiated. From any thread."""
        sender = self._sender
        if sender is not None:
            sender.protect(loss)

    @property
    def link_bps(self) -> float:
        """How fast the path takes a burst; 0: not known."""
        return 0.0 if self._sender is None else self._sender.link_bps

    def arrived(self, arrivals: Sequence[tuple[int, float]]) -> list[Packet]:
        """What the page's arrivals say of what was sent (see `FrameFlight.arrived`). From any thread."""
        sender = self._sender
        return [] if sender is None else sender.arrived(arrivals)

    def waiting_since(self) -> float | None:
        """When the oldest packet left of which no feedback spoke yet; None: none is missing.

        Of a viewer that gives no feedback: when its next report was due.
        """
        sender, control = self._sender, self._control
        if sender is None or control is None:
            return None
        if self.has_transport_feedback:
            return sender.waiting_since()
        return control.rhythm.overdue_since(time.monotonic())

    def stats(self) -> SendStats:
        """Counters of what was sent; the last ones after `close`. From any thread."""
        sender = self._sender
        return sender.stats() if sender is not None else self._last_stats

    def take_sent_frames(self) -> list[SentFrame]:
        """The frames that were sent since the last call, and when. On the loop."""
        sender = self._sender
        return [] if sender is None else sender.take_sent_frames()

    @property
    def way(self) -> str:
        """How packets go to the viewer: `direct`, by a `relay` of either side, or `unknown`."""
        pairs = getattr(self._ice, "_nominated", None) or {}
        candidates = [
            candidate.type
            for pair in pairs.values()
            for candidate in (pair.local_candidate, pair.remote_candidate)
        ]
        if not candidates:
            return "unknown"
        return "relay" if "relay" in candidates else "direct"

    def counts(self) -> dict[str, int]:
        """What a log says of this connection when it has ended, by name."""
        sent = self.stats()
        return {
            "pictures not sent": sent.dropped_frames,
            "packets failed": sent.failed,
            "packets repeated": sent.retransmitted,
            "repeats refused": sent.refused,
            "parity packets": sent.parity,
            "RTCP rejected": 0 if self._control is None else self._control.rejected,
            "transport feedbacks": self._feedbacks,
        }

    async def close(self, reason: str) -> None:
        """End the connection and release everything; returns when that is done. Idempotent."""
        self._finish(reason)
        if self._closing is not None and self._closing is not asyncio.current_task():
            await asyncio.shield(self._closing)

    def _finish(self, reason: str) -> None:
        if self._closing is None:
            self._closing = self._loop.create_task(self._shut_down(reason), name="peer-close")

    async def _shut_down(self, reason: str) -> None:
        tasks, self._tasks = self._tasks, set()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        try:
            if self._sender is not None:
                await self._stop_media(self._sender)
            if self._path is not None:
                await self._path.close()
        finally:
            await self._pc.close()
            if self._ice is not None:
                await ice.end(self._ice)
            self._channels.forget()
            self._listener.on_closed(reason)

    async def _stop_media(self, sender: MediaSender) -> None:
        if self._control is not None:
            self._control.say_goodbye()
        await asyncio.to_thread(sender.stop)
        self._last_stats = sender.stats()
        self._sender = None

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = self._loop.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s failed", task.get_name(), exc_info=error)
            self._finish("an error on the host ended the connection")
