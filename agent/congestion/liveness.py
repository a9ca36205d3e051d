"""When a path that says nothing is slowed down, and given up: counted from the oldest packet that nothing was heard of.

A static screen sends nothing and hears nothing: that is no silence. Nor is it one when its lone pictures are lost,
of which nothing is heard until the next one arrives: the viewer's reports say that it has heard ours meanwhile.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import Final

HOLD_S: Final = 0.3
"""Five feedbacks of a viewer."""
HALVE_S: Final = 1.0
SECOND_S: Final = 3.0
"""What still says nothing then needs another connection; ICE's consent takes 30 s to see it (RFC 7675)."""

REPORTS_S: Final = 7.5
"""The longest that a viewer's reports are apart: half more than the five seconds of RFC 3550 6.2."""
GAPS: Final = 8
ENOUGH_GAPS: Final = 4
"""Of its last reports, that tell how far apart this viewer's are."""


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


class Silence:
    """Whether a second connection is due, once for each silence. Ask `look` a few times a second."""

    def __init__(self) -> None:
        self._since: float | None = None
        """When the first packet left that is not heard of; a flight of many forgets it."""
        self._told = False
        self._reached = float("-inf")
        """When the newest sender report left that the viewer has heard."""

    def on_report(self, left: float) -> None:
        """The viewer has heard a sender report that left then, in seconds of the clock of `look`."""
        self._reached = max(self._reached, left)

    def on_feedback(self) -> None:
        """Something was heard."""
        self._since, self._told = None, False

    def look(self, waiting_since: float | None, now: float) -> bool:
        """`waiting_since`: as in `Liveness.look`."""
        if waiting_since is None:
            self.on_feedback()
            return False
        if self._since is None:
            self._since = waiting_since
        if self._told or now - max(self._since, self._reached) < SECOND_S:
            return False
        self._told = True
        return True


class Rhythm:
    """Since when a viewer is overdue that tells of no single packets: it only reports, at intervals of its own."""

    def __init__(self) -> None:
        self._at: float | None = None
        self._gaps: deque[float] = deque(maxlen=GAPS)

    def heard(self, now: float) -> None:
        """A report came, whatever it says."""
        if self._at is not None and now - self._at <= REPORTS_S:  # else it was a silence
            self._gaps.append(now - self._at)
        self._at = now

    def overdue_since(self, now: float) -> float | None:
        """When the next report was due that has not come; None: it is not due yet, or none ever came."""
        if self._at is None:
            return None
        known = len(self._gaps) >= ENOUGH_GAPS
        due = self._at + (max(self._gaps) if known else REPORTS_S)
        return due if due < now else None
