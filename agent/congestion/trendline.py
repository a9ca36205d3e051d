"""Whether one-way delay grows: the trendline of libwebrtc.

After modules/congestion_controller/goog_cc/{inter_arrival_delta,trendline_estimator}.cc: packets that
leave within 5 ms are a group; a line is fitted through the smoothed sum of the groups' delay changes;
a threshold that adapts to the path's own noise decides.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import Final

GROUP_MS: Final = 5.0
WINDOW: Final = 20
SMOOTHING: Final = 0.9
GAIN: Final = 4.0
MAX_DELTAS: Final = 60
FIRST_THRESHOLD_MS: Final = 12.5
MIN_THRESHOLD_MS, MAX_THRESHOLD_MS = 6.0, 600.0
K_UP, K_DOWN = 0.0087, 0.039
MAX_ADAPT_OFFSET_MS: Final = 15.0
MAX_ADAPT_STEP_MS: Final = 100.0
OVERUSE_MS: Final = 10.0
MAX_PAUSE_MS: Final = 500.0
"""Differs: after a static screen the line begins anew, so that a pause is no change of delay."""


class Usage(Enum):
    """What the path's queue does."""

    NORMAL = "normal"
    OVER = "over"
    UNDER = "under"


class Trendline:
    """Fed with (sent, arrived) of every packet that arrived, in the order of sending.

    Of those that left at one time, the last to arrive will do.
    """

    def __init__(self) -> None:
        self.usage = Usage.NORMAL
        self._threshold_ms = FIRST_THRESHOLD_MS
        self._adapted_at_ms: float | None = None
        self._restart()

    def _restart(self) -> None:
        self._first_sent_ms: float | None = None
        self._group: tuple[float, float] | None = None
        """The newest group's last departure and arrival."""
        self._before: tuple[float, float] | None = None
        self._deltas = 0
        self._sum_ms = self._smoothed_ms = 0.0
        self._points: deque[tuple[float, float]] = deque(maxlen=WINDOW)
        self._slope = self._slope_before = 0.0
        self._over_ms: float | None = None
        self._over_count = 0

    def add(self, sent_s: float, arrived_s: float) -> None:
        """Take one packet; `usage` is what is known after it."""
        sent, arrived = sent_s * 1e3, arrived_s * 1e3
        group = self._group
        if group is not None and abs(sent - group[0]) > MAX_PAUSE_MS:
            self._restart()
            self.usage = Usage.NORMAL
            group = None
        if group is None or self._first_sent_ms is None:
            self._first_sent_ms, self._group = sent, (sent, arrived)
            return
        if sent < self._first_sent_ms:
            return  # reordered
        if sent - self._first_sent_ms <= GROUP_MS:
            self._group = (max(group[0], sent), max(group[1], arrived))
            return
        if self._before is not None:
            self._update(group[0] - self._before[0], group[1] - self._before[1], group[1])
        self._before = group
        self._first_sent_ms, self._group = sent, (sent, arrived)

    def _update(self, sent_ms: float, arrived_ms: float, now_ms: float) -> None:
        self._deltas = min(self._deltas + 1, 1000)
        self._sum_ms += arrived_ms - sent_ms
        self._smoothed_ms = SMOOTHING * self._smoothed_ms + (1 - SMOOTHING) * self._sum_ms
        self._points.append((now_ms, self._smoothed_ms))
        if len(self._points) == WINDOW:
            self._slope = _slope(self._points, self._slope)
        self._detect(sent_ms, now_ms)

    def _detect(self, sent_ms: float, now_ms: float) -> None:
        if self._deltas < 2:
            return
        trend_ms = min(self._deltas, MAX_DELTAS) * self._slope * GAIN
        if trend_ms > self._threshold_ms:
            over_ms = self._over_ms
            self._over_ms = sent_ms / 2 if over_ms is None else over_ms + sent_ms
            self._over_count += 1
            grows = self._slope >= self._slope_before
            if self._over_ms > OVERUSE_MS and self._over_count > 1 and grows:
                self._over_ms, self._over_count = 0.0, 0
                self.usage = Usage.OVER
        else:
            self._over_ms, self._over_count = None, 0
            self.usage = Usage.UNDER if trend_ms < -self._threshold_ms else Usage.NORMAL
        self._slope_before = self._slope
        self._adapt(abs(trend_ms), now_ms)

    def _adapt(self, trend_ms: float, now_ms: float) -> None:
        """The threshold follows the noise, slowly up and fast down, but no single spike."""
        if self._adapted_at_ms is None:
            self._adapted_at_ms = now_ms
        passed_ms = min(max(now_ms - self._adapted_at_ms, 0.0), MAX_ADAPT_STEP_MS)
        self._adapted_at_ms = now_ms
        if trend_ms > self._threshold_ms + MAX_ADAPT_OFFSET_MS:
            return
        factor = K_DOWN if trend_ms < self._threshold_ms else K_UP
        moved_ms = self._threshold_ms + factor * (trend_ms - self._threshold_ms) * passed_ms
        self._threshold_ms = min(max(moved_ms, MIN_THRESHOLD_MS), MAX_THRESHOLD_MS)


def _slope(points: deque[tuple[float, float]], before: float) -> float:
    """Of the least squares line; `before` when all points have one time."""
    count = len(points)
    mean_x = sum([x for x, _ in points]) / count
    mean_y = sum([y for _, y in points]) / count
    spread = sum([(x - mean_x) ** 2 for x, _ in points])
    if not spread:
        return before
    return sum([(x - mean_x) * (y - mean_y) for x, y in points]) / spread
