"""How long the queue on the path stands, and how long it may: the first packet of each frame tells.

That packet waits for what earlier frames (and other flows) left behind, not for its own frame: a
frame that is sent faster than the path carries it queues behind itself, which is no standing queue.
"""

from __future__ import annotations

from collections import deque
from typing import Final

BUCKET_S: Final = 2.0
WINDOW_S: Final = 30.0
"""Of the minimum: longer than a TCP flow between two of its losses."""
MAX_DRIFT: Final = 100e-6
"""Between two quartz clocks; what looks like more is a queue."""
MIN_DRIFT_BUCKETS: Final = 5
SET_POINT_S: Final = 0.008
"""Half a frame at 60 a second."""
MAX_SET_POINT_S: Final = 0.05
JITTER_FRAMES: Final = 128
STANDING_FRAMES: Final = 3
"""The least of so many: one late frame is jitter."""


class BaseDelay:
    """The least one-way delay lately: a windowed minimum that follows the drift of the two clocks."""

    def __init__(self) -> None:
        self._buckets: deque[tuple[float, float]] = deque()
        """When and what the least delay of each bucket was."""
        self._opened_at = 0.0
        self._drift = 0.0

    def add(self, now: float, delay_s: float) -> None:
        """A delay (arrived minus sent, with any constant offset), seen at `now` of the sender's clock."""
        buckets = self._buckets
        if not buckets or now - self._opened_at >= BUCKET_S:
            self._drift = self._slope()
            buckets.append((now, delay_s))
            self._opened_at = now
            while now - buckets[0][0] > WINDOW_S:
                buckets.popleft()
        elif delay_s < buckets[-1][1]:
            buckets[-1] = (now, delay_s)

    def at(self, now: float) -> float:
        """The delay of an empty path at `now`. Only after `add`."""
        return min(least + self._drift * (now - at) for at, least in self._buckets)

    def _slope(self) -> float:
        """The median of the slopes between buckets half a window apart (after Theil and Sen)."""
        points = list(self._buckets)
        half = len(points) // 2
        if half < MIN_DRIFT_BUCKETS:
            return 0.0
        pairs = zip(points, points[half:], strict=False)
        slopes = sorted((b[1] - a[1]) / (b[0] - a[0]) for a, b in pairs if b[0] > a[0])
        return min(max(slopes[len(slopes) // 2], -MAX_DRIFT), MAX_DRIFT) if slopes else 0.0


class StandingQueue:
    """Fed with the first packet of every frame."""

    def __init__(self) -> None:
        self._base = BaseDelay()
        self._recent: deque[float] = deque(maxlen=STANDING_FRAMES)
        self._changes: deque[float] = deque(maxlen=JITTER_FRAMES)
        self._before_s: float | None = None
        self.set_point_s = SET_POINT_S
        """How much may stand: 8 ms, or twice the 90th percentile of the path's jitter, up to 50 ms."""

    def add(self, sent_s: float, arrived_s: float) -> None:
        """The first packet of a frame that arrived."""
        delay_s = arrived_s - sent_s
        self._base.add(sent_s, delay_s)
        self._recent.append(delay_s - self._base.at(sent_s))
        if self._before_s is not None and self.standing_s <= SET_POINT_S:
            self._changes.append(abs(delay_s - self._before_s))  # a queue's change is no jitter
            if len(self._changes) >= JITTER_FRAMES // 4:
                jitter_s = sorted(self._changes)[len(self._changes) * 9 // 10]
                self.set_point_s = min(max(SET_POINT_S, 2 * jitter_s), MAX_SET_POINT_S)
        self._before_s = delay_s

    @property
    def standing_s(self) -> float:
        """What was never worked off during the last frames; 0 before there are enough."""
        return min(self._recent) if len(self._recent) == STANDING_FRAMES else 0.0

    @property
    def slack_s(self) -> float:
        """What the path's jitter may add to the time that a frame takes."""
        return self.set_point_s - SET_POINT_S
