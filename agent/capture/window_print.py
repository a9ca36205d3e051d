"""One window's own picture by GDI, whatever lies above it: by PrintWindow, or by its device context.

PrintWindow has what the window's program has drawn, with the graphics card, too; Wine's reaches windows of its own
process only.
"""

from __future__ import annotations

import sys
from ctypes import wintypes
from typing import Final

from agent.capture.base import Box

if sys.platform != "win32":
    raise ImportError("agent.capture.window_print is for Windows")

from agent.capture.gdi_surface import Screen, Surface
from agent.capture.win32_windows import Window, answers
from agent.win32 import user32

PW_RENDERFULLCONTENT: Final = 0x2
"""Since Windows 8.1: with what the graphics card draws."""
_MARK: Final = 0xA5
"""A picture that is this all over was not printed."""
user32.PrintWindow.argtypes = [wintypes.HWND, wintypes.HANDLE, wintypes.UINT]


class WindowPrint:
    """Prints one window, of one size, again and again. Raises OSError when Windows has no memory for it."""

    def __init__(self, screen: Screen, window: Window) -> None:
        self.window = window
        """Where it is now; whoever prints it says so. Another size needs another print."""
        size = (window.frame.width, window.frame.height)
        self._newest = Surface(screen, size)
        try:
            self._former = Surface(screen, size)
        except OSError:
            self._newest.close()
            raise
        self._prints = self._try(screen, size)

    def _try(self, screen: Screen, size: tuple[int, int]) -> bool:
        """Whether PrintWindow does it for this window."""
        if not answers(self.window.handle):
            return True
        self._former.fill(_MARK)
        untouched = Surface(screen, size)
        try:
            untouched.fill(_MARK)
            return self._print(self._former) and not self._former.equals(untouched)
        finally:
            untouched.close()

    def _print(self, surface: Surface) -> bool:
        return bool(user32.PrintWindow(self.window.handle, surface.dc, PW_RENDERFULLCONTENT))

    def take(self) -> bool:
        """Print it; whether it differs from before. One whose program hangs is as it was."""
        if self._prints:
            taken = answers(self.window.handle) and self._print(self._former)
        else:
            own = Screen(self.window.handle)
            taken = self._former.copy(own, (0, 0))
            own.close()
        if not taken or self._former.equals(self._newest):
            return False
        self._newest, self._former = self._former, self._newest
        return True

    def draw(self, surface: Surface, place: Box) -> None:
        """Draw what was taken last into the picture of a place of the desktop, where the window is in it."""
        area, frame = self.window.area.within(place), self.window.frame
        if not area.empty:
            corner = (area.left - frame.left, area.top - frame.top)
            surface.copy(self._newest, corner, area.moved(-place.left, -place.top))

    def close(self) -> None:
        """Give the memory back; once."""
        self._newest.close()
        self._former.close()
