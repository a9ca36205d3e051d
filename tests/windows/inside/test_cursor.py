"""The pointer of Windows: the contract, and every pixel of one with two masks."""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Iterator
from ctypes import wintypes

import pytest

if sys.platform != "win32":
    pytest.skip("for Windows", allow_module_level=True)

from agent.cursor.getcursorinfo import WindowsCursor
from agent.input.sendinput import SendInputInjector
from agent.win32 import primary_size, user32
from tests.cursor.contract import hot_spot, keep_the_contract, read_until
from tests.windows.inside.window import Window

SIDE = 32
GCLP_HCURSOR = -12
user32.CreateCursor.restype = wintypes.HANDLE
user32.CreateCursor.argtypes = [
    wintypes.HANDLE, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_char_p,
    ctypes.c_char_p,
]  # fmt: skip
user32.SetCursor.argtypes = [wintypes.HANDLE]
user32.SetClassLongPtrW.restype = ctypes.c_void_p
user32.SetClassLongPtrW.argtypes = [wintypes.HWND, ctypes.c_int, ctypes.c_void_p]
ONES, ZEROS = b"\xff" * 4 * SIDE, b"\x00" * 4 * SIDE


def cursor(keep: bytes, invert: bytes, hot: tuple[int, int] = (3, 5)) -> int:
    return int(user32.CreateCursor(None, *hot, SIDE, SIDE, keep, invert))


class Pointer:
    """A window over the screen, in a thread that serves it, whose pointer can be changed."""

    def __init__(self) -> None:
        self._injector = SendInputInjector()
        self._shapes = [
            cursor(b"\xff\xff\x00\x00" * SIDE, b"\x00\x00\xff\x00" * SIDE),
            cursor(ZEROS, ONES, (1, 1)),
            cursor(ONES, ZEROS),
        ]
        self._wanted = 0
        self._stop = threading.Event()
        ready = threading.Event()

        def serve() -> None:
            self._window = Window()
            ready.set()
            handle = self._window._window
            before = user32.SetClassLongPtrW(handle, GCLP_HCURSOR, self._shapes[0])
            shown = -1
            while not self._stop.wait(0.01):
                self._window.pump()
                if (wanted := self._wanted) != shown:
                    user32.SetClassLongPtrW(handle, GCLP_HCURSOR, self._shapes[wanted])
                    user32.SetCursor(self._shapes[wanted])  # a thread's own, so from here
                    shown = wanted
            user32.SetClassLongPtrW(handle, GCLP_HCURSOR, before)  # of all windows of its class
            self._window.close()

        self._thread = threading.Thread(target=serve)
        self._thread.start()
        assert ready.wait(60)

    def first(self) -> None:
        self._wanted = 0

    def second(self) -> None:
        self._wanted = 1

    def hide(self) -> None:
        self._wanted = 2

    def move(self, x: int, y: int) -> None:
        width, height = primary_size()
        self._injector.move((x + 0.5) / width, (y + 0.5) / height)

    def close(self) -> None:
        self._stop.set()
        self._thread.join(10)
        self._injector.close()


@pytest.fixture
def pointer() -> Iterator[Pointer]:
    pointer = Pointer()
    yield pointer
    pointer.close()


def test_windows_keeps_the_contract(pointer: Pointer) -> None:
    keep_the_contract(WindowsCursor(), pointer)


def test_every_pixel_of_two_masks_is_read(pointer: Pointer) -> None:
    source = WindowsCursor()
    pointer.move(200, 200)
    pointer.first()
    shape = read_until(source, lambda cursor: hot_spot(cursor.shape) == (3, 5)).shape
    assert shape is not None
    assert (shape.width, shape.height) == (SIDE, SIDE)
    row = bytes(4 * 16) + b"\xff\xff\xff\xff" * 8 + b"\x00\x00\x00\xff" * 8
    assert shape.pixels == row * SIDE


def test_the_probe_passes_here() -> None:
    assert WindowsCursor.probe() is None
