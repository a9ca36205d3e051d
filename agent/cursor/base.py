"""What a backend of the host's cursor is: it says what the pointer looks like and where it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, Protocol

FOLLOW_EVERY_S: Final = 1 / 120
"""The pointer's place is told at most so often; no screen shows more."""


class CursorUnavailable(Exception):
    """The cursor cannot be read here; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What the pointer looks like."""

    width: int
    height: int
    hot_x: int
    """The pixel of the shape that points; in it or at its edge."""
    hot_y: int
    pixels: bytes
    """RGBA, alpha not multiplied in, rows from the top without gaps."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """The pointer at one moment."""

    shape: Shape | None
    """None: the pointer is hidden."""
    x: int
    """Of the hot spot on the screen, in pixels."""
    y: int
    screen: tuple[int, int]
    """Width and height of the screen in pixels; what `x` and `y` are to be compared with."""


class CursorSource(Protocol):
    """The pointer of one screen. Making it opens it, and raises CursorUnavailable in words.

    `next` and `close` are called from one thread, `wake` from any.
    """

    name: ClassVar[str]

    def next(self, timeout_s: float, *, follow: bool) -> Cursor | None:
        """Block until the shape is another one or, with `follow`, the place too; None: nothing so far.

        The first call returns at once. Raises CursorUnavailable when the screen is gone.
        """
        ...

    def wake(self) -> None:
        """Have the running or the next `next` return soon. Harmless after `close`."""
        ...

    def close(self) -> None:
        """Give back every resource. Idempotent."""
        ...
