"""Pictures in memory that GDI copies the screen into and draws the pointer on."""

from __future__ import annotations

import ctypes
import sys
from ctypes import wintypes
from typing import Final, Protocol

import numpy as np

from agent.capture.base import Box, Pixels

if sys.platform != "win32":
    raise ImportError("agent.capture.gdi_surface is for Windows")

from agent.win32 import last_error, user32
from agent.win32_gdi import DIB_RGB_COLORS, BitmapInfoHeader, gdi32, icon_of, new_header, pointer

_crt: Final = ctypes.CDLL("msvcrt")

_SRCCOPY: Final = 0x00CC0020
"""Without CAPTUREBLT, which makes the pointer on the host flicker; the desktop is composed anyway."""
_DI_NORMAL: Final = 0x3


_int, _handle, _pointer = ctypes.c_int, wintypes.HANDLE, ctypes.c_void_p
user32.GetWindowDC.argtypes, user32.GetWindowDC.restype = [_handle], _handle
user32.DrawIconEx.argtypes = [
    _handle, _int, _int, _handle, _int, _int, wintypes.UINT, _handle, wintypes.UINT,
]  # fmt: skip
gdi32.CreateCompatibleDC.argtypes, gdi32.CreateCompatibleDC.restype = [_handle], _handle
gdi32.CreateDIBSection.argtypes = [
    _handle, ctypes.POINTER(BitmapInfoHeader), wintypes.UINT, ctypes.POINTER(_pointer), _handle,
    wintypes.DWORD,
]  # fmt: skip
gdi32.CreateDIBSection.restype = _handle
gdi32.DeleteDC.argtypes = [_handle]
gdi32.BitBlt.argtypes = [
    _handle, _int, _int, _int, _int, _handle, _int, _int, wintypes.DWORD,
]  # fmt: skip
_crt.memcmp.argtypes = [_pointer, _pointer, ctypes.c_size_t]


class Source(Protocol):
    """What pixels can be copied from."""

    @property
    def dc(self) -> int | None:
        """Its device context; None: it has none any more."""
        ...


class Screen:
    """The device context of the screen, or of one window with its frame; for the thread that makes it."""

    def __init__(self, window: int | None = None) -> None:
        self._window = window
        self.dc: int | None = user32.GetDC(None) if window is None else user32.GetWindowDC(window)

    def close(self) -> None:
        """Idempotent."""
        dc, self.dc = self.dc, None
        if dc:
            user32.ReleaseDC(self._window, dc)


class Surface:
    """One picture of a fixed size. Raises OSError when Windows has no memory for it."""

    def __init__(self, screen: Screen, size: tuple[int, int]) -> None:
        self._width, self._height = size
        header = new_header(self._width, self._height)
        start = _pointer()
        self._bitmap = gdi32.CreateDIBSection(
            screen.dc, ctypes.byref(header), DIB_RGB_COLORS, ctypes.byref(start), None, 0
        )
        if not self._bitmap or start.value is None:
            raise OSError(last_error())
        self.dc: int | None = gdi32.CreateCompatibleDC(screen.dc)
        self._former = gdi32.SelectObject(self.dc, self._bitmap)
        self._start, self._size_bytes = start.value, self._width * self._height * 4
        memory = (ctypes.c_uint8 * self._size_bytes).from_address(self._start)
        self.pixels: Pixels = np.ctypeslib.as_array(memory).reshape(self._height, self._width, 4)
        """BGRA; of the bitmap, so valid until `close`."""

    def copy(self, source: Source, corner: tuple[int, int], into: Box | None = None) -> bool:
        """Take a source over from this point of it on, or `into` a part; False when Windows does not give it."""
        left, top, width, height = 0, 0, self._width, self._height
        if into is not None:
            left, top, width, height = into.left, into.top, into.width, into.height
        taken = gdi32.BitBlt(self.dc, left, top, width, height, source.dc, *corner, _SRCCOPY)
        gdi32.GdiFlush()  # before the memory is read
        return bool(taken)

    def fill(self, value: int) -> None:
        """Set every byte."""
        ctypes.memset(self._start, value, self._size_bytes)

    def draw_cursor(self, corner: tuple[int, int]) -> None:
        """Draw the host's pointer where it is, if it is shown; `corner` is the picture's on the desktop."""
        cursor = pointer()
        if cursor is None or not cursor.shown:
            return
        with icon_of(cursor.hCursor) as icon:
            if icon is None:
                return
            left = cursor.ptScreenPos.x - icon.xHotspot - corner[0]
            top = cursor.ptScreenPos.y - icon.yHotspot - corner[1]
        user32.DrawIconEx(self.dc, left, top, cursor.hCursor, 0, 0, 0, None, _DI_NORMAL)
        gdi32.GdiFlush()

    def equals(self, other: Surface) -> bool:
        """Whether both show the same; stops at the first difference."""
        return int(_crt.memcmp(self._start, other._start, self._size_bytes)) == 0

    def close(self) -> None:
        """Give the memory back; once."""
        gdi32.SelectObject(self.dc, self._former)
        gdi32.DeleteDC(self.dc)
        gdi32.DeleteObject(self._bitmap)
