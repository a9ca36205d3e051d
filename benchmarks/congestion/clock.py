"""Simulated time: what is due next, in order."""

from __future__ import annotations

import heapq
from collections.abc import Callable


class Clock:
    """Runs callbacks at their times; two at the same time in the order in which they were asked for."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Callable[[], object]]] = []
        self._count = 0

    def at(self, when: float, call: Callable[[], object]) -> None:
        """Call at a time that is not past."""
        self._count += 1
        heapq.heappush(self._due, (max(when, self.now), self._count, call))

    def run(self, until: float) -> None:
        """Run everything that is due before this time."""
        while self._due and self._due[0][0] < until:
            self.now, _, call = heapq.heappop(self._due)
            call()
        self.now = until
