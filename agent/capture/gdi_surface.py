"""Pictures in memory that GDI copies the screen into and draws the pointer on."""

from __future__ import annotations

import ctypes
import sys
from ctypes import wintypes
from typing import Final

import numpy as np

from agent.capture.base import Pixels

if sys.platform != "win32":
    raise ImportError("agent.capture.gdi_surface is for Windows")

from agent.win32 import last_error, user32

_gdi32: Final = ctypes.WinDLL("gdi32", use_last_error=True)
_crt: Final = ctypes.CDLL("msvcrt")

_BI_RGB, _DIB_RGB_COLORS = 0, 0
_SRCCOPY: Final = 0x00CC0020
"""Without CAPTUREBLT, which makes the pointer on the host flicker; the desktop is composed anyway."""
_CURSOR_SHOWING, _DI_NORMAL = 0x1, 0x3


class _BitmapInfoHeader(ctypes.Structure):
    _fields_ = (
        ("biSize", wintypes.DWORD),
        ("biWidth", wintypes.LONG),
        ("biHeight", wintypes.LONG),
        ("biPlanes", wintypes.WORD),
        ("biBitCount", wintypes.WORD),
        ("biCompression", wintypes.DWORD),
        ("biSizeImage", wintypes.DWORD),
        ("biXPelsPerMeter", wintypes.LONG),
        ("biYPelsPerMeter", wintypes.LONG),
        ("biClrUsed", wintypes.DWORD),
        ("biClrImportant", wintypes.DWORD),
    )


class _CursorInfo(ctypes.Structure):
    _fields_ = (
        ("cbSize", wintypes.DWORD),
        ("flags", wintypes.DWORD),
        ("hCursor", wintypes.HANDLE),
        ("ptScreenPos", wintypes.POINT),
    )


class _IconInfo(ctypes.Structure):
    _fields_ = (
        ("fIcon", wintypes.BOOL),
        ("xHotspot", wintypes.DWORD),
        ("yHotspot", wintypes.DWORD),
        ("hbmMask", wintypes.HBITMAP),
        ("hbmColor", wintypes.HBITMAP),
    )


_int, _handle, _pointer = ctypes.c_int, wintypes.HANDLE, ctypes.c_void_p
user32.GetDC.argtypes, user32.GetDC.restype = [_handle], _handle
user32.ReleaseDC.argtypes = [_handle, _handle]
user32.GetCursorInfo.argtypes = [ctypes.POINTER(_CursorInfo)]
user32.GetIconInfo.argtypes = [_handle, ctypes.POINTER(_IconInfo)]
user32.DrawIconEx.argtypes = [
    _handle, _int, _int, _handle, _int, _int, wintypes.UINT, _handle, wintypes.UINT,
]  # fmt: skip
_gdi32.CreateCompatibleDC.argtypes, _gdi32.CreateCompatibleDC.restype = [_handle], _handle
_gdi32.CreateDIBSection.argtypes = [
    _handle, ctypes.POINTER(_BitmapInfoHeader), wintypes.UINT, ctypes.POINTER(_pointer), _handle,
    wintypes.DWORD,
]  # fmt: skip
_gdi32.CreateDIBSection.restype = _handle
_gdi32.SelectObject.argtypes, _gdi32.SelectObject.restype = [_handle, _handle], _handle
_gdi32.DeleteObject.argtypes = [_handle]
_gdi32.DeleteDC.argtypes = [_handle]
_gdi32.BitBlt.argtypes = [
    _handle, _int, _int, _int, _int, _handle, _int, _int, wintypes.DWORD,
]  # fmt: skip
_crt.memcmp.argtypes = [_pointer, _pointer, ctypes.c_size_t]


class Screen:
    """The screen's device context; for the thread that makes it."""

    def __init__(self) -> None:
        self.dc = user32.GetDC(None)

    def close(self) -> None:
        """Idempotent."""
        dc, self.dc = self.dc, None
        if dc:
            user32.ReleaseDC(None, dc)


class Surface:
    """One picture of a fixed size. Raises OSError when Windows has no memory for it."""

    def __init__(self, screen: Screen, size: tuple[int, int]) -> None:
        self._width, self._height = size
        header = _BitmapInfoHeader(ctypes.sizeof(_BitmapInfoHeader))
        header.biWidth, header.biHeight = self._width, -self._height  # negative: top row first
        header.biPlanes, header.biBitCount, header.biCompression = 1, 32, _BI_RGB
        start = _pointer()
        self._bitmap = _gdi32.CreateDIBSection(
            screen.dc, ctypes.byref(header), _DIB_RGB_COLORS, ctypes.byref(start), None, 0
        )
        if not self._bitmap or start.value is None:
            raise OSError(last_error())
        self._dc = _gdi32.CreateCompatibleDC(screen.dc)
        self._former = _gdi32.SelectObject(self._dc, self._bitmap)
        self._start, self._size_bytes = start.value, self._width * self._height * 4
        memory = (ctypes.c_uint8 * self._size_bytes).from_address(self._start)
        self.pixels: Pixels = np.ctypeslib.as_array(memory).reshape(self._height, self._width, 4)
        """BGRA; of the bitmap, so valid until `close`."""

    def copy(self, screen: Screen, corner: tuple[int, int]) -> bool:
        """Take the desktop over from this point on; False when Windows does not give it."""
        taken = _gdi32.BitBlt(
            self._dc, 0, 0, self._width, self._height, screen.dc, *corner, _SRCCOPY
        )  # fmt: skip
        _gdi32.GdiFlush()  # before the memory is read
        return bool(taken)

    def draw_cursor(self, corner: tuple[int, int]) -> None:
        """Draw the host's pointer where it is, if it is shown; `corner` is the picture's on the desktop."""
        cursor = _CursorInfo(ctypes.sizeof(_CursorInfo))
        icon = _IconInfo()
        if not user32.GetCursorInfo(ctypes.byref(cursor)) or not cursor.flags & _CURSOR_SHOWING:
            return
        if not user32.GetIconInfo(cursor.hCursor, ctypes.byref(icon)):
            return  # its window is just closing
        for bitmap in (icon.hbmMask, icon.hbmColor):
            if bitmap:
                _gdi32.DeleteObject(bitmap)
        left = cursor.ptScreenPos.x - icon.xHotspot - corner[0]
        top = cursor.ptScreenPos.y - icon.yHotspot - corner[1]
        user32.DrawIconEx(self._dc, left, top, cursor.hCursor, 0, 0, 0, None, _DI_NORMAL)
        _gdi32.GdiFlush()

    def equals(self, other: Surface) -> bool:
        """Whether both show the same; stops at the first difference."""
        return int(_crt.memcmp(self._start, other._start, self._size_bytes)) == 0

    def close(self) -> None:
        """Give the memory back; once."""
        _gdi32.SelectObject(self._dc, self._former)
        _gdi32.DeleteDC(self._dc)
        _gdi32.DeleteObject(self._bitmap)
