"""The controllers side by side: ours, the predecessor's rule, and the two that a browser's receiver has had."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

from agent.congestion.capacity import AcknowledgedRate
from agent.congestion.delay import DelayController
from agent.congestion.flight import Packet
from agent.congestion.loss import LossController, RateLimits, Reception
from agent.congestion.trendline import Trendline, Usage
from benchmarks.congestion.stream import Steer

MULTIPLICATIVE_A_SECOND: Final = 1.08
NEAR: Final = 3.0
"""Standard deviations around the rate of earlier overuse within which the growth is additive."""


class Delay(DelayController):
    """Ours: hears feedback and silence, and no reports."""

    def on_report(self, reception: Reception, now: float) -> int:
        return self.target_bps


class Loss(LossController):
    """The predecessor's rule: hears reports only."""

    def on_feedback(self, packets: Sequence[Packet], now: float) -> int:
        return self.target_bps

    def on_wait(self, waiting_since: float | None, now: float) -> int:
        return self.target_bps


class Gcc:
    """After libwebrtc's AimdRateControl and SendSideBandwidthEstimation, without its probing.

    goog_cc/{delay_based_bwe,send_side_bandwidth_estimation}.cc, remote_bitrate_estimator/aimd_rate_control.cc.
    """

    def __init__(self, start_bps: int, limits: RateLimits) -> None:
        self._limits = limits
        self._rate_bps = float(start_bps)
        self._trendline = Trendline()
        self._acknowledged = AcknowledgedRate()
        self._link_bps: float | None = None
        self._link_deviation = 0.4
        self._fates: list[bool] = []
        self._lossy_at = self._fell_at = self._grown_at = 0.0
        self._rtt_s = 0.1

    @property
    def target_bps(self) -> int:
        return self._limits.clamp(self._rate_bps)

    def on_report(self, reception: Reception, now: float) -> int:
        return self.target_bps

    def on_wait(self, waiting_since: float | None, now: float) -> int:
        return self.target_bps

    def on_feedback(self, packets: Sequence[Packet], now: float) -> int:
        for packet in packets:
            self._fates.append(packet.arrived_s is not None)
            if packet.arrived_s is not None:
                self._rtt_s = now - packet.sent_s
                self._acknowledged.add([packet])
                if packet.frame is not None:
                    self._trendline.add(packet.sent_s, packet.arrived_s)
        if self._trendline.usage is Usage.OVER:
            self._decrease(now)
        elif self._trendline.usage is Usage.NORMAL:
            self._increase(now)
        self._grown_at = now
        self._look_at_loss(now)
        self._rate_bps = self._limits.clamp(self._rate_bps)
        return self.target_bps

    def _decrease(self, now: float) -> None:
        if now - self._fell_at < min(max(self._rtt_s, 0.01), 0.2):
            return
        self._fell_at = now
        seen_bps = self._acknowledged.bps
        if self._link_bps is None or abs(seen_bps - self._link_bps) > self._spread():
            self._link_bps = seen_bps
        self._link_bps = 0.95 * self._link_bps + 0.05 * seen_bps
        self._rate_bps = min(self._rate_bps, 0.85 * seen_bps)

    def _increase(self, now: float) -> None:
        passed_s = min(now - self._grown_at, 1.0)
        seen_bps = self._acknowledged.bps
        if self._link_bps is not None and seen_bps > self._link_bps + self._spread():
            self._link_bps = None
        if self._link_bps is None:
            grown_bps = self._rate_bps * MULTIPLICATIVE_A_SECOND**passed_s
        else:
            packet_bits = 8 * 1200
            grown_bps = self._rate_bps + max(packet_bits / (self._rtt_s + 0.1), 4000) * passed_s
        self._rate_bps = max(min(grown_bps, 1.5 * seen_bps + 10_000), self._rate_bps)

    def _spread(self) -> float:
        """In bit/s; the deviation is that of the square root, in kbit/s."""
        kbps = (self._link_bps or 0.0) / 1e3
        return 1e3 * NEAR * math.sqrt(self._link_deviation * kbps)

    def _look_at_loss(self, now: float) -> None:
        if len(self._fates) < 20 or now - self._lossy_at < 0.3 + self._rtt_s:
            return
        lost = self._fates.count(False) / len(self._fates)
        self._fates, self._lossy_at = [], now
        if lost > 0.1:
            self._rate_bps *= 1 - 0.5 * lost


STEERS: Final[dict[str, Callable[[int, RateLimits], Steer]]] = {
    "delay": Delay,
    "loss": Loss,
    "gcc": Gcc,
}
"""By name, ours first."""
