"""The keyboard of a machine under test: presses keys on the X server's own device, as hands at the host do."""

from __future__ import annotations

from typing import Any

from Xlib import display as xdisplay
from Xlib.ext import xinput
from Xlib.protocol import rq

from agent.input.keymap import x_keycode

DEVICE_KEY_PRESS, DEVICE_KEY_RELEASE = 1, 2
"""Behind the first event of the X Input Extension (XI.h)."""
CTRL, SHIFT, ALT, F11 = 0xE0, 0xE1, 0xE2, 0x44


class FakeDeviceInput(rq.Request):  # type: ignore[misc]
    """XTestFakeInput with a device's event (xtestproto 2.2); python-xlib knows core events only."""

    _request = rq.Struct(
        rq.Card8("opcode"), rq.Opcode(2), rq.RequestLength(),
        rq.Card8("event_type"), rq.Card8("detail"), rq.Pad(2), rq.Card32("time"), rq.Pad(23),
        rq.Card8("device"),
    )  # fmt: skip


class Keyboard:
    """The keyboard that the X server began with."""

    def __init__(self, name: str) -> None:
        self._display: Any = xdisplay.Display(name)
        self._first = self._display.query_extension("XInputExtension").first_event
        devices = self._display.xinput_query_device(xinput.AllDevices).devices
        (self._device,) = [
            row.deviceid
            for row in devices
            if row.use == xinput.SlaveKeyboard and "XTEST" not in str(row.name)
        ]

    def key(self, usage: int, *, down: bool) -> None:
        """Done when this returns."""
        FakeDeviceInput(
            display=self._display.display,
            opcode=self._display.display.get_extension_major("XTEST"),
            event_type=self._first + (DEVICE_KEY_PRESS if down else DEVICE_KEY_RELEASE),
            detail=x_keycode(usage),
            time=0,
            device=self._device,
        )
        self._display.sync()

    def chord(self, *usages: int) -> None:
        """Press them one after the other, and let go in the other order."""
        for usage in usages:
            self.key(usage, down=True)
        for usage in reversed(usages):
            self.key(usage, down=False)

    def close(self) -> None:
        self._display.close()
