"""The cursor of a Windows desktop: looked at sixty times a second, as Windows tells nobody of a new shape."""

from __future__ import annotations

import ctypes
import sys
import threading
import time
from ctypes import wintypes
from typing import ClassVar, Final

import numpy as np

from agent.cursor.base import Cursor, CursorUnavailable, Shape
from agent.cursor.icon import Bitmap, shape_of

if sys.platform != "win32":
    raise ImportError("agent.cursor.getcursorinfo is for Windows")

from agent.probe import why_not
from agent.win32 import last_error, primary_size, use_real_pixels, user32
from agent.win32_gdi import (
    DIB_RGB_COLORS,
    BitmapInfoHeader,
    CursorInfo,
    gdi32,
    icon_of,
    new_header,
    pointer,
)

LOOK_EVERY_S: Final = 1 / 60
_IDC_ARROW: Final = 32512
"""winuser.h."""
MAX_SIDE: Final = 1024
"""Pixels; more is no pointer."""


class _Bitmap(ctypes.Structure):
    _fields_ = (
        ("bmType", wintypes.LONG),
        ("bmWidth", wintypes.LONG),
        ("bmHeight", wintypes.LONG),
        ("bmWidthBytes", wintypes.LONG),
        ("bmPlanes", wintypes.WORD),
        ("bmBitsPixel", wintypes.WORD),
        ("bmBits", ctypes.c_void_p),
    )


user32.LoadCursorW.argtypes = [wintypes.HANDLE, ctypes.c_void_p]
user32.LoadCursorW.restype = wintypes.HANDLE
gdi32.GetObjectW.argtypes = [wintypes.HANDLE, ctypes.c_int, ctypes.POINTER(_Bitmap)]
gdi32.GetDIBits.argtypes = [
    wintypes.HANDLE, wintypes.HANDLE, wintypes.UINT, wintypes.UINT, ctypes.c_void_p,
    ctypes.POINTER(BitmapInfoHeader), wintypes.UINT,
]  # fmt: skip


class WindowsCursor:
    """See `CursorSource`. Of an animated pointer the first picture is shown."""

    name: ClassVar[str] = "getcursorinfo"

    def __init__(self) -> None:
        use_real_pixels()
        self._woken = threading.Event()
        self._handle: int | None = None
        """Of the pointer that was told, 0: a hidden one; None: none was."""
        self._shape: Shape | None = None
        self._place = (0, 0)
        if pointer() is None:
            raise CursorUnavailable(f"Windows does not say what its pointer is: {last_error()}")

    @staticmethod
    def probe() -> str | None:
        """None when the pointer can be read, else the reason in words."""
        return why_not(WindowsCursor, CursorUnavailable)

    def next(self, timeout_s: float, *, follow: bool) -> Cursor | None:
        """See `CursorSource`."""
        end = time.monotonic() + timeout_s
        while True:
            found = pointer()
            if found is not None and self._is_news(found, follow):
                return Cursor(self._shape, *self._place, primary_size())
            left_s = end - time.monotonic()
            if left_s <= 0 or self._woken.wait(min(left_s, LOOK_EVERY_S)):
                self._woken.clear()
                return None

    def wake(self) -> None:
        """See `CursorSource`."""
        self._woken.set()

    def close(self) -> None:
        """See `CursorSource`: there is nothing to give back."""

    def _is_news(self, found: CursorInfo, follow: bool) -> bool:
        handle = int(found.hCursor) if found.shown else 0
        place = (found.ptScreenPos.x, found.ptScreenPos.y)
        if handle == self._handle:
            moved = follow and self._shape is not None and place != self._place
            if moved:
                self._place = place
            return moved
        try:
            self._shape = _read(handle) if handle else None
        except OSError:  # its program has just ended; under Wine every other program's
            self._shape = _read(user32.LoadCursorW(None, _IDC_ARROW))
        self._handle, self._place = handle, place
        return True


def _read(handle: int) -> Shape | None:
    """The shape of a pointer. Raises OSError when it is gone."""
    with icon_of(handle) as icon:
        if icon is None:
            raise OSError(last_error())
        colour = _pixels(icon.hbmColor) if icon.hbmColor else None
        return shape_of(_pixels(icon.hbmMask), colour, (icon.xHotspot, icon.yHotspot))


def _pixels(bitmap: int) -> Bitmap:
    bare = _Bitmap()
    if not gdi32.GetObjectW(bitmap, ctypes.sizeof(_Bitmap), ctypes.byref(bare)):
        raise OSError(last_error())
    width, height = bare.bmWidth, bare.bmHeight
    if not (0 < width <= MAX_SIDE and 0 < height <= 2 * MAX_SIDE):
        raise OSError(f"a pointer of {width}x{height}")
    pixels = np.zeros((height, width, 4), np.uint8)
    header = new_header(width, height)
    screen = user32.GetDC(None)
    try:
        rows = gdi32.GetDIBits(
            screen, bitmap, 0, height, pixels.ctypes.data, ctypes.byref(header), DIB_RGB_COLORS
        )
    finally:
        user32.ReleaseDC(None, screen)
    if rows != height:
        raise OSError(last_error())
    return pixels
