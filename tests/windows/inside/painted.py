"""Windows of plain colours; as a program they do as they are told, a line each on standard input.

`open NAME left top right bottom COLOUR`, `paint` (of the window's own corner), `place`, `minimise` and `close`; each is
answered by `done`. A name that begins with `menu` is a popup. Ends with its standard input. With the argument `app`
it is one green window instead, in which a click makes a blue square.
"""

from __future__ import annotations

import ctypes
import queue
import sys
import threading
import time
from ctypes import wintypes
from typing import Any, ClassVar, Final

if sys.platform != "win32":
    raise ImportError("for Windows")

from agent.presence.windows_indicator import _Class, _Paint, _Procedure
from agent.presence.windows_loop import this_module
from agent.win32 import use_real_pixels, user32

WM_PAINT, WM_ERASEBKGND, WM_PRINTCLIENT, WM_LBUTTONDOWN = 0xF, 0x14, 0x318, 0x201
WS_POPUP, WS_VISIBLE, WS_EX_TOOLWINDOW, WS_EX_TOPMOST = 0x80000000, 0x10000000, 0x80, 0x8
SWP_NOZORDER, SW_MINIMIZE = 0x4, 6
GREEN, BLUE = 0x14A028, 0x1428C8
CLASS: Final = "TightbeamPainted"
Place = tuple[int, int, int, int]
"""Left, top, right and bottom."""

_gdi32 = ctypes.WinDLL("gdi32")
_gdi32.CreateSolidBrush.restype = wintypes.HANDLE
_gdi32.DeleteObject.argtypes = [wintypes.HANDLE]
for _name in ("DestroyWindow", "UpdateWindow"):
    getattr(user32, _name).argtypes = [wintypes.HWND]
user32.InvalidateRect.argtypes = [wintypes.HWND, ctypes.c_void_p, wintypes.BOOL]
user32.ShowWindow.argtypes = [wintypes.HWND, ctypes.c_int]
user32.FillRect.argtypes = [wintypes.HANDLE, ctypes.POINTER(wintypes.RECT), wintypes.HANDLE]
user32.SetWindowPos.argtypes = [wintypes.HWND, wintypes.HWND, *[ctypes.c_int] * 4, wintypes.UINT]
user32.PeekMessageW.argtypes = [
    ctypes.POINTER(wintypes.MSG), wintypes.HWND, wintypes.UINT, wintypes.UINT, wintypes.UINT,
]  # fmt: skip


class Painted:
    """One window of this thread; `pump` from time to time."""

    here: ClassVar[dict[int, Painted]] = {}
    """All that are open, by their handles."""

    def __init__(self, place: Place, rgb: int, *, popup: bool = False) -> None:
        self._rectangles = [((0, 0, 1 << 14, 1 << 14), rgb)]
        left, top, right, bottom = place
        style = WS_EX_TOOLWINDOW | WS_EX_TOPMOST if popup else 0
        self.handle = int(
            user32.CreateWindowExW(
                style, CLASS, "Painted", WS_POPUP, left, top, right - left, bottom - top, None,
                None, _class.hInstance, None,
            )
        )  # fmt: skip
        Painted.here[self.handle] = self
        user32.ShowWindow(self.handle, 4 if popup else 5)  # SW_SHOWNOACTIVATE, SW_SHOW
        user32.UpdateWindow(self.handle)

    def paint(self, place: Place, rgb: int) -> None:
        """Fill a part with a colour, 0xRRGGBB."""
        self._rectangles.append((place, rgb))
        user32.InvalidateRect(self.handle, None, False)
        user32.UpdateWindow(self.handle)

    def place(self, place: Place) -> None:
        """Put it elsewhere, in another size."""
        left, top, right, bottom = place
        user32.SetWindowPos(self.handle, None, left, top, right - left, bottom - top, SWP_NOZORDER)

    def minimise(self) -> None:
        user32.ShowWindow(self.handle, SW_MINIMIZE)

    def close(self) -> None:
        user32.DestroyWindow(self.handle)
        Painted.here.pop(self.handle, None)

    def draw(self, dc: int) -> None:
        for place, rgb in self._rectangles:
            red, green, blue = rgb >> 16 & 255, rgb >> 8 & 255, rgb & 255
            brush = _gdi32.CreateSolidBrush(blue << 16 | green << 8 | red)
            user32.FillRect(dc, ctypes.byref(wintypes.RECT(*place)), brush)
            _gdi32.DeleteObject(brush)


def pump() -> None:
    """Do what Windows wants of this thread's windows now."""
    message = wintypes.MSG()
    while user32.PeekMessageW(ctypes.byref(message), None, 0, 0, 1):
        user32.DispatchMessageW(ctypes.byref(message))


def _handle(handle: int, message: int, more: Any, other: Any) -> int:
    window = Painted.here.get(handle)
    if window is not None and message == WM_PAINT:
        paint = _Paint()
        window.draw(user32.BeginPaint(handle, ctypes.byref(paint)))
        user32.EndPaint(handle, ctypes.byref(paint))
        return 0
    if window is not None and message == WM_PRINTCLIENT:
        window.draw(more)
        return 0
    if message == WM_ERASEBKGND:
        return 1
    if window is not None and message == WM_LBUTTONDOWN:
        x, y = other & 0xFFFF, other >> 16 & 0xFFFF
        window.paint((x - 20, y - 20, x + 20, y + 20), BLUE)
    return int(user32.DefWindowProcW(handle, message, more, other))


_procedure: Final = _Procedure(_handle)
_class: Final = _Class(lpfnWndProc=_procedure, hInstance=this_module(), lpszClassName=CLASS)
user32.RegisterClassW(ctypes.byref(_class))


def _obey(windows: dict[str, Painted], line: str) -> None:
    what, name, *words = line.split()
    numbers = [int(word, 0) for word in words]
    place = (numbers[0], numbers[1], numbers[2], numbers[3]) if numbers else (0, 0, 0, 0)
    match what:
        case "open":
            windows[name] = Painted(place, numbers[4], popup=name.startswith("menu"))
        case "paint":
            windows[name].paint(place, numbers[4])
        case "place":
            windows[name].place(place)
        case "minimise":
            windows[name].minimise()
        case _:
            windows.pop(name).close()


def app() -> None:
    Painted((300, 120, 700, 420), GREEN)
    while True:
        pump()
        time.sleep(0.01)


def main() -> None:
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        lines.put("")

    threading.Thread(target=read, daemon=True).start()
    windows: dict[str, Painted] = {}
    while True:
        pump()
        try:
            line = lines.get(timeout=0.01)
        except queue.Empty:
            continue
        if not line:
            return
        _obey(windows, line)
        print("done", flush=True)


if __name__ == "__main__":
    use_real_pixels()
    app() if sys.argv[1:] == ["app"] else main()
