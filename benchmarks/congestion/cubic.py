"""A TCP-like flow beside ours: CUBIC by acknowledgements, one cut per round trip, endless data."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import Final

from benchmarks.congestion.clock import Clock
from benchmarks.congestion.link import Link

SEGMENT_BYTES: Final = 1500
C, BETA = 0.4, 0.7
TIMEOUT_S: Final = 1.0


class CubicFlow:
    """RFC 9438 in segments; repetitions are not modelled, so that what it delivers is its goodput."""

    def __init__(self, clock: Clock, link: Link, return_s: float) -> None:
        self._clock, self._link, self._return_s = clock, link, return_s
        self._window, self._threshold = 10.0, float("inf")
        self._most, self._cut_at = 0.0, 0.0
        self._reno = 0.0
        self._flight: deque[tuple[int, float]] = deque()
        self._next = 0
        self._recovered = 0
        self._rtt_s = 2 * return_s
        self._acked_at = 0.0
        self._end = 0.0
        self.delivered: list[tuple[float, int]] = []
        """When and how many bytes."""

    def play(self, start: float, end: float) -> None:
        """Send from one time to another."""
        self._end = end
        self._clock.at(start, self._begin)

    def _begin(self) -> None:
        self._acked_at = self._clock.now
        self._send()
        self._clock.at(self._clock.now + TIMEOUT_S, self._watch)

    def _send(self) -> None:
        while len(self._flight) < self._window and self._clock.now < self._end:
            number, now = self._next, self._clock.now
            self._next += 1
            self._flight.append((number, now))
            arrived = self._link.send(now, SEGMENT_BYTES)
            if arrived is not None:
                self.delivered.append((arrived, SEGMENT_BYTES))
                self._clock.at(arrived + self._return_s, partial(self._ack, number, now))

    def _ack(self, number: int, sent_at: float) -> None:
        now = self._clock.now
        self._acked_at = now
        self._rtt_s = 0.875 * self._rtt_s + 0.125 * (now - sent_at)
        lost = False
        while self._flight and self._flight[0][0] <= number:
            oldest, _ = self._flight.popleft()
            lost = lost or (oldest != number and oldest >= self._recovered)
        if lost:
            self._cut(now)
        elif self._window < self._threshold:
            self._window += 1
        else:
            self._grow(now)
        self._send()

    def _grow(self, now: float) -> None:
        k = (self._most * (1 - BETA) / C) ** (1 / 3)
        target = C * (now - self._cut_at + self._rtt_s - k) ** 3 + self._most
        self._reno += 3 * (1 - BETA) / (1 + BETA) / self._window
        if target > self._window:
            self._window += min((target - self._window) / self._window, 0.5)
        self._window = max(self._window, self._reno)

    def _cut(self, now: float) -> None:
        self._most = self._window * (1 + BETA) / 2 if self._window < self._most else self._window
        self._window = self._threshold = self._reno = max(self._window * BETA, 2.0)
        self._cut_at, self._recovered = now, self._next

    def _watch(self) -> None:
        """Everything on the way was lost: begin anew."""
        if self._clock.now - self._acked_at >= TIMEOUT_S:
            self._threshold, self._window = max(self._window / 2, 2.0), 1.0
            self._reno = 1.0
            self._flight.clear()
            self._acked_at = self._clock.now
            self._send()
        self._clock.at(self._clock.now + TIMEOUT_S / 4, self._watch)
