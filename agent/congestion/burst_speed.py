"""How fast the path takes a burst, which is sent in one go: what the pacer may believe of it.

A whole frame shows no more than the pace at which it was sent (agent/congestion/capacity.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from agent.congestion.capacity import Dispersion
from agent.congestion.flight import Packet

MIN_PACKETS: Final = 8
"""Of a burst: with fewer, arrival times in steps of 250 us show the steps."""
CAUTION_S: Final = 10.0
"""After a loss: a shaper may take one burst at its line's speed, and drop what comes right behind it."""


class BurstSpeed:
    """Fed with what feedback says; values in, values out."""

    def __init__(self) -> None:
        self._dispersion = Dispersion()
        self._burst: list[Packet] = []
        """Packets of one burst: they have one send time."""
        self._lost_s: float | None = None

    def take(self, packets: Sequence[Packet], now: float) -> None:
        """What a feedback said of packets, in the order of sending."""
        for packet in packets:
            if packet.arrived_s is None:
                self._lost_s = now
            if packet.frame is None:
                continue
            if self._burst and packet.sent_s != self._burst[0].sent_s:
                if len(self._burst) >= MIN_PACKETS:
                    self._dispersion.add(self._burst)
                self._burst = []
            self._burst.append(packet)

    def bps(self, now: float) -> float | None:
        """The median of the last second's bursts; None where they were too few, or something got lost lately."""
        if self._lost_s is not None and now - self._lost_s < CAUTION_S:
            return None
        return self._dispersion.capacity_bps(now)
