"""Our side of a simulated path: frames, the real pacer, repetition on request, and the viewer's feedback."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from agent.congestion.burst_speed import BurstSpeed
from agent.congestion.flight import Flight, Packet
from agent.congestion.loss import Reception
from agent.rtp.feedback import DELTA_US, TransportFeedback
from agent.rtp.history import Burst, History, Retransmitter
from agent.rtp.pacer import Pacer
from benchmarks.congestion.clock import Clock
from benchmarks.congestion.link import Link

PAYLOAD_BYTES: Final = 1150
OVERHEAD_BYTES: Final = 50
FEEDBACK_S: Final = 0.063
"""How often Chromium sends it at 6 Mbit/s, measured."""
REPORT_S: Final = 1.0
WAIT_S: Final = 0.1
NACK_S: Final = 0.02
"""libwebrtc's NackRequester asks again that often, for what is older than a round trip."""
GIVEN_UP_S: Final = 1.0
"""A frame that is not whole by then is not waited for."""
SIZE_SPREAD: Final = 0.08
BIGGEST: Final = 1.1
"""Frame sizes around the budget: what a one-frame VBV leaves."""


class Steer(Protocol):
    """A controller under test."""

    @property
    def target_bps(self) -> int: ...

    def on_feedback(self, packets: Sequence[Packet], now: float) -> int: ...

    def on_report(self, reception: Reception, now: float) -> int: ...

    def on_wait(self, waiting_since: float | None, now: float) -> int: ...


@dataclass(frozen=True, slots=True)
class Source:
    """Frames a second, and how much of the budget they use: (from when, share) in order."""

    fps: int = 60
    activity: Sequence[tuple[float, float]] = ((0.0, 1.0),)
    seed: int = 1


@dataclass(slots=True)
class Frame:
    """A frame on its way."""

    captured_at: float
    missing: int
    shown_at: float | None = None


class Stream:
    """Sends from time 0 on. `frames` and `delivered` are the result."""

    def __init__(
        self, clock: Clock, link: Link, steer: Steer, source: Source, return_s: float
    ) -> None:
        self._clock, self._link, self._steer, self._source = clock, link, steer, source
        self._return_s = return_s
        self._random = random.Random(source.seed)
        self._pacer = Pacer(steer.target_bps)
        self._speed = BurstSpeed()
        self._history = History()
        self._retransmitter = Retransmitter(self._history, steer.target_bps)
        self._rtt_s: float | None = None
        self._flight = Flight()
        self.frames: list[Frame] = []
        self.delivered: list[tuple[float, int]] = []
        """When each packet arrived first, and its size."""
        self.targets: list[tuple[float, int]] = []
        self._packets: list[tuple[int, int]] = []
        """Frame and size of each media packet, by its sequence number."""
        self._queued: list[int] = []
        self._numbers = 0
        self._arrivals: dict[int, int] = {}
        self._reported = 0
        self._there: set[int] = set()
        self._highest = -1
        self._missing: dict[int, float] = {}
        self._lost = 0
        self._shown = 0
        clock.at(0.0, self._capture)
        clock.at(FEEDBACK_S, self._feed_back)
        clock.at(REPORT_S, self._report)
        clock.at(NACK_S, self._ask_again)
        clock.at(WAIT_S, self._wait)

    # The host

    def _capture(self) -> None:
        now, fps = self._clock.now, self._source.fps
        self._clock.at(now + 1 / fps, self._capture)
        share = next(share for start, share in reversed(self._source.activity) if start <= now)
        self.targets.append((now, self._steer.target_bps))
        if not share:
            return
        wanted = min(self._random.gauss(1, SIZE_SPREAD), BIGGEST)
        size = int(self._steer.target_bps / 8 / fps * share * wanted)
        count = max(-(-size // (PAYLOAD_BYTES + OVERHEAD_BYTES)), 1)
        first = len(self._packets)
        each = max(size // count, 80)
        self._packets += [(len(self.frames), each)] * count
        placed = [(index * each, each) for index in range(count)]
        self._history.add(Burst(first & 0xFFFF, placed, lambda _: bytes(each), now))
        self._queued = list(range(first, first + count))
        self.frames.append(Frame(now, count))
        self._pacer.set_rate(self._steer.target_bps)
        self._retransmitter.set_rate(self._steer.target_bps)
        self._pacer.begin(count, size, 1 / fps, now)
        self._pump()

    def _pump(self) -> None:
        now = self._clock.now
        while count := self._pacer.take(now, len(self._queued)):
            for sequence in self._queued[:count]:
                self._send(sequence, repeated=False)
            del self._queued[:count]
        if (due := self._pacer.next_deadline()) is not None:
            self._clock.at(due, self._pump)

    def _send(self, sequence: int, *, repeated: bool) -> None:
        now = self._clock.now
        frame, size = self._packets[sequence]
        self._flight.sent([Packet(now, size, None if repeated else frame)])
        number = self._numbers
        self._numbers += 1
        arrives = self._link.send(now, size)
        if arrives is not None:
            self._clock.at(arrives, lambda: self._arrive(number, sequence, repeated=repeated))

    def _hear(self, feedback: TransportFeedback) -> None:
        known = self._flight.acknowledge(feedback)
        if known:
            self._rtt_s = self._clock.now - known[-1].sent_s
        self._speed.take(known, self._clock.now)
        self._pacer.set_link(self._speed.bps(self._clock.now))
        self._steer.on_feedback(known, self._clock.now)

    def _repeat(self, sequence: int) -> None:
        wanted = (sequence & 0xFFFF,)
        if self._retransmitter.repeat(wanted, self._clock.now, self._rtt_s):
            self._send(sequence, repeated=True)

    def _wait(self) -> None:
        now = self._clock.now
        self._clock.at(now + WAIT_S, self._wait)
        self._steer.on_wait(self._flight.waiting_since(), now)

    # The viewer

    def _arrive(self, number: int, sequence: int, *, repeated: bool) -> None:
        now = self._clock.now
        self._arrivals[number] = int(now * 1e6) // DELTA_US * DELTA_US
        if not repeated and sequence > self._highest:
            for gap in range(self._highest + 1, sequence):
                self._missing[gap] = now
                self._lost += 1
                self._nack(gap)
            self._highest = sequence
        self._missing.pop(sequence, None)
        if sequence in self._there:
            return
        self._there.add(sequence)
        frame, size = self._packets[sequence]
        self.delivered.append((now, size))
        self.frames[frame].missing -= 1
        self._show()

    def _show(self) -> None:
        """Frames are shown in order, when all of them is there; one given up holds nobody back."""
        now = self._clock.now
        while self._shown < len(self.frames):
            frame = self.frames[self._shown]
            if frame.missing == 0:
                frame.shown_at = now
            elif now - frame.captured_at < GIVEN_UP_S:
                return
            self._shown += 1

    def _nack(self, sequence: int) -> None:
        when = self._clock.now + self._return_s
        self._clock.at(when, lambda: self._repeat(sequence))

    def _ask_again(self) -> None:
        now = self._clock.now
        self._clock.at(now + NACK_S, self._ask_again)
        for sequence, asked_at in list(self._missing.items()):
            if now - self.frames[self._packets[sequence][0]].captured_at > GIVEN_UP_S:
                del self._missing[sequence]
            elif now - asked_at > 2 * self._return_s + NACK_S:
                self._missing[sequence] = now
                self._nack(sequence)
        self._show()

    def _feed_back(self) -> None:
        now = self._clock.now
        self._clock.at(now + FEEDBACK_S, self._feed_back)
        if not self._arrivals:
            return
        base, end = min(self._reported, *self._arrivals), max(self._arrivals) + 1
        arrivals = tuple(self._arrivals.get(number) for number in range(base, end))
        self._arrivals.clear()
        self._reported = end
        feedback = TransportFeedback(0, 0, base & 0xFFFF, arrivals)
        self._clock.at(now + self._return_s, lambda: self._hear(feedback))

    def _report(self) -> None:
        now = self._clock.now
        self._clock.at(now + REPORT_S, self._report)
        if self._highest >= 0:
            reception = Reception(self._lost, self._highest)
            when = now + self._return_s
            self._clock.at(when, partial(self._steer.on_report, reception, when))
