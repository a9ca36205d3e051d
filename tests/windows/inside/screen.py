"""Paints on the Windows screen."""

from __future__ import annotations

import ctypes
import sys
from ctypes import wintypes

if sys.platform != "win32":
    raise ImportError("for Windows")

from agent.win32 import user32

_gdi32 = ctypes.WinDLL("gdi32")
_gdi32.CreateSolidBrush.restype = wintypes.HANDLE
_gdi32.DeleteObject.argtypes = [wintypes.HANDLE]
user32.GetDC.argtypes, user32.GetDC.restype = [wintypes.HWND], wintypes.HANDLE
user32.ReleaseDC.argtypes = [wintypes.HWND, wintypes.HANDLE]
user32.FillRect.argtypes = [wintypes.HANDLE, ctypes.POINTER(wintypes.RECT), wintypes.HANDLE]


def paint(rgb: int, place: tuple[int, int, int, int] = (0, 0, 10, 10)) -> None:
    """Fill a rectangle (left, top, right, bottom) with a colour, 0xRRGGBB; done when this returns."""
    red, green, blue = rgb >> 16 & 255, rgb >> 8 & 255, rgb & 255
    brush = _gdi32.CreateSolidBrush(blue << 16 | green << 8 | red)
    dc = user32.GetDC(None)
    user32.FillRect(dc, ctypes.byref(wintypes.RECT(*place)), brush)
    _gdi32.GdiFlush()
    user32.ReleaseDC(None, dc)
    _gdi32.DeleteObject(brush)
