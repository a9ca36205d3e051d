"""When to encode a picture again although nothing moved (a core: time is a value).

The rate buffer of one picture makes the last picture of a motion coarse. Repeats sharpen it until
there is nothing left to send; after that one now and then keeps the decoder and the path alive.
"""

from __future__ import annotations

REFINE_INTERVAL_S = 1 / 30
"""At the least; with new pictures it may never come to more than the frame rate, on which the budget of each rests."""

MAX_REFINEMENTS = 45
"""1.5 s. A full screen of fine text at 720p and 6 Mbit/s gains about 0.5 dB with each repeat."""

SETTLED_SHARE = 0.02
"""A repeat that needs less than this share of a picture's budget changed nothing that is seen."""

IDLE_INTERVAL_S = 2.0


class Refresh:
    """The schedule of repeats after the last new picture."""

    def __init__(self, fps: int) -> None:
        self.fps = fps
        """Of new pictures while all moves; may be changed."""
        self._next: float | None = None
        self._left = 0

    def changed(self, now: float) -> None:
        """A new picture, or the old one as a key frame, was encoded at `now`."""
        self._left = MAX_REFINEMENTS
        # Two intervals: a new picture may come right after the repeat.
        self._next = now + max(REFINE_INTERVAL_S, 2 / self.fps)

    def next_deadline(self) -> float | None:
        """When the picture is due again; None before the first one."""
        return self._next

    def repeated(self, now: float, share: float) -> None:
        """The last picture was encoded again, which took `share` of a picture's mean size."""
        self._left = self._left - 1 if share > SETTLED_SHARE else 0
        refine_s = max(REFINE_INTERVAL_S, 1 / self.fps)
        self._next = now + (refine_s if self._left > 0 else IDLE_INTERVAL_S)
