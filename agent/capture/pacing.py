"""How often pictures may be taken: a rate limiter that forgives jitter (a core: time is a value)."""

from __future__ import annotations

HEADROOM = 1.06
"""The limit sits 6 % above the nominal rate: programs round a 60 Hz timer to 16 ms (62.5 Hz), and a
limit just below the rate of the content delays each picture a little more than the one before."""

TOLERANCE = 0.5
"""How early a picture may come, as a share of the interval: content of the same rate that jitters by
less than this is never held back, so 60 Hz content does not alias to 30."""


class FramePacing:
    """The generic cell rate algorithm (ITU-T I.371, virtual scheduling) over picture times.

    A picture after a quiet time is due at once; many in a row are due at `HEADROOM * fps` a second.
    """

    def __init__(self, fps: int) -> None:
        if fps < 1:
            raise ValueError(f"the frame rate must be at least 1 a second, got {fps}")
        self._interval_s = 1.0 / (fps * HEADROOM)
        self._tolerance_s = self._interval_s * TOLERANCE
        self._theoretical: float | None = None

    def due_at(self) -> float:
        """The earliest time at which the next picture may be taken; 0 before the first."""
        if self._theoretical is None:
            return 0.0
        return self._theoretical - self._tolerance_s

    def taken(self, now: float) -> None:
        """Record that a picture was taken at `now` (monotonic seconds)."""
        start = now if self._theoretical is None else max(now, self._theoretical)
        self._theoretical = start + self._interval_s
