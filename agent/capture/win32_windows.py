"""The windows of an app on a Windows desktop, by the process that made each, and what is done with them.

Source: Windows SDK winuser.h, dwmapi.h.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Collection
from ctypes import wintypes
from dataclasses import dataclass
from typing import Final

from agent.capture.base import NOWHERE, Box

if sys.platform != "win32":
    raise ImportError("agent.capture.win32_windows is for Windows")

from agent.win32 import free_pointer, user32

_dwmapi: Final = ctypes.WinDLL("dwmapi")
_EXTENDED_FRAME_BOUNDS, _CLOAKED = 9, 14
"""DWMWINDOWATTRIBUTE."""
_GW_OWNER, _GWL_EXSTYLE, _WS_EX_TOOLWINDOW = 4, -20, 0x80
_SW_RESTORE: Final = 9
_WM_NULL, _SMTO_ABORTIFHUNG = 0, 0x2
ANSWER_LIMIT_MS: Final = 100
"""A program that draws takes no longer to say that it lives."""
_BUTTONS: Final = (0x1, 0x2, 0x4, 0x5, 0x6)
"""Virtual keys of the mouse's five."""

_EachWindow: Final = ctypes.WINFUNCTYPE(wintypes.BOOL, wintypes.HWND, wintypes.LPARAM)
user32.EnumWindows.argtypes = [_EachWindow, wintypes.LPARAM]
for _name in ("IsWindowVisible", "IsIconic", "SetForegroundWindow", "BringWindowToTop"):
    getattr(user32, _name).argtypes = [wintypes.HWND]
user32.GetForegroundWindow.restype = wintypes.HWND
user32.GetWindow.argtypes, user32.GetWindow.restype = [wintypes.HWND, wintypes.UINT], wintypes.HWND
user32.GetWindowLongW.argtypes = [wintypes.HWND, ctypes.c_int]
user32.GetWindowThreadProcessId.argtypes = [wintypes.HWND, ctypes.POINTER(wintypes.DWORD)]
user32.GetWindowRect.argtypes = [wintypes.HWND, ctypes.POINTER(wintypes.RECT)]
user32.ShowWindowAsync.argtypes = [wintypes.HWND, ctypes.c_int]
user32.SendMessageTimeoutW.argtypes = [
    wintypes.HWND, wintypes.UINT, wintypes.WPARAM, wintypes.LPARAM, wintypes.UINT, wintypes.UINT,
    ctypes.c_void_p,
]  # fmt: skip
user32.GetAsyncKeyState.restype = ctypes.c_short
user32.ClipCursor.argtypes = user32.GetClipCursor.argtypes = [ctypes.POINTER(wintypes.RECT)]
user32.mouse_event.argtypes = [*[wintypes.DWORD] * 4, ctypes.c_void_p]
user32.mouse_event.restype = None
_dwmapi.DwmGetWindowAttribute.argtypes = [
    wintypes.HWND, wintypes.DWORD, ctypes.c_void_p, wintypes.DWORD,
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Window:
    """A window that can be seen, or could, were it not minimised."""

    handle: int
    area: Box
    """What is seen of it, with its title, on the virtual desktop."""
    frame: Box
    """The same with the borders that Windows keeps around it to be grasped, and does not draw."""
    popup: bool
    """It belongs to another window that is seen, or to no list of windows: a menu, a dialogue, a tool tip."""
    minimised: bool


def windows_of(processes: Collection[int]) -> list[Window]:
    """What these processes show, the lowest window first."""
    found: list[Window] = []

    def take(handle: int, _more: int) -> bool:
        if process_of(handle) in processes and (seen := _seen(handle)) is not None:
            found.append(seen)
        return True

    user32.EnumWindows(_EachWindow(take), 0)  # from the highest on
    return found[::-1]


def process_of(handle: int | None) -> int:
    """The process that made a window; 0: there is no such window."""
    process = wintypes.DWORD()
    user32.GetWindowThreadProcessId(handle, ctypes.byref(process))
    return process.value


def _seen(handle: int) -> Window | None:
    cloaked, bounds, frame = wintypes.DWORD(), wintypes.RECT(), wintypes.RECT()
    if not user32.IsWindowVisible(handle):
        return None
    _dwmapi.DwmGetWindowAttribute(handle, _CLOAKED, ctypes.byref(cloaked), 4)
    if cloaked.value or not user32.GetWindowRect(handle, ctypes.byref(frame)):
        return None
    size_bytes = ctypes.sizeof(bounds)
    if _dwmapi.DwmGetWindowAttribute(
        handle, _EXTENDED_FRAME_BOUNDS, ctypes.byref(bounds), size_bytes
    ):
        bounds = frame  # Wine does not say
    area, around = box_of(bounds), box_of(frame)
    minimised = bool(user32.IsIconic(handle))
    if area.empty and not minimised:
        return None
    owner = user32.GetWindow(handle, _GW_OWNER)
    tool = user32.GetWindowLongW(handle, _GWL_EXSTYLE) & _WS_EX_TOOLWINDOW
    popup = bool(tool) or bool(owner and user32.IsWindowVisible(owner))
    return Window(handle, area, around, popup, minimised)


def box_of(rectangle: wintypes.RECT) -> Box:
    """The same place."""
    return Box(rectangle.left, rectangle.top, rectangle.right, rectangle.bottom)


def foreground_process() -> int:
    """The process whose window has the keyboard; 0: none has."""
    return process_of(user32.GetForegroundWindow())


def activate(handle: int) -> None:
    """Raise a window and give it the keyboard, where Windows lets us: it does who made the last input."""
    user32.mouse_event(0, 0, 0, 0, None)  # nothing
    user32.BringWindowToTop(handle)
    user32.SetForegroundWindow(handle)


def restore(handle: int) -> None:
    """Ask a minimised window to come back."""
    user32.ShowWindowAsync(handle, _SW_RESTORE)


def answers(handle: int) -> bool:
    """Whether the window's program takes messages: calls that wait for it are made of such a one only."""
    return bool(
        user32.SendMessageTimeoutW(handle, _WM_NULL, 0, 0, _SMTO_ABORTIFHUNG, ANSWER_LIMIT_MS, None)
    )


def button_held() -> bool:
    """Whether any button of the mouse is down, whoever pressed it."""
    return any(user32.GetAsyncKeyState(button) < 0 for button in _BUTTONS)


class Fence:
    """Keeps the pointer in an area (ClipCursor); a program's own, closer one is left alone."""

    def __init__(self) -> None:
        self._put = NOWHERE
        """What Windows made of it: what of it is on the desktop."""

    def put(self, area: Box) -> None:
        """Around this one from now on; Windows takes it away with each change of the window in front."""
        now = pointer_area()
        if now != self._put and now.within(area) == now:
            return
        rectangle = wintypes.RECT(area.left, area.top, area.right, area.bottom)
        user32.ClipCursor(ctypes.byref(rectangle))
        self._put = pointer_area()

    def close(self) -> None:
        """Let the pointer go, if it is this fence that holds it. Idempotent."""
        if not self._put.empty and pointer_area() == self._put:
            free_pointer()
        self._put = NOWHERE


def pointer_area() -> Box:
    """Where the pointer may be."""
    there = wintypes.RECT()
    user32.GetClipCursor(ctypes.byref(there))
    return box_of(there)
