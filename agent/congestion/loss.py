"""The `loss` controller: receiver reports in, a target bitrate out. The fall back without transport-cc."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

HIGH_LOSS: Final = 0.05
LOW_LOSS: Final = 0.02
DECREASE: Final = 0.8
INCREASE: Final = 1.1
"""The predecessor's rule: loss above 5 % x0.8, below 2 % x1.1, between them unchanged."""
DECISION_S: Final = 1.0
"""The predecessor's pace. libwebrtc sends a report with each NACK and PLI, too: many a second."""
MIN_PACKETS: Final = 50
"""Fewer say nothing about a higher rate; moving pictures at the floor of 500 kbit/s are as many a second."""
MIN_LOST: Final = 3
"""Fewer lost ones in a quiet second are chance, whatever their share."""


@dataclass(frozen=True, slots=True)
class RateLimits:
    """What the target stays within, in bit/s."""

    floor_bps: int = 500_000
    ceiling_bps: int = 20_000_000

    def __post_init__(self) -> None:
        if not 0 < self.floor_bps <= self.ceiling_bps:
            raise ValueError(f"expected 0 < floor <= ceiling, got {self}")

    def clamp(self, rate_bps: float) -> int:
        """The nearest rate within."""
        return int(min(max(rate_bps, self.floor_bps), self.ceiling_bps))


@dataclass(frozen=True, slots=True)
class Reception:
    """What had arrived when a report was made: both counted since the start (RFC 3550 6.4.1)."""

    packets_lost: int
    """24 bits with a sign: repetitions count as arrivals, so that it can fall."""
    highest_sequence: int
    """The extended highest sequence number, 32 bits that wrap."""


class LossController:
    """Decides at most once a second, over all that was sent since the last decision."""

    def __init__(self, start_bps: int, limits: RateLimits | None = None) -> None:
        self._limits = limits or RateLimits()
        self._before: Reception | None = None
        self._decided_at = 0.0
        self.target_bps = self._limits.clamp(start_bps)
        self.fraction_lost = 0.0
        """Of what was sent between the last two decisions, 0 to 1."""

    def on_report(self, reception: Reception, now: float) -> int:
        """Take a report and return the target in bit/s. The first one only says where counting begins."""
        before = self._before
        if before is not None and now - self._decided_at < DECISION_S:
            return self.target_bps
        self._before, self._decided_at = reception, now
        if before is None:
            return self.target_bps
        sent = (reception.highest_sequence - before.highest_sequence) & 0xFFFFFFFF
        if sent >= 1 << 31:  # the receiver began to count anew
            return self.target_bps
        lost = min(max(reception.packets_lost - before.packets_lost, 0), sent)
        self.fraction_lost = lost / sent if sent else 0.0
        if self.fraction_lost > HIGH_LOSS and lost >= MIN_LOST:
            self.target_bps = self._limits.clamp(self.target_bps * DECREASE)
        elif self.fraction_lost < LOW_LOSS and sent >= MIN_PACKETS:
            self.target_bps = self._limits.clamp(self.target_bps * INCREASE)
        return self.target_bps
