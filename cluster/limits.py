"""How many messages a connection may send: a fixed window of ten seconds. A core."""

from __future__ import annotations

from typing import Final, Literal

WINDOW_S: Final = 10.0
FORBEARANCE: Final = 2
"""A peer that goes on to this many times the limit within one window is closed."""

Verdict = Literal["ok", "over", "stop"]


class MessageLimit:
    """Counts one connection's messages; each one over the limit of a window is told `over`, later ones `stop`."""

    __slots__ = ("_count", "_ends", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._count = 0
        self._ends = 0.0

    def take(self, now: float) -> Verdict:
        """Count one message at `now` (monotonic seconds)."""
        if now >= self._ends:
            self._ends = now + WINDOW_S
            self._count = 0
        self._count += 1
        if self._count <= self._limit:
            return "ok"
        return "over" if self._count <= self._limit * FORBEARANCE else "stop"

    def retry_after_ms(self, now: float) -> int:
        """When the window ends."""
        return max(0, int((self._ends - now) * 1000) + 1)
