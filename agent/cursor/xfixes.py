"""The cursor of an X11 display: XFixes says when its shape changes, XInput 2 when it moves."""

from __future__ import annotations

import time
from typing import Any, ClassVar, Final

import numpy as np
from Xlib import X, error
from Xlib.ext import xinput

from agent.cursor.base import FOLLOW_EVERY_S, Cursor, CursorUnavailable, Shape
from agent.probe import why_not
from agent.wake_pipe import WakePipe
from agent.x11 import close, connect, told_when_gone

_DISPLAY_CURSOR_NOTIFY_MASK: Final = 1
"""fixesproto 2, section 6.1."""
LOOK_EVERY_S: Final = 0.1
"""A program that moves the pointer itself makes no raw event: its place is looked at so often too."""


class XFixesCursor:
    """See `CursorSource`. A pointer that a program hides by XFixesHideCursor is not known to be hidden."""

    name: ClassVar[str] = "xfixes"

    def __init__(self, display_name: str | None = None) -> None:
        self._server = connect(CursorUnavailable, display_name, extension="XFIXES")
        self._waker = WakePipe()
        self._shape: Shape | None = None
        self._place = (0, 0)
        self._changed = True
        self._moved = False
        self._followed = False
        self._told_at = self._looked_at = -1.0
        try:
            with told_when_gone(CursorUnavailable):
                self._open()
        except CursorUnavailable:
            self.close()
            raise

    @staticmethod
    def probe() -> str | None:
        """None when the cursor of $DISPLAY can be read, else the reason in words."""
        return why_not(XFixesCursor, CursorUnavailable)

    def _open(self) -> None:
        server = self._server
        server.xfixes_query_version()
        self._root = server.screen().root
        self._root.change_attributes(event_mask=X.StructureNotifyMask)
        server.xfixes_select_cursor_input(self._root, _DISPLAY_CURSOR_NOTIFY_MASK)
        self._cursor_event = server.extension_event.DisplayCursorNotify
        self._has_input2 = bool(server.has_extension("XInputExtension"))
        if self._has_input2:
            xinput.query_version(server)
        geometry = self._root.get_geometry()
        self._screen = int(geometry.width), int(geometry.height)

    def next(self, timeout_s: float, *, follow: bool) -> Cursor | None:
        """See `CursorSource`."""
        deadline = time.monotonic() + timeout_s
        with told_when_gone(CursorUnavailable):
            self._watch_motion(follow)
            while True:
                self._read_events()
                follow = follow and self._shape is not None
                now = time.monotonic()
                if self._changed:
                    return self._read_shape(now)
                looks = follow and now - self._looked_at >= LOOK_EVERY_S
                due = follow and self._moved and now - self._told_at >= FOLLOW_EVERY_S
                if looks or due:
                    if self._read_place(now):
                        return self._cursor()
                    continue  # the reply may have brought an event with it
                if now >= deadline or self._waker.wait(
                    self._server, self._waits_s(now, deadline, follow)
                ):
                    return None

    def wake(self) -> None:
        """See `CursorSource`."""
        self._waker.wake()

    def close(self) -> None:
        """See `CursorSource`."""
        if self._waker.close():
            close(self._server)

    def _watch_motion(self, wanted: bool) -> None:
        if wanted == self._followed:
            return
        self._followed = self._moved = wanted
        if self._has_input2:
            mask = xinput.RawMotionMask if wanted else 0
            xinput.select_events(self._root, [(xinput.AllMasterDevices, mask)])

    def _read_events(self) -> None:
        for _ in range(self._server.pending_events()):
            event = self._server.next_event()
            if event.type == X.ConfigureNotify and event.window == self._root:
                self._screen = event.width, event.height
                self._changed = True
            elif (event.type, getattr(event, "sub_code", None)) == self._cursor_event:
                self._changed = True
            elif self._followed:
                self._moved = True

    def _waits_s(self, now: float, deadline: float, follow: bool) -> float:
        ends = [deadline]
        if follow:
            ends.append(self._looked_at + LOOK_EVERY_S)
            if self._moved:
                ends.append(self._told_at + FOLLOW_EVERY_S)
        return max(0.0, min(ends) - now)

    def _read_shape(self, now: float) -> Cursor | None:
        self._changed = False
        try:
            image = self._server.xfixes_get_cursor_image(self._root)
        except error.BadCursor:
            return None  # the server shows none before its first client asks for one
        self._shape = _shape(image)
        self._place = image.x, image.y
        self._told_at = self._looked_at = now
        self._moved = False
        return self._cursor()

    def _read_place(self, now: float) -> bool:
        """Whether the pointer is elsewhere than last told."""
        pointer = self._root.query_pointer()
        place = int(pointer.root_x), int(pointer.root_y)
        self._looked_at = now
        self._moved = False
        moved, self._place = place != self._place, place
        if moved:
            self._told_at = now
        return moved

    def _cursor(self) -> Cursor:
        return Cursor(self._shape, *self._place, self._screen)


def _shape(image: Any) -> Shape | None:
    """Of a GetCursorImage reply, whose words are ARGB with the alpha multiplied in; None: nothing of it shows."""
    words = np.array(image.cursor_image, np.uint32).reshape(image.height, image.width)
    bgra = words.view(np.uint8).reshape(image.height, image.width, 4)
    alpha = bgra[..., 3:].astype(np.uint32)
    if not alpha.any():
        return None
    colour = bgra[..., 2::-1].astype(np.uint32)
    straight = np.minimum((colour * 255 + alpha // 2) // np.maximum(alpha, 1), 255)
    rgba = np.concatenate([straight, alpha], axis=2).astype(np.uint8)
    return Shape(image.width, image.height, image.xhot, image.yhot, rgba.tobytes())
