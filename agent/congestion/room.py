"""Whether a path has room for pictures of many times the mean: it takes such a burst within a picture's interval.

By the speed at which bursts cross it (agent/congestion/burst_speed.py). `now` is in seconds of a monotonic clock.
"""

from __future__ import annotations

from typing import Final

ENOUGH: Final = 12.0
"""Of the target rate: a picture of twelve times the mean (agent/encode/quantiser.py) takes one interval."""
TOO_LITTLE: Final = 6.0
WAIT_S: Final = 1.0
"""So long it must be fast enough. Each change costs a key frame; so after each time that room was lost it is waited
for twice as long."""
MOST_DOUBLINGS: Final = 7


class Room:
    """Values in, values out; nothing is believed of a path whose speed is not known."""

    def __init__(self) -> None:
        self.has_room = False
        self._since: float | None = None
        self._doublings = 0

    def look(self, link_bps: float, target_bps: int, now: float, *, limited: bool) -> bool:
        """Whether it has room. `link_bps`: 0 is not known; `limited`: the path carries no more, or loses much."""
        if limited:
            self._lose()
        elif not link_bps:
            pass  # still pictures, or a loss: neither says that it became slower
        elif link_bps < TOO_LITTLE * target_bps:
            self._lose()
        elif link_bps < ENOUGH * target_bps:
            self._since = None
        elif self._since is None:
            self._since = now
        elif now - self._since >= WAIT_S * 2**self._doublings:
            self.has_room = True
        return self.has_room

    def _lose(self) -> None:
        self._since = None
        if self.has_room:
            self.has_room = False
            self._doublings = min(self._doublings + 1, MOST_DOUBLINGS)
