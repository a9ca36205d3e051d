"""Capture of an app's window by GDI: where Windows.Graphics.Capture is not, or does not take this window.

Its pictures are printed at the frame rate and compared, as those of the screen are (agent/capture/gdi.py).
"""

from __future__ import annotations

import sys
from typing import ClassVar

from agent.capture.base import Box, CaptureUnavailable

if sys.platform != "win32":
    raise ImportError("agent.capture.gdi_window is for Windows")

from agent.capture.app_window import AppWindow
from agent.capture.gdi import GdiCapture
from agent.capture.gdi_surface import Surface
from agent.capture.window_print import WindowPrint


class GdiWindowCapture(GdiCapture):
    """The main window of an app, and what it pops up. Constructing it raises CaptureUnavailable in words."""

    name: ClassVar[str] = "gdi-window"

    def __init__(self, window: AppWindow, fps: int = 60) -> None:
        """`window` is closed with it, once it is made."""
        self._window = window
        self._print: WindowPrint | None = None
        super().__init__(fps)
        try:
            self._print = WindowPrint(self._ring.screen, window.main)
        except OSError as problem:
            super().close()
            words = f"Windows gives no memory for pictures: {problem}"
            raise CaptureUnavailable(words) from problem

    @property
    def place(self) -> Box:
        """See Capture.place."""
        return self._window.place

    def _choose(self) -> Box:
        self.scene = self._window.scene
        return self._window.main.area

    def _another(self) -> str | None:
        reason = self._window.look()
        self._place = self._window.main.area
        return reason or super()._another()

    def _copy(self, surface: Surface) -> bool:
        if self._print is None:
            return False
        self._print.window = self._window.main
        self._print.take()
        self._print.draw(surface, self._place)
        if self._window.has_popups:
            self._window.print_popups()
            self._window.draw_popups(surface)
        return True

    def close(self) -> None:
        """See GdiCapture.close."""
        super().close()
        self._window.close()
        taken, self._print = self._print, None
        if taken is not None:
            taken.close()
