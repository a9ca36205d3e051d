"""The window of an app on Windows while it is shown: found by its processes, raised, and the pointer kept in it.

Whatever captures it (agent/capture/wgc_window.py, gdi_window.py) asks `look` whether it is still the same.
"""

from __future__ import annotations

import sys
import time
from typing import Final

from agent.capture.base import NOWHERE, Box, CaptureUnavailable, Scene
from agent.capture.main_window import FOCUS_EVERY_S, NO_WINDOW, main_of

if sys.platform != "win32":
    raise ImportError("agent.capture.app_window is for Windows")

from agent.apps.tree import members
from agent.capture.gdi import monitors
from agent.capture.gdi_surface import Screen, Surface
from agent.capture.win32_windows import (
    Fence,
    Window,
    activate,
    button_held,
    foreground_process,
    restore,
    windows_of,
)
from agent.capture.window_print import WindowPrint
from agent.win32 import follow_input_desktop, use_real_pixels

LOOK_S: Final = 0.1
"""How often it is seen where the windows are: nobody tells without a message loop of ours."""
PROCESSES_EVERY_S: Final = 1.0
"""All processes of the machine are gone through for the app's; that takes some ms."""


def find(leader: int) -> bool:
    """Whether the app with this first process shows a window; a minimised one is asked to come back."""
    use_real_pixels()
    main = main_of([one for one in windows_of(members(leader)) if not one.minimised])
    if main is None:
        for one in windows_of(members(leader)):
            if one.minimised and not one.popup:
                restore(one.handle)
    return main is not None


class AppWindow:
    """The app's main window, and what it pops up. Used by one thread."""

    def __init__(self, leader: int) -> None:
        """Raises CaptureUnavailable when there is none."""
        use_real_pixels()
        follow_input_desktop()
        self._leader = leader
        self._processes = members(leader)
        self._listed_at = self._looked_at = time.monotonic()
        self._focused_at = float("-inf")
        self.scene = Scene(monitors())
        main = self._see()
        if main is None:
            raise CaptureUnavailable(NO_WINDOW)
        self.main, self._sizes = main, _sizes(main)
        self.place = main.area
        """Of the desktop, what the picture shows for whoever points at it: while a button is held it stays, or a
        window that is dragged by its title would run away from the pointer that its picture moves."""
        self._screen = Screen()
        self._popups: list[WindowPrint] = []
        self._drawn: list[Box] = []
        """Where popups are in the pictures that were made, of the main window's corner."""
        self._fence = Fence()
        activate(main.handle)
        self._fence.put(main.area)

    def _see(self) -> Window | None:
        """The main window now; `_above` is what of the app lies over it."""
        windows = [one for one in windows_of(self._processes) if not one.minimised]
        main = main_of(windows)
        self._above: list[Window] = []
        if main is not None:
            over = windows[windows.index(main) + 1 :]
            self._above = [one for one in over if not one.area.within(main.area).empty]
        return main

    def look(self) -> str | None:
        """Why it is another source now, in words, or None. Call it often."""
        now = time.monotonic()
        if now < self._looked_at + LOOK_S:
            return None
        self._looked_at = now
        if now >= self._listed_at + PROCESSES_EVERY_S:
            self._listed_at, self._processes = now, members(self._leader)
        main = self._see()
        if main is None:
            return NO_WINDOW
        if main.handle != self.main.handle:
            return "the app has another window"
        self.main = main
        if not button_held():
            if _sizes(main) != self._sizes:
                return "the window has another size"
            self.place = main.area
            self._keep_focus(now)
            self._fence.put(main.area)
        return None

    def _keep_focus(self, now: float) -> None:
        if now < self._focused_at + FOCUS_EVERY_S:
            return
        self._focused_at = now
        if foreground_process() not in self._processes:
            activate(self.main.handle)

    @property
    def has_popups(self) -> bool:
        """Whether there are any, or were in the last picture."""
        return bool(self._above or self._drawn)

    def print_popups(self) -> Box:
        """Print what is popped up; where the picture of the main window changes by it."""
        there = {one.handle: one for one in self._above}
        kept: list[WindowPrint] = []
        changed = NOWHERE
        for one in self._popups:
            now = there.get(one.window.handle)
            if now is None or _size(now.frame) != _size(one.window.frame):
                one.close()
            else:
                kept.append(one)
        known = {one.window.handle: one for one in kept}
        self._popups = []
        for handle, window in there.items():  # in their order, which may have changed
            one = known.get(handle) or WindowPrint(self._screen, window)
            moved, one.window = one.window != window or handle not in known, window
            self._popups.append(one)
            if one.take() or moved:
                changed = changed.joined(self._inside(window))
        now_drawn = [self._inside(one) for one in self._above]
        if now_drawn != self._drawn:
            for box in self._drawn:
                changed = changed.joined(box)
        self._drawn = now_drawn
        return changed

    def draw_popups(self, surface: Surface) -> Box:
        """Draw what was printed over the main window's picture; where that was."""
        over = NOWHERE
        for one in self._popups:
            one.draw(surface, self.main.area)
            over = over.joined(self._inside(one.window))
        return over

    def _inside(self, window: Window) -> Box:
        """Where it is in the main window's picture."""
        corner = self.main.area
        return window.area.within(corner).moved(-corner.left, -corner.top)

    def close(self) -> None:
        """Let the pointer go, and what was printed. Idempotent."""
        self._fence.close()
        while self._popups:
            self._popups.pop().close()
        self._screen.close()


def _size(area: Box) -> tuple[int, int]:
    return area.width, area.height


def _sizes(window: Window) -> tuple[tuple[int, int], tuple[int, int]]:
    return _size(window.area), _size(window.frame)
