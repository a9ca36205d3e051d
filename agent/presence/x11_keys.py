"""Hears this machine's own keyboards on X11, by raw events of the X Input Extension 2.

Source: XI2proto.txt. Raw events come from each device by itself, whatever is grabbed (since 2.1) and
whatever the XTEST device holds down; their source says which device it was.
"""

from __future__ import annotations

import struct
from typing import Any, ClassVar, Final

from Xlib.error import XError
from Xlib.ext import xinput

from agent.input.keymap import KEYS, X_KEYCODE_OFFSET
from agent.presence.base import OnKey, PresenceUnavailable
from agent.presence.x11_loop import XLoop, probe

EXTENSION: Final = "XInputExtension"
GENERIC_EVENT: Final = 35
ALL_MASTERS: Final = 1
VERSION: Final = (2, 2)
"""python-xlib itself would ask for 2.0, whose raw events stop while another program grabs the keyboard."""
USAGES: Final = {key.evdev + X_KEYCODE_OFFSET: usage for usage, key in KEYS.items()}
_RAW: Final = struct.Struct("=HIIH")
"""The device, the time, the keycode and the device that it came from."""
INJECTORS: Final = "XTEST keyboard"
"""How the server calls the device of injected keys, behind the name of its master."""


class X11Keys:
    """See KeyListener."""

    name: ClassVar[str] = "xinput"

    def __init__(self, on_key: OnKey) -> None:
        self._on_key = on_key
        self._loop = XLoop(EXTENSION)
        self._is_injector: dict[int, bool] = {}
        display = self._loop.display
        with self._loop.asking():
            version = xinput.XIQueryVersion(
                display=display.display,
                opcode=display.display.get_extension_major(EXTENSION),
                major_version=VERSION[0],
                minor_version=VERSION[1],
            )
            known = (version.major_version, version.minor_version) >= VERSION
            mask = xinput.RawKeyPressMask | xinput.RawKeyReleaseMask
            display.screen().root.xinput_select_events([(ALL_MASTERS, mask)])
            display.flush()
        if not known:
            self._loop.close()
            raise PresenceUnavailable(f"the X server knows {EXTENSION} before 2.2 only")

    @staticmethod
    def probe() -> str | None:
        """Why it cannot be used here, in words, or None."""
        return probe(EXTENSION)

    def serve(self) -> None:
        """See Part.serve."""
        self._loop.serve(self._event, lambda: None)

    def close(self) -> None:
        """See Part.close."""
        self._loop.close()

    def _event(self, event: Any) -> None:
        kinds = (xinput.RawKeyPress, xinput.RawKeyRelease)
        if event.type != GENERIC_EVENT or event.evtype not in kinds:
            return
        _, _, keycode, source = _RAW.unpack_from(event.data)
        usage = USAGES.get(keycode)
        if usage is not None and not self._injected(source):
            self._on_key(usage, event.evtype == xinput.RawKeyPress)

    def _injected(self, device: int) -> bool:
        known = self._is_injector.get(device)
        if known is None:
            try:
                (told,) = self._loop.display.xinput_query_device(device).devices
            except XError:
                return True  # it was unplugged after its key: nobody's any more
            known = self._is_injector[device] = str(told.name).endswith(INJECTORS)
        return known
