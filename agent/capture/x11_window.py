"""Capture of one app's windows on an X screen: the largest with what it pops up, whatever lies above or beside them.

XComposite keeps the window's own pixels in a pixmap, so that other windows do not show.
"""

from __future__ import annotations

import time
from typing import Any, ClassVar, Final

import numpy as np
from Xlib import X, error
from Xlib.ext import composite, damage

from agent.apps.group import members
from agent.capture import mit_shm, x11_monitors
from agent.capture.base import Box, CaptureUnavailable, Pixels, Scene
from agent.capture.main_window import FOCUS_EVERY_S, NO_WINDOW, main_of
from agent.capture.x11 import Drawn, X11Capture
from agent.capture.x11_windows import (
    Fence,
    Window,
    activate,
    process_of,
    windows_of,
)
from agent.x11 import connected

_WINDOW_EVENTS: Final = (X.MapNotify, X.UnmapNotify, X.DestroyNotify, X.ReparentNotify, X.FocusOut)


class X11WindowCapture(X11Capture):
    """The windows of one process group. Constructing it raises CaptureUnavailable while there is none.

    The main window is raised, gets the keyboard, and keeps the pointer in it.
    """

    name: ClassVar[str] = "x11-window"

    def __init__(self, group: int, fps: int = 60, display_name: str | None = None) -> None:
        self._group = group
        self._popups: list[Window] = []
        self._popped: list[Box] = []
        """Where popups are in pictures that were made, of the main window's corner."""
        self._damages: dict[int, Any] = {}
        self._fence: Fence | None = None
        self._focused_at = 0.0
        super().__init__(fps, display_name)

    @classmethod
    def open(cls, group: int, fps: int) -> X11WindowCapture:
        """Show the windows of this process group. Raises CaptureUnavailable while there are none."""
        return cls(group, fps)

    @staticmethod
    def find(group: int) -> bool:
        """Whether this process group shows a window; False too when nobody can be asked."""
        try:
            with connected(CaptureUnavailable) as server:
                return main_of(windows_of(server, members(group))) is not None
        except (CaptureUnavailable, error.XError):
            return False

    def _choose(self) -> Drawn:
        server = self._server
        if not (server.has_extension("Composite") and server.has_extension("XFIXES")):
            raise CaptureUnavailable("the X server lacks the Composite or the XFIXES extension")
        composite.query_version(server)
        windows = windows_of(server, members(self._group))
        main = main_of(windows)
        if main is None:
            raise CaptureUnavailable(NO_WINDOW)
        self.scene = Scene(x11_monitors.monitors(server))
        self._main, self.place = main, main.area
        mask = X.StructureNotifyMask | X.SubstructureNotifyMask
        self._root.change_attributes(event_mask=mask)
        main.window.change_attributes(event_mask=X.StructureNotifyMask | X.FocusChangeMask)
        try:
            composite.redirect_window(main.window, composite.RedirectAutomatic)
            pixmap = composite.name_window_pixmap(main.window)
            server.sync()
        except error.XError as problem:
            raise CaptureUnavailable(NO_WINDOW) from problem
        self._fence = Fence(server)
        self._fence.put(main.area)
        self._watch_popups(windows)
        activate(server, main.window)
        inside = Box(0, 0, main.area.width, main.area.height)
        return Drawn(main.window, pixmap, inside, (main.border, main.border))

    def _tells(self, event: Any) -> bool:
        return event.type in _WINDOW_EVENTS or super()._tells(event)

    def _another(self) -> str | None:
        try:
            windows = windows_of(self._server, members(self._group))
        except error.XError:
            return NO_WINDOW
        main = main_of(windows)
        if main is None:
            return NO_WINDOW
        was = self._main
        if main.window.id != was.window.id or main.border != was.border:
            return "the app has another window"
        if (main.area.width, main.area.height) != self.size:
            return "the window has another size"
        if x11_monitors.monitors(self._server) != self.scene.monitors:
            return "the monitors of the X screen have changed"
        if main.area != was.area and self._fence is not None:
            self._fence.put(main.area)
        self._main, self.place = main, main.area
        self._watch_popups(windows)
        self._keep_focus()
        self._changed = True
        return None

    def _watch_popups(self, windows: list[Window]) -> None:
        self._popups = [
            one
            for one in windows
            if one.window.id != self._main.window.id and not one.area.within(self.place).empty
        ]
        there = {one.window.id for one in self._popups}
        for gone in self._damages.keys() - there:
            del self._damages[gone]  # the server gave it up with the window
        for one in self._popups:
            if one.window.id not in self._damages:
                composite.redirect_window(one.window, composite.RedirectAutomatic)
                self._damages[one.window.id] = damage.damage_create(
                    one.window, damage.DamageReportNonEmpty
                )

    def _keep_focus(self) -> None:
        now = time.monotonic()
        if now - self._focused_at < FOCUS_EVERY_S:
            return
        self._focused_at = now
        focus = self._server.get_input_focus().focus
        try:
            holder = 0 if isinstance(focus, int) else process_of(self._server, focus)
        except error.XError:
            return
        if holder not in members(self._group):
            activate(self._server, self._main.window)

    def _take_damage(self, ahead: bytes) -> Box:
        for one in self._damages.values():
            damage.damage_subtract(self._server, one)
        changed = super()._take_damage(ahead)
        left, top = self.place.left, self.place.top
        now = [one.area.within(self.place).moved(-left, -top) for one in self._popups]
        for box in (*self._popped, *now):
            changed = changed.joined(box)
        self._popped = now
        return changed

    def _read_shared(self, segment: mit_shm.Segment, changed: Box) -> Pixels:
        pixels = super()._read_shared(segment, changed)
        self._draw_popups(pixels)
        for box in self._popped:
            segment.stale = segment.stale.joined(box)  # below it is something else
        return pixels

    def _read_over_connection(self) -> Pixels:
        pixels = super()._read_over_connection()
        self._draw_popups(pixels)
        return pixels

    def _draw_popups(self, pixels: Pixels) -> None:
        for one, box in zip(self._popups, self._popped, strict=True):
            at_x = box.left + self.place.left - one.area.left
            at_y = box.top + self.place.top - one.area.top
            try:
                image = one.window.get_image(
                    at_x, at_y, box.width, box.height, X.ZPixmap, 0xFFFFFFFF
                )
            except error.XError:
                continue  # it has just been closed
            shown = np.frombuffer(image.data, np.uint8).reshape(box.height, box.width, 4)
            pixels[box.top : box.bottom, box.left : box.right] = shown
