"""When a path that says nothing is slowed down: counted from the oldest packet that nothing was heard of.

A static screen sends nothing and hears nothing: that is no silence.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

HOLD_S: Final = 0.3
"""Five feedbacks of a viewer."""
HALVE_S: Final = 1.0


class Verdict(Enum):
    """What the rate may do."""

    FREE = "free"
    HOLD = "hold"
    """It must not rise."""
    HALVE = "halve"
    """It is halved now: once for each second."""


class Liveness:
    """Ask it a few times a second."""

    def __init__(self) -> None:
        self._halved_at = float("-inf")

    def look(self, waiting_since: float | None, now: float, rtt_s: float) -> Verdict:
        """`waiting_since`: when the oldest packet without an answer left, None when all have one.

        A round trip is no silence, so it is not counted.
        """
        waited_s = 0.0 if waiting_since is None else now - waiting_since - rtt_s
        if waited_s < HOLD_S:
            return Verdict.FREE
        if waited_s < HALVE_S or now - self._halved_at < HALVE_S:
            return Verdict.HOLD
        self._halved_at = now
        return Verdict.HALVE
