"""The same stream to a viewer without transport-wide feedback, whose page tells when frames arrived."""

from __future__ import annotations

from typing import Final

from agent.congestion.frame_flight import FlyingFrame, FrameFlight
from benchmarks.congestion.clock import Clock
from benchmarks.congestion.link import Link
from benchmarks.congestion.stream import Source, Steer, Stream

TOLD_S: Final = 0.05
"""How often client/arrivals.js does."""
MOST_TOLD: Final = 16
SHOWN_S: Final = 0.02
"""From the arrival to the callback that tells of it."""


class ArrivalStream(Stream):
    """`skipped`: of so many frames the browser shows, and tells of, all but one; 0: it shows all."""

    def __init__(
        self,
        clock: Clock,
        link: Link,
        steer: Steer,
        source: Source,
        return_s: float,
        skipped: int = 0,
    ) -> None:
        self._frame_flight = FrameFlight()
        self._skipped = skipped
        self._leaving: tuple[int, float, int] = (-1, 0.0, 0)
        """The frame that is being sent, when its first packet left, and how many have."""
        self._whole: list[tuple[int, float]] = []
        """Frames that are shown, and when their last packets came."""
        self._told = 0
        super().__init__(clock, link, steer, source, return_s)
        self._rtt_s = 2 * return_s  # of sender and receiver reports

    def _send(self, sequence: int, *, repeated: bool) -> None:
        super()._send(sequence, repeated=repeated)
        if repeated:
            self._frame_flight.repeat([sequence & 0xFFFF])
            return
        now, (number, size) = self._clock.now, self._packets[sequence]
        leaving, first_s, count = self._leaving
        if number != leaving:
            first_s, count = now, 0
        self._leaving = (number, first_s, count + 1)
        if sequence == self._queued[-1]:
            first = sequence - count & 0xFFFF
            sent = FlyingFrame(number, number, first_s, now, size * (count + 1), first, count + 1)
            self._frame_flight.sent(sent)

    def _arrive(self, number: int, sequence: int, *, repeated: bool) -> None:
        frame = self._packets[sequence][0]
        before = self.frames[frame].missing
        super()._arrive(number, sequence, repeated=repeated)
        if (
            before
            and not self.frames[frame].missing
            and not (self._skipped and frame % self._skipped == 0)
        ):
            self._whole.append((frame, self._clock.now))

    def _feed_back(self) -> None:
        now = self._clock.now
        self._clock.at(now + TOLD_S, self._feed_back)
        shown = [
            row for row in self._whole if row[1] + SHOWN_S <= now and self.frames[row[0]].shown_at
        ]
        if len(shown) == self._told:
            return
        self._told = len(shown)
        self._clock.at(now + self._return_s, lambda: self._hear_arrivals(shown[-MOST_TOLD:]))

    def _hear_arrivals(self, arrivals: list[tuple[int, float]]) -> None:
        self._steer.on_feedback(self._frame_flight.arrived(arrivals), self._clock.now)

    def _wait(self) -> None:
        self._clock.at(self._clock.now + 0.1, self._wait)
        self._steer.on_wait(None, self._clock.now)
