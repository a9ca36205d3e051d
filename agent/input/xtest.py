"""Injects input into an X server by the XTEST extension: the last step of a key press on Linux.

Source: XTEST Extension Protocol 2.2. One connection of its own; once it is open no call but `sync`
waits for the server, so a busy one delays nothing here. What the socket does not take waits in
`data_send` of python-xlib 0.33.
"""

from __future__ import annotations

import select
import time
from typing import Any, ClassVar, Final

from Xlib import X, Xatom
from Xlib.protocol import event as xevent

from agent.capture.base import Box
from agent.input.base import InputUnavailable, pixel_of
from agent.input.keymap import x_keycode
from agent.input.spare_keys import SpareKeys, keysym_of
from agent.probe import why_not
from agent.x11 import close, connect, told_when_gone

X_BUTTONS: Final = (1, 2, 3, 8, 9)
"""X buttons of W3C MouseEvent.button 0..4: 4 to 7 are the wheel."""
WHEEL_UP, WHEEL_DOWN, WHEEL_LEFT, WHEEL_RIGHT = 4, 5, 6, 7
NOTCH: Final = 120
MAX_WAITING_BYTES: Final = 256 * 1024
"""What may wait for a server that does not read; XTEST requests have 36 bytes."""


def _open() -> Any:
    return connect(InputUnavailable, extension="XTEST")


class XTestInjector:
    """Keyboard and mouse of one X server."""

    name: ClassVar[str] = "xtest"

    def __init__(self) -> None:
        self.area: Box | None = None
        self._display: Any = _open()
        # A blocking one that has room for one byte waits until the server has read all the rest.
        self._display.display.socket.setblocking(False)
        with told_when_gone(InputUnavailable):
            # Without this a client that grabs the server (a window manager moving a window) would
            # hold the release of the very button that it waits for.
            self._display.xtest_grab_control(True)
            self._display.flush()
            self._root: Any = self._display.screen().root
            self._size = self._screen_size()
            self._root.change_attributes(event_mask=X.StructureNotifyMask)
            # Nobody sees this window; what we send to it comes back behind all calls made before.
            self._echoes: Any = self._root.create_window(0, 0, 1, 1, 0, 0, X.InputOnly)
            self._spare = self._spare_keys()
        self._made = 0
        self._asked = 0
        self._echoed = 0
        self._turned_x = 0
        self._turned_y = 0

    @staticmethod
    def probe() -> str | None:
        """Why it cannot be used here, in words, or None."""
        return why_not(_open, InputUnavailable)

    def key(self, usage: int, *, down: bool) -> None:
        keycode = x_keycode(usage)
        if keycode is not None:
            self._fake(X.KeyPress if down else X.KeyRelease, keycode)

    def button(self, button: int, *, down: bool) -> None:
        if 0 <= button < len(X_BUTTONS):
            self._fake(X.ButtonPress if down else X.ButtonRelease, X_BUTTONS[button])

    def move(self, x: float, y: float) -> None:
        self._hear()  # the size of the screen may have changed
        area = self.area or Box(0, 0, *self._size)
        left, top = pixel_of(x, area.width), pixel_of(y, area.height)
        self._fake(X.MotionNotify, 0, area.left + left, area.top + top)

    def move_by(self, dx: int, dy: int) -> None:
        # XTEST's relative motion bypasses the pointer acceleration of the server.
        if dx and dy and self.area not in (None, Box(0, 0, *self._size)):
            # Out of a corner of a fence (agent/capture/x11_windows.py) the server lets a slanted step through.
            self._fake(X.MotionNotify, 1, dx, 0)
            dx = 0
        self._fake(X.MotionNotify, 1, dx, dy)

    def wheel(self, dx: int, dy: int) -> None:
        self._turned_x = self._turn(self._turned_x + dx, WHEEL_RIGHT, WHEEL_LEFT)
        self._turned_y = self._turn(self._turned_y + dy, WHEEL_DOWN, WHEEL_UP)

    def text(self, text: str) -> None:
        """Each character gets a key that the keyboard does not have."""
        for keysym in map(keysym_of, text):
            keycode = self._spare.key_of(keysym)
            if keycode is None:
                return
            self._map(keycode, keysym)  # also if it had it: a layout loaded meanwhile took it away
            self._tap(X.KeyPress, X.KeyRelease, keycode)

    def sync(self, timeout_s: float = 0.0) -> bool:
        """See Injector.sync; raises InputUnavailable when the server is gone."""
        display = self._display
        if display is None:
            raise InputUnavailable("the injector is closed")
        deadline = time.monotonic() + timeout_s
        with told_when_gone(InputUnavailable):
            if self._asked != self._made:
                self._asked = self._made
                numbers = (32, [self._asked, 0, 0, 0, 0])
                self._echoes.send_event(
                    xevent.ClientMessage(
                        window=self._echoes, client_type=Xatom.INTEGER, data=numbers
                    )
                )
            while True:
                display.flush()  # sends what the socket takes and keeps the rest; never waits
                self._hear()
                if self._echoed == self._made:
                    return True
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    return False
                unsent = [display] if display.display.data_send else []
                select.select([display], unsent, [], left_s)

    def close(self) -> None:
        display, self._display = self._display, None
        if display is not None:
            close(display)

    def _turn(self, turned: int, forward: int, backward: int) -> int:
        """Click whole notches and return the rest."""
        button = forward if turned > 0 else backward
        notches, rest = divmod(abs(turned), NOTCH)
        for _ in range(notches):
            self._tap(X.ButtonPress, X.ButtonRelease, button)
        return rest if turned > 0 else -rest

    def _tap(self, press: int, release: int, detail: int) -> None:
        """Both at once: the way to the server may end after each flush, and it would stay pressed."""
        self._send((press, detail, 0, 0), (release, detail, 0, 0))

    def _fake(self, kind: int, detail: int, x: int = 0, y: int = 0) -> None:
        self._send((kind, detail, x, y))

    def _send(self, *events: tuple[int, int, int, int]) -> None:
        """Make events in one flush: each is a kind, a detail, x and y."""
        display = self._display
        if display is None:
            raise InputUnavailable("the injector is closed")
        with told_when_gone(InputUnavailable):
            for kind, detail, x, y in events:
                self._made = (self._made + 1) & 0xFFFF_FFFF
                display.xtest_fake_input(kind, detail, x=x, y=y)
            display.flush()
        if len(display.display.data_send) > MAX_WAITING_BYTES:
            raise InputUnavailable("the X server does not take input any more")

    def _spare_keys(self) -> SpareKeys:
        info = self._display.display.info
        first, count = info.min_keycode, info.max_keycode - info.min_keycode + 1
        rows = self._display.get_keyboard_mapping(first, count)
        self._columns = len(rows[0])
        return SpareKeys({first + at: tuple(row) for at, row in enumerate(rows)})

    def _map(self, keycode: int, keysym: int) -> None:
        """The same in every column: whatever modifiers and layouts are on, it is this character."""
        if self._display is None:
            raise InputUnavailable("the injector is closed")
        with told_when_gone(InputUnavailable):
            self._display.change_keyboard_mapping(keycode, [(keysym,) * self._columns])

    def _screen_size(self) -> tuple[int, int]:
        geometry = self._root.get_geometry()
        return geometry.width, geometry.height

    def _hear(self) -> None:
        """Take what the server has said; does not wait."""
        display = self._display
        if display is None:
            return
        with told_when_gone(InputUnavailable):
            while display.pending_events():
                event = display.next_event()
                if event.type == X.ClientMessage and event.window.id == self._echoes.id:
                    self._echoed = event.data[1][0]
                elif event.type == X.ConfigureNotify and event.window.id == self._root.id:
                    self._size = (event.width, event.height)
