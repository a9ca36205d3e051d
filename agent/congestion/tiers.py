"""Which viewers of one codec share the player's picture, and which the lower one: rates in, a plan out.

The player's controller alone decides what the main picture has; a viewer whose path carries less for a while gets
the lower one, which the slowest of those decides about. `now` is in seconds of a monotonic clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

DOWN_SHARE: Final = 0.8
"""Of the main rate: `DelayController` falls below it when the path carries a tenth too little."""
DOWN_S: Final = 0.75
"""A dip that the controller forgets at once moves nobody; longer, and more than a second of pictures is late."""
UP_S: Final = 3.0
"""As agent/congestion/ladder.py: what changes all the time is worse than what is small."""
PROBE_S: Final = 10.0
"""A lower picture that does not fill the path says nothing about a higher one: that is tried out after so long."""
MAX_DOUBLINGS: Final = 4
"""After each trial in vain it is waited for twice as long, up to 160 s."""
TRIAL_S: Final = 30.0
"""Who falls back within it was moved up in vain."""


@dataclass(frozen=True, slots=True)
class ViewerPath:
    """One viewer, and what its congestion control says."""

    viewer: int
    player: bool
    media_bps: int
    """For its picture, beside parity packets."""
    limited: bool
    """Whether the path is known to carry no more, rather than that nobody tried."""
    room: bool = False
    """Whether it takes pictures of many times the mean (agent/congestion/room.py)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the encoders of a codec aim at, and who gets the lower picture."""

    main_bps: int
    lower_bps: int | None
    """None: nobody needs it."""
    lower: frozenset[int]
    room: bool = False
    """Whether the paths of all who get the main picture have room."""


@dataclass(slots=True)
class _Standing:
    lower: bool = False
    since: float | None = None
    """From when on all has spoken for the other picture."""
    raised_at: float = float("-inf")
    doublings: int = 0

    def look(self, path: ViewerPath, main_bps: int, now: float) -> None:
        enough = path.media_bps >= main_bps or not path.limited
        if self.lower:
            changes, wait_s = enough, PROBE_S if path.media_bps < main_bps else UP_S
            wait_s *= 2**self.doublings
        else:
            changes, wait_s = path.limited and path.media_bps < DOWN_SHARE * main_bps, DOWN_S
        if not changes:
            self.since = None
        elif self.since is None:
            self.since = now
        elif now - self.since >= wait_s:
            self.move(now, lower=not self.lower)

    def move(self, now: float, *, lower: bool) -> None:
        if lower == self.lower:
            return
        self.lower, self.since = lower, None
        if not lower:
            self.raised_at = now
        elif now - self.raised_at < TRIAL_S:
            self.doublings = min(self.doublings + 1, MAX_DOUBLINGS)
        else:
            self.doublings = 0


class Tiers:
    """Of one codec. Call `decide` some times a second and whenever a rate changes."""

    def __init__(self) -> None:
        self._standings: dict[int, _Standing] = {}

    def decide(self, paths: Sequence[ViewerPath], now: float) -> Plan:
        """The plan for all that watch the codec, of whom there must be one."""
        self._standings = {
            path.viewer: self._standings.get(path.viewer) or _Standing() for path in paths
        }
        leader = self._leader(paths)
        for path in paths:
            standing = self._standings[path.viewer]
            if path is leader:
                standing.move(now, lower=False)
            else:
                standing.look(path, leader.media_bps, now)
        low = [path for path in paths if self._standings[path.viewer].lower]
        slowest_bps = min((path.media_bps for path in low), default=None)
        lower_bps = None if slowest_bps is None else min(slowest_bps, leader.media_bps)
        room = all(path.room for path in paths if not self._standings[path.viewer].lower)
        return Plan(leader.media_bps, lower_bps, frozenset(path.viewer for path in low), room)

    def _leader(self, paths: Sequence[ViewerPath]) -> ViewerPath:
        """The first player; where there is none, the fastest of those who have the main picture."""
        players = [path for path in paths if path.player]
        if players:
            return players[0]
        main = [path for path in paths if not self._standings[path.viewer].lower]
        return max(main or paths, key=lambda path: path.media_bps)
