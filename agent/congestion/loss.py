"""The `loss` controller: receiver reports in, a target bitrate out. The fall back without transport-cc."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

HIGH_LOSS: Final = 0.05
LOW_LOSS: Final = 0.02
DECREASE: Final = 0.8
INCREASE: Final = 1.1
"""The predecessor's rule: loss above 5 % x0.8, below 2 % x1.1, between them unchanged."""


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


class LossController:
    """Changes the rate at most once per receiver report."""

    def __init__(self, start_bps: int, limits: RateLimits | None = None) -> None:
        self._limits = limits or RateLimits()
        self.target_bps = self._limits.clamp(start_bps)

    def on_report(self, fraction_lost: float) -> int:
        """Take the loss since the last report (0..1) and return the new target in bit/s."""
        if not 0.0 <= fraction_lost <= 1.0:
            raise ValueError(f"expected a fraction of 0 to 1, got {fraction_lost}")
        if fraction_lost > HIGH_LOSS:
            self.target_bps = self._limits.clamp(self.target_bps * DECREASE)
        elif fraction_lost < LOW_LOSS:
            self.target_bps = self._limits.clamp(self.target_bps * INCREASE)
        return self.target_bps
