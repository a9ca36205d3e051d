"""An Xbox 360 controller that games on Windows see, made by the driver ViGEmBus through its client library.

Source: ViGEm/Client.h and ViGEm/Common.h of ViGEmClient (MIT licence). The driver unplugs it when this process dies.
"""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from collections.abc import Iterator
from ctypes import wintypes
from pathlib import Path
from typing import ClassVar, Final

from agent.input.base import InputUnavailable
from agent.input.gamepad import OnRumble
from agent.input.pad_events import NEUTRAL, PadState

if sys.platform != "win32":
    raise ImportError("agent.input.vigem is for Windows")

LIBRARY: Final = "ViGEmClient.dll"
NONE, BUS_NOT_FOUND, NO_FREE_SLOT = 0x20000000, 0xE0000001, 0xE0000002
BUS_VERSION_MISMATCH, BUS_ACCESS_FAILED = 0xE0000008, 0xE0000009
WORDS: Final = {
    BUS_NOT_FOUND: "the driver ViGEmBus is not installed: run its setup (ViGEmBus 1.22), once, as an administrator",
    NO_FREE_SLOT: "ViGEmBus has no free place for a gamepad",
    BUS_VERSION_MISMATCH: f"the driver ViGEmBus is of another version than {LIBRARY}: install ViGEmBus 1.22",
    BUS_ACCESS_FAILED: "the driver ViGEmBus does not let this user in",
}
BUTTONS: Final = {
    0: 0x1000, 1: 0x2000, 2: 0x4000, 3: 0x8000, 4: 0x0100, 5: 0x0200, 8: 0x0020, 9: 0x0010,
    10: 0x0040, 11: 0x0080, 12: 0x0001, 13: 0x0002, 14: 0x0004, 15: 0x0008, 16: 0x0400,
}  # fmt: skip
"""XUSB_GAMEPAD_* of a button of the standard gamepad; the triggers (6, 7) have numbers of their own."""
MOTOR_FULL: Final = 255
_LEAST: Final = -32768
_Rumble = ctypes.WINFUNCTYPE(
    None,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_ubyte,
    ctypes.c_ubyte,
    ctypes.c_ubyte,
    ctypes.c_void_p,
)
"""Client, target, large (strong) motor, small (weak) motor, LED, user data."""


class Report(ctypes.Structure):
    """XUSB_REPORT, which is XINPUT_GAMEPAD; sticks are positive up and to the right."""

    _fields_ = (
        ("buttons", wintypes.WORD),
        ("left_trigger", wintypes.BYTE),
        ("right_trigger", wintypes.BYTE),
        ("left_x", ctypes.c_short),
        ("left_y", ctypes.c_short),
        ("right_x", ctypes.c_short),
        ("right_y", ctypes.c_short),
    )


def report_of(state: PadState) -> Report:
    """The same state as Windows's games read it."""
    buttons = sum(flag for button, flag in BUTTONS.items() if state.buttons >> button & 1)
    return Report(
        buttons,
        ctypes.c_byte(state.left_trigger).value,
        ctypes.c_byte(state.right_trigger).value,
        state.left_x,
        -max(state.left_y, _LEAST + 1),
        state.right_x,
        -max(state.right_y, _LEAST + 1),
    )


def _places() -> Iterator[Path]:
    """Where the library may be: beside this Python, or in the package vgamepad."""
    yield Path(sys.executable).parent / LIBRARY
    spec = importlib.util.find_spec("vgamepad")  # not imported: that would look for the driver
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        yield Path(folder) / "win" / "vigem" / "client" / "x64" / LIBRARY


def _library() -> ctypes.CDLL:
    """Raises InputUnavailable."""
    path = next((place for place in _places() if place.is_file()), None)
    if path is None:
        raise InputUnavailable(
            f"{LIBRARY} is not here: copy it beside {sys.executable}, from the package vgamepad or a release of"
            " ViGEmClient; and install the driver ViGEmBus 1.22"
        )
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise InputUnavailable(f"{path} cannot be loaded: {error}") from error
    handle = ctypes.c_void_p
    for name in ("vigem_alloc", "vigem_target_x360_alloc"):
        getattr(library, name).restype = handle
    for name in ("vigem_connect", "vigem_disconnect", "vigem_free", "vigem_target_free"):
        getattr(library, name).argtypes = [handle]
    for name in ("vigem_target_add", "vigem_target_remove"):
        getattr(library, name).argtypes = [handle, handle]
    library.vigem_target_x360_update.argtypes = [handle, handle, Report]
    library.vigem_target_x360_register_notification.argtypes = [handle, handle, _Rumble, handle]
    library.vigem_target_x360_unregister_notification.argtypes = [handle]
    return library


def _checked(result: int) -> None:
    """Raises InputUnavailable for what is no success."""
    code = result & 0xFFFFFFFF
    if code != NONE:
        raise InputUnavailable(WORDS.get(code, f"ViGEmBus refuses a gamepad ({code:#x})"))


class VigemGamepad:
    """See agent/input/gamepad.py. The library calls back, for rumble, on a thread of its own."""

    name: ClassVar[str] = "vigem"

    def __init__(self, on_rumble: OnRumble) -> None:
        self._on_rumble = on_rumble
        self._closed = False
        self._library = library = _library()
        self._rumble = _Rumble(self._rumbled)
        self._client = library.vigem_alloc()
        try:
            _checked(library.vigem_connect(self._client))
        except InputUnavailable:
            library.vigem_free(self._client)
            raise
        self._target = library.vigem_target_x360_alloc()
        try:
            _checked(library.vigem_target_add(self._client, self._target))
            _checked(
                library.vigem_target_x360_register_notification(
                    self._client, self._target, self._rumble, None
                )
            )
            self.set(NEUTRAL)
        except InputUnavailable:
            self.close()
            raise

    @staticmethod
    def probe() -> str | None:
        """Why it cannot be used here, in words, or None."""
        try:
            library = _library()
            client = library.vigem_alloc()
            try:
                _checked(library.vigem_connect(client))
                library.vigem_disconnect(client)
            finally:
                library.vigem_free(client)
        except InputUnavailable as error:
            return str(error)
        return None

    def set(self, state: PadState) -> None:
        """See Gamepad.set."""
        if self._closed:
            raise InputUnavailable("the gamepad is unplugged")
        _checked(
            self._library.vigem_target_x360_update(self._client, self._target, report_of(state))
        )

    def close(self) -> None:
        """See Gamepad.close."""
        if self._closed:
            return
        self._closed = True
        library = self._library
        library.vigem_target_x360_unregister_notification(self._target)
        library.vigem_target_remove(self._client, self._target)
        library.vigem_target_free(self._target)
        library.vigem_disconnect(self._client)
        library.vigem_free(self._client)

    def _rumbled(self, client: int, target: int, strong: int, weak: int, *_: object) -> None:
        if not self._closed:
            self._on_rumble(strong / MOTOR_FULL, weak / MOTOR_FULL)
