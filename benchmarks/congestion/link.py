"""One direction of a path: a rate over time, a queue bounded in bytes, delay, jitter, loss.

In simulated time, and for real packets in benchmarks/emulator.py. Time is a value in seconds; randomness is
seeded. Packets never overtake each other.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Loss:
    """Bernoulli with `rate`; with `burst_packets` above 1 Gilbert's two states with that mean burst."""

    rate: float = 0.0
    burst_packets: float = 1.0


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """`capacity_bps`: (from when, how much) in order, the first from 0 on."""

    capacity_bps: Sequence[tuple[float, float]]
    buffer_bytes: int
    delay_s: float
    jitter_s: float = 0.0
    """Mean of an exponentially distributed delay on top, in order."""
    loss: Loss = field(default_factory=Loss)
    """Behind the queue, as on the air."""
    bucket_bytes: int = 0
    """Of a shaper: so much passes at once after a pause."""


class Link:
    """Ask `send` in the order of time."""

    def __init__(self, settings: LinkSettings, seed: int) -> None:
        self._settings = settings
        self._random = random.Random(seed)
        self._starts = [start for start, _ in settings.capacity_bps]
        self._queue: deque[tuple[float, int]] = deque()
        """When each packet will have left, and its size."""
        self._queued_bytes = 0
        self._free_at = 0.0
        self._tokens_since = 0.0
        """Up to when the link's time is used; before now where a bucket has saved some."""
        self._arrived_at = 0.0
        self._bad = False
        self.lost = self.overflowed = 0
        """Packets that were lost behind the queue, and before it."""

    def send(self, now: float, size_bytes: int) -> float | None:
        """When a packet sent now arrives; None: lost or not queued."""
        while self._queue and self._queue[0][0] <= now:
            self._queued_bytes -= self._queue.popleft()[1]
        if self._queued_bytes + size_bytes > self._settings.buffer_bytes:
            self.overflowed += 1
            return None
        self._tokens_since = max(now - self._saved_s(now), self._tokens_since)
        self._tokens_since = self._served(self._tokens_since, 8 * size_bytes)
        self._free_at = max(self._tokens_since, now)
        self._queue.append((self._free_at, size_bytes))
        self._queued_bytes += size_bytes
        jitter_s = self._settings.jitter_s
        late_s = self._random.expovariate(1 / jitter_s) if jitter_s else 0.0
        if self._loses():
            self.lost += 1
            return None
        self._arrived_at = max(self._arrived_at, self._free_at + self._settings.delay_s + late_s)
        return self._arrived_at

    def _saved_s(self, now: float) -> float:
        bucket_bits = 8 * self._settings.bucket_bytes
        rate_bps = self._settings.capacity_bps[bisect_right(self._starts, now) - 1][1]
        return min(bucket_bits / rate_bps, now) if bucket_bits else 0.0

    def _served(self, start: float, bits: float) -> float:
        """When so many bits that begin at `start` are through."""
        index = bisect_right(self._starts, start) - 1
        while True:
            rate_bps = self._settings.capacity_bps[index][1]
            end = self._starts[index + 1] if index + 1 < len(self._starts) else float("inf")
            carried = (end - start) * rate_bps if rate_bps else 0.0
            if rate_bps and carried >= bits:
                return start + bits / rate_bps
            bits -= carried
            start, index = end, index + 1

    def _loses(self) -> bool:
        loss = self._settings.loss
        if not loss.rate:
            return False
        if loss.burst_packets <= 1:
            return self._random.random() < loss.rate
        leave = 1 / loss.burst_packets
        enter = leave * loss.rate / (1 - loss.rate)
        self._bad = self._random.random() >= leave if self._bad else self._random.random() < enter
        return self._bad

    def carried_bits(self, start: float, end: float) -> float:
        """What the link can carry between two times."""
        edges = [*self._starts, float("inf")]
        return sum(
            max(0.0, min(end, edges[index + 1]) - max(start, edges[index])) * rate_bps
            for index, (_, rate_bps) in enumerate(self._settings.capacity_bps)
        )
