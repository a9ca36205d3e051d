"""The indicator on Windows: a small topmost window that no click reaches and no capture shows."""

from __future__ import annotations

import ctypes
import sys
from ctypes import wintypes
from typing import ClassVar, Final

from agent.presence.base import PresenceUnavailable

if sys.platform != "win32":
    raise ImportError("agent.presence.windows_indicator is for Windows")

from agent.presence.windows_loop import WM_APP, MessageLoop, this_module
from agent.win32 import last_error, primary_size, use_real_pixels, user32
from agent.win32_gdi import gdi32

CLASS: Final = "TightbeamIndicator"
WS_POPUP: Final = 0x80000000
WS_EX_TOPMOST, WS_EX_TRANSPARENT, WS_EX_TOOLWINDOW = 0x8, 0x20, 0x80
WS_EX_LAYERED, WS_EX_NOACTIVATE = 0x80000, 0x8000000
LWA_ALPHA, ALPHA = 0x2, 230
WDA_EXCLUDEFROMCAPTURE: Final = 0x11
"""Since Windows 10 2004; before, and under Wine, the call fails and the captured picture has it too."""
WM_PAINT: Final = 0x000F
WM_SHOW: Final = WM_APP + 1
SW_HIDE, SW_SHOWNOACTIVATE = 0, 4
HWND_TOPMOST, SWP_NOACTIVATE = -1, 0x10
DT_CENTERED, DT_CALCRECT = 0x25, 0x400  # DT_CENTER | DT_VCENTER | DT_SINGLELINE
TRANSPARENT: Final = 1
BACKGROUND, FOREGROUND = 0x242120, 0xFFFFFF  # 0xBBGGRR
PADDING_PX: Final = 8
DEFAULT_GUI_FONT: Final = 17

_Procedure = ctypes.WINFUNCTYPE(
    ctypes.c_ssize_t, wintypes.HWND, wintypes.UINT, wintypes.WPARAM, wintypes.LPARAM
)


class _Class(ctypes.Structure):
    """WNDCLASSW."""

    _fields_ = (
        ("style", wintypes.UINT),
        ("lpfnWndProc", _Procedure),
        ("cbClsExtra", ctypes.c_int),
        ("cbWndExtra", ctypes.c_int),
        ("hInstance", wintypes.HINSTANCE),
        ("hIcon", wintypes.HANDLE),
        ("hCursor", wintypes.HANDLE),
        ("hbrBackground", wintypes.HANDLE),
        ("lpszMenuName", wintypes.LPCWSTR),
        ("lpszClassName", wintypes.LPCWSTR),
    )


class _Paint(ctypes.Structure):
    """PAINTSTRUCT."""

    _fields_ = (
        ("hdc", wintypes.HDC),
        ("fErase", wintypes.BOOL),
        ("rcPaint", wintypes.RECT),
        ("fRestore", wintypes.BOOL),
        ("fIncUpdate", wintypes.BOOL),
        ("rgbReserved", ctypes.c_byte * 32),
    )


user32.DefWindowProcW.argtypes = [
    wintypes.HWND,
    wintypes.UINT,
    wintypes.WPARAM,
    wintypes.LPARAM,
]
user32.DefWindowProcW.restype = ctypes.c_ssize_t
user32.PostMessageW.argtypes = user32.DefWindowProcW.argtypes
user32.ShowWindow.argtypes = [wintypes.HWND, ctypes.c_int]
user32.InvalidateRect.argtypes = [wintypes.HWND, ctypes.c_void_p, wintypes.BOOL]
user32.SetWindowPos.argtypes = [
    wintypes.HWND, wintypes.HWND, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int, wintypes.UINT,
]  # fmt: skip
user32.SetLayeredWindowAttributes.argtypes = [
    wintypes.HWND,
    wintypes.DWORD,
    wintypes.BYTE,
    wintypes.DWORD,
]
user32.SetWindowDisplayAffinity.argtypes = [wintypes.HWND, wintypes.DWORD]
user32.BeginPaint.argtypes = user32.EndPaint.argtypes = [wintypes.HWND, ctypes.c_void_p]
user32.BeginPaint.restype = wintypes.HDC
user32.DrawTextW.argtypes = [
    wintypes.HDC,
    wintypes.LPCWSTR,
    ctypes.c_int,
    ctypes.c_void_p,
    wintypes.UINT,
]
user32.GetClientRect.argtypes = [wintypes.HWND, ctypes.c_void_p]
gdi32.CreateSolidBrush.argtypes = [wintypes.DWORD]
gdi32.CreateSolidBrush.restype = wintypes.HANDLE
gdi32.GetStockObject.restype = wintypes.HANDLE
gdi32.SetBkMode.argtypes = [wintypes.HDC, ctypes.c_int]
gdi32.SetTextColor.argtypes = [wintypes.HDC, wintypes.DWORD]


class WindowsIndicator:
    """See Indicator."""

    name: ClassVar[str] = "window"
    _procedure: ClassVar[object] = None
    """Of the class, which is registered once in a process."""
    _texts: ClassVar[dict[int, str]] = {}

    def __init__(self) -> None:
        use_real_pixels()
        self._loop = MessageLoop()
        self._text = ""
        self._register()
        style = (
            WS_EX_TOPMOST | WS_EX_TRANSPARENT | WS_EX_TOOLWINDOW | WS_EX_LAYERED | WS_EX_NOACTIVATE
        )
        self._window = user32.CreateWindowExW(
            style, CLASS, "Tightbeam", WS_POPUP, 0, 0, 1, 1, None, None, this_module(), None
        )
        if not self._window:
            raise PresenceUnavailable(f"Windows makes no window: {last_error()}")
        user32.SetLayeredWindowAttributes(self._window, 0, ALPHA, LWA_ALPHA)
        user32.SetWindowDisplayAffinity(self._window, WDA_EXCLUDEFROMCAPTURE)

    @staticmethod
    def probe() -> str | None:
        """It works on every desktop."""
        return None

    def show(self, text: str) -> None:
        """See Indicator.show."""
        self._texts[self._window] = text
        user32.PostMessageW(self._window, WM_SHOW, 0, 0)

    def serve(self) -> None:
        """See Part.serve."""
        try:
            self._loop.serve()
        finally:
            self._texts.pop(self._window, None)
            user32.DestroyWindow(self._window)

    def close(self) -> None:
        """See Part.close."""
        self._loop.close()

    @classmethod
    def _register(cls) -> None:
        if cls._procedure is not None:
            return
        cls._procedure = procedure = _Procedure(cls._message)
        brush = gdi32.CreateSolidBrush(BACKGROUND)
        made = _Class(0, procedure, 0, 0, this_module(), None, None, brush, None, CLASS)
        if not user32.RegisterClassW(ctypes.byref(made)):
            cls._procedure = None
            raise PresenceUnavailable(f"Windows makes no window: {last_error()}")

    @classmethod
    def _message(cls, window: int, kind: int, first: int, second: int) -> int:
        if kind == WM_SHOW:
            cls._place(window, cls._texts.get(window, ""))
            return 0
        if kind == WM_PAINT:
            cls._paint(window, cls._texts.get(window, ""))
            return 0
        return int(user32.DefWindowProcW(window, kind, first, second))

    @staticmethod
    def _place(window: int, text: str) -> None:
        """At the top of the primary monitor, in its middle; nowhere without a text."""
        if not text:
            user32.ShowWindow(window, SW_HIDE)
            return
        extent = wintypes.RECT()
        context = user32.GetDC(window)
        gdi32.SelectObject(context, gdi32.GetStockObject(DEFAULT_GUI_FONT))
        user32.DrawTextW(context, text, -1, ctypes.byref(extent), DT_CENTERED | DT_CALCRECT)
        user32.ReleaseDC(window, context)
        width = extent.right - extent.left + 4 * PADDING_PX
        height = extent.bottom - extent.top + PADDING_PX
        left = (primary_size()[0] - width) // 2
        user32.SetWindowPos(window, HWND_TOPMOST, left, 0, width, height, SWP_NOACTIVATE)
        user32.ShowWindow(window, SW_SHOWNOACTIVATE)
        user32.InvalidateRect(window, None, True)

    @staticmethod
    def _paint(window: int, text: str) -> None:
        paint, box = _Paint(), wintypes.RECT()
        context = user32.BeginPaint(window, ctypes.byref(paint))
        user32.GetClientRect(window, ctypes.byref(box))
        gdi32.SelectObject(context, gdi32.GetStockObject(DEFAULT_GUI_FONT))
        gdi32.SetBkMode(context, TRANSPARENT)
        gdi32.SetTextColor(context, FOREGROUND)
        user32.DrawTextW(context, text, -1, ctypes.byref(box), DT_CENTERED)
        user32.EndPaint(window, ctypes.byref(paint))
