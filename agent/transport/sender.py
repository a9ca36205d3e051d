"""One viewer's media sender: access units and Opus packets in, paced RTP out, what has to wait from its own thread."""

from __future__ import annotations

import logging
import secrets
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from agent.congestion.burst_speed import BurstSpeed
from agent.congestion.flight import Flight, Packet
from agent.congestion.frame_flight import FlyingFrame, FrameFlight
from agent.encode.base import AccessUnit, Profile, VideoCodec
from agent.frames import SentFrame
from agent.rtp import fec, h264, vp8, vp9
from agent.rtp.feedback import TransportFeedback
from agent.rtp.history import MAX_PACKETS, Burst, History, Retransmitter, wrap_rtx
from agent.rtp.pacer import Pacer
from agent.rtp.packet import (
    MAX_PACKET_BYTES,
    RTX_OVERHEAD_BYTES,
    BurstSource,
    BurstWriter,
    HeaderTemplate,
    Part,
    StreamFormat,
    serialise,
)
from agent.rtp.rtcp import SenderReport, ntp_time
from agent.transport.path import CHUNK_PACKETS, SRTP_WINDOW_PACKETS, Path
from agent.transport.timer_slack import set_timer_slack

VIDEO_CLOCK_HZ: Final = 90_000
AUDIO_CLOCK_HZ: Final = 48_000
MAX_QUEUED_UNITS: Final = 8
"""Overflow: all of them go, and nothing until the next key frame (what follows a gap cannot be decoded)."""
MIN_INTERVAL_S: Final = 1 / 240
MAX_INTERVAL_S: Final = 1 / 30
STOP_TIMEOUT_S: Final = 2.0
RECENT_FRAMES: Final = 120
MAX_SENT_FRAMES: Final = 256
"""A second of 240. Overflow: the oldest are forgotten; nobody asks for them."""
PARITY_ROOM_BYTES: Final = fec.OVERHEAD_BYTES - RTX_OVERHEAD_BYTES
"""By which packets are smaller where parity packets cover them: those must fit, too."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Streams:
    """What was negotiated for the streams that we send."""

    codec: VideoCodec
    video: StreamFormat
    audio: StreamFormat | None
    rtx_payload_type: int | None
    rtx_ssrc: int
    profile: Profile = "baseline"
    fec: StreamFormat | None = None
    """Of parity packets; None when the viewer takes none."""


@dataclass(frozen=True, slots=True)
class SendStats:
    """Counters since the start, and the recent frames' times."""

    frames: int = 0
    packets: int = 0
    octets: int = 0
    retransmitted: int = 0
    parity: int = 0
    """Parity packets; in `packets` and `octets` as well."""
    refused: int = 0
    """Packets that the viewer asked for again and did not get."""
    dropped_frames: int = 0
    """Access units that were not sent: the queue was full, or a key frame had to come first."""
    failed: int = 0
    """Packets that the operating system did not take."""
    send_us: int = 0
    """Median of the last frames: from `send_video` to the last packet in the kernel, pacing included."""
    path: str = "none"


class MediaSender:
    """Owns the thread `sender` and the numbering of all streams; everything goes out under one lock.

    `sends_at_once`: who hands over a frame also sends what may leave of it at once. No thread has to be woken for that,
    nor to wait for the interpreter's lock. Not so where others wait for who hands it over.
    """

    def __init__(
        self,
        streams: Streams,
        path: Path,
        rate_bps: int,
        want_keyframe: Callable[[], None],
        *,
        sends_at_once: bool = True,
    ) -> None:
        self._streams, self._path = streams, path
        self._want_keyframe, self._sends_at_once = want_keyframe, sends_at_once
        self._video = HeaderTemplate(streams.video)
        self._audio = HeaderTemplate(streams.audio) if streams.audio else None
        self._parity_header = HeaderTemplate(streams.fec) if streams.fec else None
        self._loss: fec.Loss | None = None
        self._writer = BurstWriter(path.buffer, path.gap)
        self._limit = MAX_PACKET_BYTES - RTX_OVERHEAD_BYTES - self._video.size - path.gap
        # A plain repetition is protected again, which libsrtp does within its window only.
        plain = streams.rtx_payload_type is None
        self._history = History(max_packets=SRTP_WINDOW_PACKETS if plain else MAX_PACKETS)
        self._retransmitter = Retransmitter(self._history, rate_bps)
        self._pacer = Pacer(rate_bps)
        self._speed = BurstSpeed()
        self._lock = threading.Lock()
        self._wake = threading.Condition()
        self._units: deque[tuple[AccessUnit, float]] = deque()
        self._is_leaving = False
        """Whether a frame is on its way: one at a time, in whichever thread."""
        self._rest: tuple[Iterator[float], float] | None = None
        """What our thread has to send, and when to go on."""
        self._stopping = False
        self._keyframe_first = True
        self._thread = threading.Thread(target=self._run, name="sender", daemon=True)
        # RFC 3550 5.1: random starts; below 2**15 so that SRTP's roll-over counter starts at 0
        self._sequence = secrets.randbelow(1 << 15)
        self._audio_sequence = secrets.randbelow(1 << 15)
        self._rtx_sequence = secrets.randbelow(1 << 15)
        self._parity_sequence = secrets.randbelow(1 << 15)
        self._transport_sequence = 0
        self._flight = Flight() if streams.video.transport_cc_id is not None else None
        self._parity = fec.Parity(numbered=self._flight is not None)
        self._frame_flight = FrameFlight()
        self._video_origin, self._audio_origin = secrets.randbits(32), secrets.randbits(32)
        self._picture_id = secrets.randbits(15)
        self._previous_us = 0
        self._wall_offset_s = time.time() - time.monotonic()
        self._audio_last: tuple[int, float] | None = None
        self._audio_packet = b""
        """The one before, as it was numbered."""
        self.repeats_sound = False
        """Whether each audio packet goes out again behind the next one: late by less than jitter buffers hold."""
        self._frames = self._packets = self._octets = 0
        self._audio_packets = self._audio_octets = 0
        self._retransmitted = self._dropped = 0
        self._parity_packets = self._parity_octets = 0
        self._send_us: deque[int] = deque(maxlen=RECENT_FRAMES)
        self._first_sent_s = 0.0
        self._sent_frames: deque[SentFrame] = deque(maxlen=MAX_SENT_FRAMES)

    def start(self) -> None:
        """Begin to send what is given."""
        self._thread.start()

    def send_video(self, unit: AccessUnit) -> None:
        """Send an access unit: `sends_at_once` says by whom. From any thread.

        Waits for a full socket as long as the path does if it sends itself, else for nothing.
        """
        frame: Iterator[float] | None = None
        missing = False
        ready_at = time.monotonic()
        with self._wake:
            if self._stopping:
                return
            if self._keyframe_first and not unit.keyframe:
                self._dropped += 1
                missing = True
            elif len(self._units) >= MAX_QUEUED_UNITS:
                self._dropped += len(self._units) + 1
                self._units.clear()
                self._keyframe_first = missing = True
            elif self._is_leaving:
                self._keyframe_first = False
                self._units.append((unit, ready_at))
            else:
                self._keyframe_first = False
                self._is_leaving = True
                frame = self._leave(unit, ready_at)
                if not self._sends_at_once:
                    self._rest, frame = (frame, 0.0), None
                    self._wake.notify()
        if missing:
            self._want_keyframe()
        elif frame is not None:
            self._go_on(frame)

    def send_audio(self, packet: bytes, timestamp: int) -> None:
        """Send one Opus packet at once, past the pacer. From any thread; `timestamp` counts 48 kHz."""
        if self._audio is None or self._stopping:
            return
        stamp = timestamp + self._audio_origin & 0xFFFFFFFF
        with self._lock:
            numbers = (self._audio_sequence, stamp, 0)
            before, self._audio_packet = self._audio_packet, serialise(self._audio, packet, numbers)
            self._path.send_one(self._audio_packet)
            if self.repeats_sound and before:
                self._path.send_one(before)
                self._retransmitted += 1
            self._audio_sequence = self._audio_sequence + 1 & 0xFFFF
            self._audio_packets += 1
            self._audio_octets += len(packet)
            self._audio_last = (stamp, time.monotonic())

    def send_rtcp(self, packet: bytes) -> None:
        """Send a compound RTCP packet at once. From any thread."""
        with self._lock:
            self._path.send_rtcp(packet)

    def repeat(self, sequences: Iterable[int], rtt_s: float | None) -> list[int]:
        """Answer a NACK: RTX where it was negotiated, else the very same packets. From any thread.

        A plain repetition is byte for byte what was sent: under SRTP the same index must never
        protect other bytes (RFC 3711 9.1). Returns the numbers of what was sent, see `Retransmitter`.
        """
        rtx = self._streams.rtx_payload_type
        if self._stopping:
            return []
        with self._lock:
            packets = self._retransmitter.repeat(sequences, time.monotonic(), rtt_s)
            self._frame_flight.repeat([int.from_bytes(packet[2:4], "big") for packet in packets])
            for packet in packets:
                self._path.send_one(packet if rtx is None else self._as_rtx(packet, rtx))
                self._retransmitted += 1
        return [int.from_bytes(packet[2:4], "big") for packet in packets]

    def _next_number(self, size_bytes: int) -> int | None:
        """The transport-wide number of one packet that is no part of a frame's burst."""
        if self._flight is None:
            return None
        number = self._transport_sequence
        self._transport_sequence = number + 1 & 0xFFFF
        self._flight.sent([Packet(time.monotonic(), size_bytes, None)])
        return number

    def _as_rtx(self, packet: bytes, payload_type: int) -> bytes:
        transport_sequence = self._next_number(len(packet) + RTX_OVERHEAD_BYTES)
        sequence = self._rtx_sequence
        self._rtx_sequence = sequence + 1 & 0xFFFF
        ssrc = self._streams.rtx_ssrc
        return wrap_rtx(packet, payload_type, ssrc, sequence, transport_sequence)

    def protect(self, loss: fec.Loss | None) -> None:
        """Against this loss: parity packets behind each frame, if the viewer takes any. From any thread."""
        self._loss = loss

    @property
    def is_protecting(self) -> bool:
        """Whether a loss is worth more than to be asked for."""
        return self._loss is not None

    def acknowledge(self, feedback: TransportFeedback) -> list[Packet]:
        """What the viewer's feedback says of our packets (see `Flight.acknowledge`). From any one thread."""
        if self._flight is None:
            return []
        with self._lock:
            packets = self._flight.acknowledge(feedback)
        now = time.monotonic()
        self._speed.take(packets, now)
        self._pacer.set_link(self._speed.bps(now))
        return packets

    @property
    def link_bps(self) -> float:
        """How fast the path takes a burst; 0: not known."""
        return self._pacer.link_bps

    def arrived(self, arrivals: Sequence[tuple[int, float]]) -> list[Packet]:
        """What the page's arrivals say of our packets (see `FrameFlight.arrived`). From any thread."""
        with self._lock:
            return self._frame_flight.arrived(arrivals)

    def waiting_since(self) -> float | None:
        """When the oldest packet left of which no feedback spoke yet; None: none is missing."""
        if self._flight is None:
            return None
        with self._lock:
            return self._flight.waiting_since()

    def set_rate(self, bitrate_bps: int) -> None:
        """The target rate: for the pacer and for the budget of retransmissions. From any thread."""
        self._pacer.set_rate(bitrate_bps)
        self._retransmitter.set_rate(bitrate_bps)

    def ntp(self, now: float) -> int:
        """The NTP timestamp of `now` on the monotonic clock.

        Differs: not the wall clock itself (RFC 3550 4); a step of that would look like a round trip.
        """
        return ntp_time(now + self._wall_offset_s)

    def reports(self) -> list[SenderReport]:
        """The sender reports of now: one for video, and for audio once it was sent."""
        now = time.monotonic()
        ntp = self.ntp(now)
        stamp = int(now * VIDEO_CLOCK_HZ) + self._video_origin
        video = self._streams.video.ssrc
        reports = [SenderReport(video, ntp, stamp, self._packets, self._octets)]
        if self._streams.audio is not None and self._audio_last is not None:
            last, at = self._audio_last
            stamp = last + int((now - at) * AUDIO_CLOCK_HZ)
            ssrc = self._streams.audio.ssrc
            reports.append(SenderReport(ssrc, ntp, stamp, self._audio_packets, self._audio_octets))
        return reports

    def stats(self) -> SendStats:
        """A snapshot. From any thread."""
        recent = list(self._send_us)
        return SendStats(
            frames=self._frames,
            packets=self._packets + self._audio_packets + self._parity_packets,
            octets=self._octets + self._audio_octets + self._parity_octets,
            retransmitted=self._retransmitted,
            parity=self._parity_packets,
            refused=self._retransmitter.refused,
            dropped_frames=self._dropped,
            failed=self._path.failed,
            send_us=int(statistics.median(recent)) if recent else 0,
            path=self._path.name,
        )

    def take_sent_frames(self) -> list[SentFrame]:
        """The frames that were sent since the last call, the newest MAX_SENT_FRAMES. From any one thread."""
        frames = self._sent_frames
        return [frames.popleft() for _ in range(len(frames))]

    def stop(self) -> None:
        """End the thread; waits for the burst that is being sent. Idempotent."""
        with self._wake, self._lock:
            self._stopping = True
            self._units.clear()
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join(STOP_TIMEOUT_S)

    def _run(self) -> None:
        set_timer_slack()
        while (rest := self._next_rest()) is not None:
            frame, due = rest
            time.sleep(max(due - time.monotonic(), 0.0))
            self._go_on(frame)

    def _next_rest(self) -> tuple[Iterator[float], float] | None:
        """Wait for it; None when stopping."""
        with self._wake:
            while self._rest is None and not self._stopping:
                self._wake.wait()
            rest, self._rest = self._rest, None
            return None if self._stopping else rest

    def _go_on(self, frame: Iterator[float]) -> None:
        """Send what may leave now of a frame. Our thread does the rest, and then what came meanwhile."""
        due: float | None = None
        try:
            due = next(frame, None)
        except Exception:
            log.exception("sending video failed; the next picture will be a key frame")
            with self._wake:
                self._keyframe_first = True
                self._units.clear()
            self._want_keyframe()
        with self._wake:
            if due is None and self._units:
                frame, due = self._leave(*self._units.popleft()), 0.0
            self._is_leaving = due is not None
            if due is not None:
                self._rest = frame, due
                self._wake.notify()

    def _leave(self, unit: AccessUnit, ready_at: float) -> Iterator[float]:
        """Send a frame; yields when to go on where the pacer holds the next packets back."""
        frame, loss = unit.payload, self._loss if self._parity_header is not None else None
        limit = self._limit if loss is None else self._limit - PARITY_ROOM_BYTES
        if unit.codec == "H264":
            parts = h264.packetize(frame, limit)
        else:
            if unit.codec == "VP8":
                parts = vp8.packetize(frame, limit, self._picture_id)
            else:
                parts = vp9.packetize(frame, limit, self._picture_id, keyframe=unit.keyframe)
            self._picture_id += 1
        interval_s = (unit.captured_us - self._previous_us) / 1e6
        self._previous_us = unit.captured_us
        interval_s = min(max(interval_s, MIN_INTERVAL_S), MAX_INTERVAL_S)
        stamp = unit.captured_us * 9 // 100 + self._video_origin & 0xFFFFFFFF
        self._pacer.begin(len(parts), len(frame), interval_s, time.monotonic())
        view = memoryview(frame)
        self._first_sent_s = 0.0
        for start in range(0, len(parts), CHUNK_PACKETS):
            chunk = parts[start : start + CHUNK_PACKETS]
            last = start + len(chunk) == len(parts)
            source, placed, flying = self._make(view, chunk, stamp, last)
            yield from self._send_paced(placed, flying)
            if self._stopping:
                return
            if loss is None:
                self._parity.forget()
            else:
                self._send_parity(source, placed, loss)
        self._note_sent(unit, stamp, ready_at, len(parts))
        self._frames += 1
        self._send_us.append(int((time.monotonic() - ready_at) * 1e6))

    def _note_sent(self, unit: AccessUnit, stamp: int, ready_at: float, packets: int) -> None:
        last_s = time.monotonic()
        encoded_us = int(ready_at * 1e6)
        self._sent_frames.append(
            SentFrame(
                rtp_timestamp=stamp,
                captured_us=unit.captured_us,
                grabbed_us=unit.captured_us + unit.grab_us,
                converted_us=encoded_us - unit.encode_us,
                encoded_us=encoded_us,
                first_sent_us=int(self._first_sent_s * 1e6),
                last_sent_us=int(last_s * 1e6),
            )
        )
        flying = FlyingFrame(
            rtp_timestamp=stamp,
            number=self._frames,
            first_s=self._first_sent_s,
            last_s=last_s,
            size_bytes=len(unit.payload) + packets * self._video.size,
            first_sequence=self._sequence - packets & 0xFFFF,
            packets=packets,
        )
        with self._lock:
            self._frame_flight.sent(flying)

    def _make(
        self, frame: memoryview, parts: list[Part], stamp: int, last: bool
    ) -> tuple[BurstSource, list[tuple[int, int]], list[Packet]]:
        """Number, write, remember and protect packets; all of a frame at once, while caches are warm."""
        path = self._path
        with self._lock:
            first = self._sequence
            numbers = (first, stamp, self._transport_sequence)
            placed = self._writer.write(self._video, frame, parts, numbers, last=last)
            count = len(placed)
            now = time.monotonic()
            source = BurstSource(self._video, frame, parts, numbers, last)
            self._history.add(Burst(first, placed, source.packet, now))
            self._sequence = first + count & 0xFFFF
            self._transport_sequence = self._transport_sequence + count & 0xFFFF
            self._packets += count
            end = placed[-1][0] + placed[-1][1]
            self._octets += end - count * (self._video.size + path.gap) + path.gap
            path.seal(placed)
            flying: list[Packet] = []
            if self._flight is not None:
                flying = [Packet(now, size, self._frames) for _, size in placed]
                self._flight.sent(flying)
        return source, placed, flying

    def _send_parity(
        self, source: BurstSource, placed: Sequence[tuple[int, int]], loss: fec.Loss
    ) -> None:
        """Right behind the packets that it protects; made when those have left."""
        template = self._parity_header
        if template is None:
            return
        first, stamp, _ = source.numbers
        plain = bytearray(placed[-1][0] + placed[-1][1])
        source.write(memoryview(plain), self._path.gap)
        for payload in self._parity.cover(bytes(plain), placed, first, loss):
            with self._lock:
                number = self._next_number(template.size + len(payload)) or 0
                packet = serialise(template, payload, (self._parity_sequence, stamp, number))
                self._path.send_one(packet)
                self._parity_sequence = self._parity_sequence + 1 & 0xFFFF
                self._parity_packets += 1
                self._parity_octets += len(payload)

    def _send_paced(
        self, placed: Sequence[tuple[int, int]], flying: list[Packet]
    ) -> Iterator[float]:
        """Send packets as the pacer allows; yields when to go on."""
        pacer, sent = self._pacer, 0
        while sent < len(placed):
            now = time.monotonic()
            end = sent
            while count := pacer.take(now, len(placed) - end):
                end += count
            if end == sent:
                yield pacer.next_deadline() or now
                continue
            self._first_sent_s = self._first_sent_s or now
            for packet in flying[sent:end]:
                packet.sent_s = now
            with self._lock:
                if self._stopping:
                    return
                self._path.send_burst(placed[sent:end])
            sent = end
