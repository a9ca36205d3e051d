"""What rooms share of GDI: drawing on a window or bitmap, bitmaps' heads, and the pointer that Windows shows."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import wintypes
from typing import Final

if sys.platform != "win32":
    raise ImportError("agent.win32_gdi is for Windows")

from agent.win32 import user32

gdi32: Final = ctypes.WinDLL("gdi32", use_last_error=True)

BI_RGB, DIB_RGB_COLORS = 0, 0
_CURSOR_SHOWING: Final = 0x1


class BitmapInfoHeader(ctypes.Structure):
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


class CursorInfo(ctypes.Structure):
    """`hCursor` belongs to the program that shows it, and may be gone at any moment."""

    _fields_ = (
        ("cbSize", wintypes.DWORD),
        ("flags", wintypes.DWORD),
        ("hCursor", wintypes.HANDLE),
        ("ptScreenPos", wintypes.POINT),
    )

    @property
    def shown(self) -> bool:
        return bool(self.flags & _CURSOR_SHOWING) and bool(self.hCursor)


class IconInfo(ctypes.Structure):
    _fields_ = (
        ("fIcon", wintypes.BOOL),
        ("xHotspot", wintypes.DWORD),
        ("yHotspot", wintypes.DWORD),
        ("hbmMask", wintypes.HBITMAP),
        ("hbmColor", wintypes.HBITMAP),
    )


user32.GetCursorInfo.argtypes = [ctypes.POINTER(CursorInfo)]
user32.GetIconInfo.argtypes = [wintypes.HANDLE, ctypes.POINTER(IconInfo)]
user32.GetDC.argtypes, user32.GetDC.restype = [wintypes.HWND], wintypes.HDC
user32.ReleaseDC.argtypes = [wintypes.HWND, wintypes.HDC]
gdi32.DeleteObject.argtypes = [wintypes.HANDLE]
gdi32.SelectObject.argtypes = [wintypes.HDC, wintypes.HANDLE]
gdi32.SelectObject.restype = wintypes.HANDLE


def new_header(width: int, height: int) -> BitmapInfoHeader:
    """Of a bitmap of 32 bits a pixel, the top row first."""
    header = BitmapInfoHeader(ctypes.sizeof(BitmapInfoHeader))
    header.biWidth, header.biHeight = width, -height
    header.biPlanes, header.biBitCount, header.biCompression = 1, 32, BI_RGB
    return header


def pointer() -> CursorInfo | None:
    """The pointer now; None: Windows does not say, as on another desktop (UAC, lock screen)."""
    cursor = CursorInfo(ctypes.sizeof(CursorInfo))
    return cursor if user32.GetCursorInfo(ctypes.byref(cursor)) else None


@contextmanager
def icon_of(handle: int) -> Iterator[IconInfo | None]:
    """Hot spot and bitmaps of a pointer, for the length of the block; None: its program has just closed."""
    icon = IconInfo()
    if not user32.GetIconInfo(handle, ctypes.byref(icon)):
        yield None
        return
    try:
        yield icon
    finally:
        for bitmap in (icon.hbmMask, icon.hbmColor):
            if bitmap:
                gdi32.DeleteObject(bitmap)
