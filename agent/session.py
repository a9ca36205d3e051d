"""One viewer: a peer connection joined to the picture, the sound, the host's input and the overlay's figures.

Flow: agent/media.py makes it from an offer; everything here runs on the event loop of the media process.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from agent.audio.plan import SoundLoss
from agent.audio_pipeline import AudioPipeline
from agent.clipboard.exchange import ClipboardExchange
from agent.clipboard.stage import ClipboardStage
from agent.clipboard.wire import ClipboardError
from agent.congestion.flight import Packet
from agent.congestion.liveness import HOLD_S, Silence
from agent.congestion.loss import RateLimits, Reception
from agent.congestion.protection import PathState, Protection
from agent.congestion.room import Room
from agent.congestion.steering import Evidence, Steering
from agent.congestion.tiers import ViewerPath
from agent.cursor.stage import CursorStage
from agent.cursor.teller import CursorTeller, Ways
from agent.desk.desk import Desk
from agent.desk.messages import DeskError
from agent.encode.base import PROFILES, Profile, VideoCodec
from agent.encode.rung import Tier, Viewer
from agent.figures import Now, Tally, delivery
from agent.frame_reports import FrameReports
from agent.frames import Arrivals, SentFrame, StatsError, encode_want
from agent.input.events import InputError
from agent.input.guard import Role
from agent.input.hand_link import HandLink
from agent.input.hands import Hands
from agent.input.pad_link import PadLink
from agent.input.pad_link import takes as is_for_pads
from agent.input.pads import Pads
from agent.pipeline import VideoPipeline
from agent.rtp.rtcp import LossReport
from agent.summary import encode_delivery, encode_summary
from agent.transport.candidates import ice_servers
from agent.transport.peer import Peer, PeerOptions
from agent.transport.ports import PortRange
from cluster.protocol.messages import Candidate
from cluster.protocol.telemetry import SessionFigures

logger = logging.getLogger(__name__)

SUMMARY_S: Final = 1.0
WAIT_S: Final = 0.1
"""How often it is looked whether the path is silent, once it may be."""
SILENCE_S: Final = 5.0
"""A browser that is lost to signaling and says nothing on its connection for this long is gone."""
CLOSE_LIMIT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Shared:
    """What all viewers of a host share."""

    video: VideoPipeline
    audio: AudioPipeline | None
    hands: Hands
    cursor: CursorStage
    clipboard: ClipboardStage
    desk: Desk
    bitrate_bps: int
    """What a session never exceeds."""
    congestion: str
    """`delay`, for H.264 to a viewer that tells when packets or frames arrive; or `loss`."""
    profiles: Callable[[], tuple[Profile, ...]] = lambda: PROFILES
    """Of H.264, in the order in which the encoder at hand likes to be asked for them."""
    pads: Pads | None = None
    """None: nothing is shared that a gamepad could play."""
    udp_ports: PortRange | None = None
    """Of the host's own candidates; None: any."""


@dataclass(frozen=True, slots=True)
class Callbacks:
    """Whom a session tells; all on the event loop."""

    candidate: Callable[[Candidate], None]
    connected: Callable[[], None]
    silent: Callable[[], None]
    """What is sent is not heard of: a second connection should be made beside this one."""
    rate: Callable[[], None]
    """`media_bps` or `sound_loss` has changed."""
    closed: Callable[[str], None]
    """Exactly once, with words for the log.

    The session is out of the pipelines when `leave` has been called after it.
    """


class Session:
    """See the module; the listener of its peer."""

    def __init__(self, number: int, role: Role, shared: Shared, callbacks: Callbacks) -> None:
        self.number = number
        self.role = role
        self.connected = False
        self._dropped_messages = 0
        """Messages on data channels that were none."""
        self._name = str(number)
        self._shared = shared
        self._callbacks = callbacks
        self._loop = asyncio.get_running_loop()
        answer = partial(self._send, "input")
        self._hand = HandLink(self._name, role, shared.hands, answer, self._injected)
        self._pads = PadLink(self._name, role, shared.pads, answer, shared.video.nudge)
        self._reports = FrameReports(
            partial(self._send, "stats"), self._take_sent_frames, self._on_arrivals
        )
        draw = partial(shared.video.draw_pointer, self._name)
        ways = Ways(partial(self._send, "cursor"), draw)
        self._cursor = CursorTeller(self._name, shared.cursor, ways, viewer=role == "viewer")
        tell, player = partial(self._send, "clipboard"), role == "player"
        self._clipboard = ClipboardExchange(self._name, shared.clipboard, tell, player=player)
        limits = RateLimits(
            floor_bps=min(RateLimits().floor_bps, shared.bitrate_bps),
            ceiling_bps=shared.bitrate_bps,
        )
        self._steering = Steering(limits)
        self._protection = Protection()
        self._room = Room()
        self._sound = SoundLoss()
        self._path_silence = Silence()
        self._waiting: asyncio.TimerHandle | None = None
        self._peer: Peer | None = None
        self._report: LossReport | None = None
        self._heard = self._loop.time()
        self._closed = False
        self._summary: asyncio.TimerHandle | None = None
        self._silence: asyncio.TimerHandle | None = None
        self._ending: asyncio.Task[None] | None = None
        self._tally = Tally(self._loop.time(), shared.bitrate_bps)

    @property
    def codec(self) -> VideoCodec:
        """Of the picture that this viewer gets; only when `connected`."""
        if self._peer is None:
            raise RuntimeError("a session has no codec before its answer")
        return self._peer.video_codec

    @property
    def target_bps(self) -> int:
        """What this viewer's path carries."""
        return self._steering.target_bps

    @property
    def media_bps(self) -> int:
        """What of it is left for the picture beside its parity packets."""
        if self._peer is None or not self._peer.has_parity:
            return self.target_bps
        return int(self.target_bps / (1 + self._protection.overhead))

    @property
    def path(self) -> ViewerPath:
        """What decides which picture this viewer gets."""
        player, limited = self.role == "player", self._steering.is_limited
        return ViewerPath(self.number, player, self.media_bps, limited, self._room.has_room)

    @property
    def sound_loss(self) -> float:
        """How much of the sound does not arrive, 0 to 1."""
        return self._sound.fraction

    # From the root

    async def answer(self, offer_sdp: str, servers: Sequence[Mapping[str, Any]]) -> str:
        """The answer to the offer; raises ValueError in words."""
        options = PeerOptions(
            self._shared.bitrate_bps,
            profiles=self._shared.profiles(),
            udp_ports=self._shared.udp_ports,
            sends_at_once=self.role == "player",
        )
        peer = self._peer = Peer(self, ice_servers(servers), options)
        answer = await peer.answer(offer_sdp)
        # libvpx begins anew, with a key frame, at each change: many a second would fill the path.
        if self._shared.congestion == "delay" and peer.video_codec == "H264":
            self._steering.follow_delay(feedback=peer.has_transport_feedback)
        return answer

    def prepare(self) -> None:
        """Have the first picture ready when the browser, which has the answer, is connected."""
        if self._peer is not None and not self._closed:
            self._shared.video.prepare(self._name, self._viewer(self._peer))

    def _viewer(self, peer: Peer) -> Viewer:
        player = self.role == "player"
        return Viewer(peer.video_codec, peer.send_video, peer.profile, player)

    def follow(self, former: Session) -> None:
        """It may take the place of this one, of the same browser: make before break."""
        self._hand.follow(former._hand)
        self._pads.follow(former._pads)

    async def add_candidate(self, candidate: Candidate) -> None:
        """A candidate of the browser; the peer keeps early ones."""
        if self._peer is not None:
            await self._peer.add_candidate(candidate)

    def steer(self, tier: Tier) -> None:
        """It gets this picture, paced and repaired as its own path has room for."""
        self._shared.video.move_viewer(self._name, tier)
        if self._peer is not None:
            self._peer.set_rate(self.target_bps)

    def lose(self) -> None:
        """Signaling lost the browser: end when its connection is silent too."""
        if self._closed:
            return
        left_s = self._heard + SILENCE_S - self._loop.time()
        if left_s <= 0:
            self._ending = self._loop.create_task(self.close("the browser is gone"))
            return
        if self._silence is not None:
            self._silence.cancel()
        self._silence = self._loop.call_later(left_s, self.lose)

    async def close(self, reason: str) -> None:
        """Release what is held, then end the connection. Idempotent."""
        self._release()
        if self._peer is None:
            self.on_closed(reason)
            return
        try:
            async with asyncio.timeout(CLOSE_LIMIT_S):
                await self._peer.close(reason)
        except TimeoutError:
            logger.error("session %d: its connection did not close", self.number)  # noqa: TRY400
            self.on_closed(reason)

    def leave(self) -> None:
        """Out of the pipelines; the last one stops them, so this blocks for seconds at most: on a thread."""
        self._shared.video.remove_viewer(self._name)
        if self._shared.audio is not None:
            self._shared.audio.remove_listener(self._name)

    # From the peer

    def on_connected(self) -> None:
        """Media can be sent."""
        peer = self._peer
        if peer is None or self._closed:
            return
        self.connected = True
        self._heard = self._loop.time()
        self._shared.video.add_viewer(self._name, self._viewer(peer))
        if self._shared.audio is not None:
            self._shared.audio.add_listener(self._name, peer.send_audio)
        if self.role == "player":
            self._shared.hands.open()
        self._waiting = self._loop.call_later(WAIT_S, self._wait)
        self._callbacks.connected()

    def on_candidate(self, candidate: Candidate) -> None:
        """A local candidate to trickle."""
        self._callbacks.candidate(candidate)

    def on_keyframe_wanted(self) -> None:
        """PLI or FIR."""
        self._shared.video.request_keyframe(self._name)

    def on_report(self, report: LossReport) -> None:
        """A receiver report: it drives the rate where no transport-wide feedback does."""
        self._heard = self._loop.time()
        self._report = report
        if report.reached_s is not None:
            self._path_silence.on_report(time.monotonic() - report.reached_s)
        before = self.media_bps
        reception = Reception(report.packets_lost, report.highest_sequence)
        self._steering.on_report(reception, self._heard)
        self._tell_rate(before)

    def on_audio_report(self, report: LossReport) -> None:
        """A receiver report about the sound, which is coded by what is lost of it."""
        self._heard = self._loop.time()
        before = self.sound_loss
        self._sound.on_report(report.packets_lost, report.highest_sequence)
        if self._peer is not None:
            self._peer.repeat_sound(repeats=self._sound.repeats)
        if self.sound_loss != before:
            self._callbacks.rate()

    def on_feedback(self, packets: Sequence[Packet]) -> None:
        """When packets arrived: it drives the rate."""
        self._heard = self._loop.time()
        self._path_silence.on_feedback()
        before = self.media_bps
        self._steering.on_feedback(packets, time.monotonic())
        if self._steering.evidence is Evidence.PACKETS and self._peer is not None:
            self._protect(self._peer, packets)
        self._tell_rate(before)

    def _on_arrivals(self, arrivals: Arrivals) -> None:
        """When frames arrived: it drives the rate where nothing is heard of packets."""
        if self._peer is None:
            return
        before, evidence = self.media_bps, self._steering.evidence
        packets, now = self._peer.arrived(arrivals.frames), time.monotonic()
        if packets:
            self._path_silence.on_report(now)
        self._steering.on_arrivals(packets, now)
        self._tell_rate(before)
        if self._steering.evidence is not evidence:
            logger.info("session %d: its rate follows the page's arrivals", self.number)

    def _protect(self, peer: Peer, packets: Sequence[Packet]) -> None:
        """Parity packets and second repetitions where they are worth it; no large pictures there."""
        rtt_s, now = None if self._report is None else self._report.rtt_s, time.monotonic()
        state = PathState(rtt_s, self._steering.queue_stands)
        loss = self._protection.on_feedback(packets, state, now)
        peer.protect(loss)
        limited = self._steering.is_limited or loss is not None
        self._room.look(peer.link_bps, self.target_bps, now, limited=limited)

    def _wait(self) -> None:
        """Slow down on a silent path; in the end ask for another one."""
        if self._peer is None:
            return
        since, now = self._peer.waiting_since(), time.monotonic()
        left_s = HOLD_S if since is None else since + HOLD_S - now
        self._waiting = self._loop.call_later(max(left_s, WAIT_S), self._wait)
        if self._path_silence.look(since, now):
            self._callbacks.silent()
        before = self.media_bps
        self._steering.on_wait(since, now)
        self._tell_rate(before)

    def _tell_rate(self, before_bps: int) -> None:
        if self.media_bps != before_bps:
            self._callbacks.rate()

    def on_channel(self, label: str) -> None:
        """A data channel opened."""
        if label == "desk" and not self._closed:
            self._shared.desk.enter(self._name, self.role, partial(self._send, "desk"))
        if label == "stats" and self._summary is None and not self._closed:
            self._summary = self._loop.call_later(SUMMARY_S, self._send_summary)
            self._want_arrivals()
        elif label == "cursor" and not self._closed:
            self._cursor.open()
        elif label == "clipboard" and not self._closed:
            self._clipboard.open()

    def on_message(self, label: str, payload: bytes | str) -> None:
        """A message of a data channel; one that is not as the protocol says is counted and dropped."""
        if self._closed:
            return
        self._heard = self._loop.time()
        if isinstance(payload, str):
            self._dropped_messages += 1
            return
        try:
            if label == "stats":
                self._reports.on_message(payload)
            elif label == "input" and is_for_pads(payload):
                self._pads.on_message(payload)
            elif label == "input":
                self._hand.on_message(payload, self._shared.desk.screen)
                self._cursor.set_relative(self._hand.relative)
            elif label == "clipboard":
                self._clipboard.on_message(payload)
            elif label == "desk":
                self._shared.desk.on_message(self._name, payload)
            else:
                self._dropped_messages += 1
        except (InputError, StatsError, DeskError, ClipboardError) as error:
            self._dropped_messages += 1
            logger.debug("session %d: message of %s dropped: %s", self.number, label, error)

    def on_closed(self, reason: str) -> None:
        """The connection is over."""
        if self._closed:
            return
        self._release()
        self._closed = True
        self.connected = False
        for part in (self._hand, self._reports, self._cursor, self._clipboard):
            part.close()
        self._shared.desk.leave(self._name)
        for timer in (self._summary, self._silence, self._waiting):
            if timer is not None:
                timer.cancel()
        self._callbacks.closed(self._with_counts(reason))

    def _with_counts(self, reason: str) -> str:
        """The reason, and what was counted meanwhile where it is not 0."""
        counts = {
            "messages dropped": self._dropped_messages,
            **self._hand.counts(),
            **self._pads.counts(),
            "clipboard refused": self._clipboard.refused,
            **({} if self._peer is None else self._peer.counts()),
        }
        words = ", ".join(f"{name}: {count}" for name, count in counts.items() if count)
        return f"{reason} ({words})" if words else reason

    def _injected(self, applied: int, at_us: int) -> None:
        self._reports.injected(applied, at_us)
        self._shared.video.nudge()

    def _release(self) -> None:
        self._hand.release()
        self._pads.release()

    # Figures

    def _send(self, label: str, message: bytes) -> bool:
        return self._peer is not None and self._peer.send(label, message)

    def _take_sent_frames(self) -> list[SentFrame]:
        return [] if self._peer is None else self._peer.take_sent_frames()

    def _send_summary(self) -> None:
        peer = self._peer
        if peer is None or self._closed:
            return
        self._summary = self._loop.call_later(SUMMARY_S, self._send_summary)
        now, served = self._now(peer), self._shared.video.served(self._name)
        peer.send("stats", encode_summary(self._tally.summary(now, served.encoder)))
        peer.send("stats", encode_delivery(delivery(served, now.sent)))
        self._want_arrivals()

    def _want_arrivals(self) -> None:
        if self._steering.wants_arrivals:
            self._send("stats", encode_want())

    def _now(self, peer: Peer) -> Now:
        return Now(
            at=self._loop.time(),
            codec=self.codec,
            video=self._shared.video.stats(),
            sent=peer.stats(),
            target_bps=self.target_bps,
            loss=self._steering.fraction_lost,
            report=self._report,
        )

    def figures(self) -> SessionFigures | None:
        """For the host's telemetry: what happened since the last call; None before media flows."""
        peer = self._peer
        if peer is None or not self.connected:
            return None
        told = self._tally.session(self._now(peer), peer.way)
        return replace(told, legs_s=self._reports.legs_s(), freezes=self._reports.freezes)
