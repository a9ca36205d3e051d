"""Capture of an app's window by Windows.Graphics.Capture, and of what it pops up by GDI.

Not yet run on real Windows.
"""

from __future__ import annotations

import sys
from typing import ClassVar

from agent.capture.base import NOWHERE, Box

if sys.platform != "win32":
    raise ImportError("agent.capture.wgc_window is for Windows")

from agent.capture.app_window import AppWindow
from agent.capture.copied import CopiedCapture
from agent.capture.gdi_surface import Surface
from agent.capture.graphics_capture import Library
from agent.capture.wgc import WgcCapture, start


class WgcWindowCapture(WgcCapture):
    """The main window of an app, and what it pops up. Constructing it raises CaptureUnavailable in words."""

    name: ClassVar[str] = "wgc-window"

    def __init__(self, window: AppWindow, fps: int = 60, *, library: Library | None = None) -> None:
        """`window` is closed with it, once it is made."""
        self._window = window
        pictures = start(library, "window", window.main.handle)
        self._begin(fps, pictures, window.scene, window.main.area)

    @property
    def place(self) -> Box:
        """See Capture.place."""
        return self._window.place

    def _listen(self, timeout_s: float) -> None:
        if not self._window.has_popups:
            super()._listen(timeout_s)
            return
        super()._listen(min(timeout_s, self._interval_s))
        self._take_note(self._window.print_popups())  # nobody tells of them

    def _another(self) -> str | None:
        reason = self._window.look()
        self._place = self._window.main.area
        # Not WgcCapture's: while the window is dragged by an edge, its other size waits.
        return reason or CopiedCapture._another(self)

    def _draw_over(self, surface: Surface) -> Box:
        return self._window.draw_popups(surface) if self._window.has_popups else NOWHERE

    def close(self) -> None:
        """See CopiedCapture.close."""
        super().close()
        self._window.close()
