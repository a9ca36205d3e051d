"""Shows an app's window on Windows by the best backend that takes it."""

from __future__ import annotations

import logging
import sys
from typing import Final

from agent.capture.base import Capture, CaptureUnavailable

if sys.platform != "win32":
    raise ImportError("agent.capture.app_windows is for Windows")

from agent.capture.app_window import AppWindow, find
from agent.capture.gdi_window import GdiWindowCapture
from agent.capture.wgc_window import WgcWindowCapture

logger: Final = logging.getLogger(__name__)


class AppWindows:
    """The two backends as one; an app goes by its first process."""

    @staticmethod
    def find(group: int) -> bool:
        """Whether it shows a window; a minimised one is asked to come back."""
        return find(group)

    @staticmethod
    def open(group: int, fps: int) -> Capture:
        """Open what it shows. Raises CaptureUnavailable while it has no window."""
        window = AppWindow(group)
        try:
            return _open(window, fps)
        except BaseException:
            window.close()
            raise


def _open(window: AppWindow, fps: int) -> Capture:
    try:
        return WgcWindowCapture(window, fps)
    except CaptureUnavailable as problem:
        logger.info("gdi-window shows the window: %s", problem)
        return GdiWindowCapture(window, fps)
