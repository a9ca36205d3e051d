"""What every cursor backend promises, run here over the fake and XFixes, under Wine over GetCursorInfo."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

from agent.cursor.base import Cursor, CursorSource, Shape

LIMIT_S = 20.0


class Pointer(Protocol):
    """The pointer that the backend reads, in the test's hand."""

    def first(self) -> None:
        """A shape with its hot spot at 3,5."""

    def second(self) -> None:
        """Another shape."""

    def hide(self) -> None: ...
    def move(self, x: int, y: int) -> None: ...


def read_until(
    source: CursorSource, true: Callable[[Cursor], bool], *, follow: bool = False
) -> Cursor:
    """The first cursor of which it is true."""
    end = time.monotonic() + LIMIT_S
    last: Cursor | None = None
    while time.monotonic() < end:
        cursor = source.next(0.2, follow=follow)
        last = cursor or last
        if cursor is not None and true(cursor):
            return cursor
    raise AssertionError(f"not within {LIMIT_S} s; last: {last}")


def hot_spot(shape: Shape | None) -> tuple[int, int] | None:
    return None if shape is None else (shape.hot_x, shape.hot_y)


def keep_the_contract(source: CursorSource, pointer: Pointer) -> None:
    """Shapes, hiding and places are told, and nothing when nothing happens."""
    pointer.move(100, 100)
    pointer.first()
    first = read_until(source, lambda cursor: hot_spot(cursor.shape) == (3, 5))
    assert first.shape is not None
    assert len(first.shape.pixels) == 4 * first.shape.width * first.shape.height
    assert any(first.shape.pixels[3::4])
    while source.next(0.3, follow=False) is not None:
        pass
    pointer.move(120, 90)
    assert source.next(0.3, follow=False) is None, "the place alone was not asked for"
    moved = read_until(source, lambda cursor: (cursor.x, cursor.y) == (120, 90), follow=True)
    assert moved.shape == first.shape
    assert moved.x < moved.screen[0]
    assert moved.y < moved.screen[1]
    pointer.second()
    read_until(source, lambda cursor: cursor.shape not in (None, first.shape))
    pointer.hide()
    read_until(source, lambda cursor: cursor.shape is None)
    pointer.first()
    read_until(source, lambda cursor: cursor.shape == first.shape)
    while source.next(0.3, follow=False) is not None:
        pass
    began = time.monotonic()
    timer = threading.Timer(0.05, source.wake)
    timer.start()
    assert source.next(LIMIT_S, follow=False) is None
    assert time.monotonic() - began < LIMIT_S
    timer.join()
    source.close()
    source.close()
    source.wake()
