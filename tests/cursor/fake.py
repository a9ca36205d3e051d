"""A cursor that only tests move; it passes the contract of the real ones (test_contract.py)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import ClassVar

from agent.cursor.base import Cursor, CursorUnavailable, Shape

SCREEN = (640, 480)


def square(colour: bytes, side: int = 16, hot: tuple[int, int] = (3, 5)) -> Shape:
    """A square of one RGBA colour."""
    return Shape(side, side, *hot, colour * side * side)


class FakeCursor:
    """See `CursorSource`."""

    name: ClassVar[str] = "fake"

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._cursor = Cursor(square(b"\xcc\x11\x22\xff"), 0, 0, SCREEN)
        self._told: Cursor | None = None
        self._woken = False
        self._gone = False
        self.follows = False
        self.closed = False

    def show(self, shape: Shape | None) -> None:
        """Change the shape; None hides it."""
        self._set(Cursor(shape, self._cursor.x, self._cursor.y, SCREEN))

    def move(self, x: int, y: int) -> None:
        """Move the pointer."""
        self._set(Cursor(self._cursor.shape, x, y, SCREEN))

    def vanish(self) -> None:
        """The screen is gone."""
        with self._condition:
            self._gone = True
            self._condition.notify_all()

    def _set(self, cursor: Cursor) -> None:
        with self._condition:
            self._cursor = cursor
            self._condition.notify_all()

    def next(self, timeout_s: float, *, follow: bool) -> Cursor | None:
        def news() -> bool:
            told = self._told
            if told is None or told.shape is not self._cursor.shape:
                return True
            return follow and self._cursor.shape is not None and told != self._cursor

        def ready() -> bool:
            return self._gone or self._woken or news()

        with self._condition:
            self.follows = follow
            self._condition.wait_for(ready, timeout_s)
            self._woken = False
            if self._gone:
                raise CursorUnavailable("the screen is gone")
            if not news():
                return None
            self._told = self._cursor
            return self._cursor

    def wake(self) -> None:
        with self._condition:
            self._woken = True
            self._condition.notify_all()

    def close(self) -> None:
        self.closed = True


Opener = Callable[[], FakeCursor]
