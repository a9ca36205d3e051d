"""Capture of one monitor by Windows.Graphics.Capture: what is left where a monitor cannot be duplicated.

A turned monitor, or one on a notebook's other graphics card. Windows composes the picture for it, and says when.
Not yet run on real Windows.
"""

from __future__ import annotations

import sys
from typing import ClassVar, Final

from agent.capture.base import EVERY_MONITOR, Box, CaptureUnavailable, Scene

if sys.platform != "win32":
    raise ImportError("agent.capture.wgc is for Windows")

from agent.capture.copied import CopiedCapture, Refusals, begun
from agent.capture.gdi import monitor_wanted
from agent.capture.graphics_capture import GraphicsCapture, Kind, Library
from agent.probe import why_not
from agent.win32 import follow_input_desktop, monitor_at, use_real_pixels
from agent.win32_gdi import pointer

REFUSALS: Final = Refusals(
    "Windows.Graphics.Capture does not work",
    "this Windows has no Windows.Graphics.Capture (Wine has not)",
    passing={
        0x80070005: "Windows does not let it now: the lock screen, or a policy",  # E_ACCESSDENIED
        0x887A0005: "the graphics card was taken out, or its driver updated",  # DEVICE_REMOVED
        0x887A0007: "the graphics card's driver broke down",  # DEVICE_RESET
    },
    lasting={
        0x80040154: "this Windows does not have it (Wine does not)",  # REGDB_E_CLASSNOTREG
        0x80004002: "it needs Windows 10 1903 or newer",  # E_NOINTERFACE
        0x80070424: "Windows does it for a user who is signed in only, not for a service or at the sign-in"
        " screen",  # ERROR_SERVICE_DOES_NOT_EXIST: its CaptureService is the user's
        0x80070057: "Windows does not do it for this window, or this desktop",  # E_INVALIDARG
        0x887A0004: "there is no graphics card that does it",  # DXGI_ERROR_UNSUPPORTED
    },
)


class WgcCapture(CopiedCapture):
    """One monitor. Constructing it raises CaptureUnavailable in words, as NotNow where that will end."""

    name: ClassVar[str] = "wgc"
    refusals: ClassVar[Refusals] = REFUSALS
    _pictures: GraphicsCapture

    def __init__(
        self, fps: int = 60, *, monitor: str | None = None, library: Library | None = None
    ) -> None:
        use_real_pixels()
        follow_input_desktop()
        scene, place = monitor_wanted(monitor)
        if scene.shown == EVERY_MONITOR:
            raise CaptureUnavailable("Windows.Graphics.Capture is of one monitor, not of all")
        self._begin(fps, start(library, "monitor", monitor_at(place.left, place.top)), scene, place)

    def _begin(self, fps: int, pictures: GraphicsCapture, scene: Scene, place: Box) -> None:
        super().__init__(fps, pictures, scene, place)
        self._interval_s = 1 / fps
        self._pointer: tuple[int, int, int] | None = None

    @classmethod
    def probe(cls) -> str | None:
        """None when the primary monitor can be captured now, else why not in words."""
        return why_not(cls, CaptureUnavailable)

    def _listen(self, timeout_s: float) -> None:
        if not self._drawn:
            super()._listen(timeout_s)
            return
        super()._listen(min(timeout_s, self._interval_s))
        there = pointer()  # nobody tells that it moved
        now = (
            None
            if there is None or not there.shown
            else (there.hCursor, there.ptScreenPos.x, there.ptScreenPos.y)
        )
        if now != self._pointer:
            self._pointer = now
            self._take_note(self._everything)

    def _another(self) -> str | None:
        if self._pictures.content_size != self.size:
            return "its size has changed"
        return super()._another()


def start(library: Library | None, kind: Kind, handle: int) -> GraphicsCapture:
    """A capture whose first picture is there. Raises CaptureUnavailable."""
    return begun(
        lambda: GraphicsCapture(library or Library.of_windows(), kind, handle),
        REFUSALS,
        f"the {kind} gives no picture: is it asleep, or minimised?",
    )
