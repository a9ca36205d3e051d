"""An Xbox 360 controller that games on Linux see, made by /dev/uinput: the last step of a gamepad's way.

Source: linux/uinput.h, linux/input.h and Documentation/input/{uinput,ff,gamepad}.rst; buttons, axes and their
ranges as drivers/input/joystick/xpad.c reports them. The kernel unplugs it when this process dies.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import ClassVar, Final, Protocol

from agent.input.base import InputUnavailable
from agent.input.effects import FULL, Effect, Effects
from agent.input.gamepad import OnRumble
from agent.input.pad_events import NEUTRAL, PadState
from agent.wake_pipe import WakePipe

if sys.platform == "win32":
    raise ImportError("agent.input.uinput is for Linux")

import fcntl

logger = logging.getLogger(__name__)

DEVICE: Final = "/dev/uinput"
EV_SYN, EV_KEY, EV_ABS, EV_FF, EV_UINPUT = 0x00, 0x01, 0x03, 0x15, 0x0101
SYN_REPORT: Final = 0
UI_FF_UPLOAD, UI_FF_ERASE = 1, 2
FF_RUMBLE, FF_GAIN = 0x50, 0x60
BUS_USB, MICROSOFT, XBOX_360_PAD, PAD_VERSION = 0x03, 0x045E, 0x028E, 0x0110
NAME: Final = b"Microsoft X-Box 360 pad"
MAX_EFFECTS: Final = 16

KEYS: Final = {
    0: 0x130, 1: 0x131, 2: 0x133, 3: 0x134, 4: 0x136, 5: 0x137, 8: 0x13A, 9: 0x13B, 10: 0x13D, 11: 0x13E, 16: 0x13C,
}  # fmt: skip
"""BTN_* of a button of the standard gamepad: A, B, X, Y, TL, TR, SELECT, START, THUMBL, THUMBR, MODE."""
UP, DOWN, LEFT, RIGHT = 12, 13, 14, 15
ABS_X, ABS_Y, ABS_Z, ABS_RX, ABS_RY, ABS_RZ, ABS_HAT0X, ABS_HAT0Y = 0, 1, 2, 3, 4, 5, 0x10, 0x11
STICK, TRIGGER, HAT = (-32768, 32767, 16, 128), (0, 255, 0, 0), (-1, 1, 0, 0)
AXES: Final = {
    ABS_X: STICK, ABS_Y: STICK, ABS_RX: STICK, ABS_RY: STICK,
    ABS_Z: TRIGGER, ABS_RZ: TRIGGER, ABS_HAT0X: HAT, ABS_HAT0Y: HAT,
}  # fmt: skip
"""ABS_* and its minimum, maximum, fuzz and flat."""
JOIN_LIMIT_S: Final = 1.0


class InputEvent(ctypes.Structure):
    _fields_ = (
        ("seconds", ctypes.c_long), ("microseconds", ctypes.c_long),
        ("type", ctypes.c_uint16), ("code", ctypes.c_uint16), ("value", ctypes.c_int32),
    )  # fmt: skip


class UinputSetup(ctypes.Structure):
    _fields_ = (
        ("bustype", ctypes.c_uint16), ("vendor", ctypes.c_uint16),
        ("product", ctypes.c_uint16), ("version", ctypes.c_uint16),
        ("name", ctypes.c_char * 80), ("ff_effects_max", ctypes.c_uint32),
    )  # fmt: skip


class UinputAbsSetup(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16), ("value", ctypes.c_int32),
        ("minimum", ctypes.c_int32), ("maximum", ctypes.c_int32),
        ("fuzz", ctypes.c_int32), ("flat", ctypes.c_int32), ("resolution", ctypes.c_int32),
    )  # fmt: skip


class _Periodic(ctypes.Structure):
    """The largest member of the union: it makes its size and alignment."""

    _fields_ = (
        ("waveform", ctypes.c_uint16), ("period", ctypes.c_uint16), ("magnitude", ctypes.c_int16),
        ("offset", ctypes.c_int16), ("phase", ctypes.c_uint16), ("envelope", ctypes.c_uint16 * 4),
        ("custom_len", ctypes.c_uint32), ("custom_data", ctypes.c_void_p),
    )  # fmt: skip


class _Rumble(ctypes.Structure):
    _fields_ = (("strong", ctypes.c_uint16), ("weak", ctypes.c_uint16))


class _Kind(ctypes.Union):
    _fields_ = (("rumble", _Rumble), ("periodic", _Periodic))


class FfEffect(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_uint16), ("id", ctypes.c_int16), ("direction", ctypes.c_uint16),
        ("trigger", ctypes.c_uint16 * 2), ("length_ms", ctypes.c_uint16), ("delay_ms", ctypes.c_uint16),
        ("of", _Kind),
    )  # fmt: skip


class UinputFfUpload(ctypes.Structure):
    _fields_ = (
        ("request_id", ctypes.c_uint32), ("retval", ctypes.c_int32),
        ("effect", FfEffect), ("old", FfEffect),
    )  # fmt: skip


class UinputFfErase(ctypes.Structure):
    _fields_ = (
        ("request_id", ctypes.c_uint32), ("retval", ctypes.c_int32), ("effect_id", ctypes.c_uint32),
    )  # fmt: skip


def _number(direction: int, command: int, size: int = 0) -> int:
    """An ioctl number of uinput, as asm-generic/ioctl.h puts it together."""
    return direction << 30 | size << 16 | ord("U") << 8 | command


_WRITE, _READ_WRITE = 1, 3
_INT: Final = ctypes.sizeof(ctypes.c_int)
UI_DEV_CREATE: Final = _number(0, 1)
UI_DEV_DESTROY: Final = _number(0, 2)
UI_DEV_SETUP: Final = _number(_WRITE, 3, ctypes.sizeof(UinputSetup))
UI_ABS_SETUP: Final = _number(_WRITE, 4, ctypes.sizeof(UinputAbsSetup))
UI_SET_EVBIT: Final = _number(_WRITE, 100, _INT)
UI_SET_KEYBIT: Final = _number(_WRITE, 101, _INT)
UI_SET_ABSBIT: Final = _number(_WRITE, 103, _INT)
UI_SET_FFBIT: Final = _number(_WRITE, 107, _INT)
UI_BEGIN_FF_UPLOAD: Final = _number(_READ_WRITE, 200, ctypes.sizeof(UinputFfUpload))
UI_END_FF_UPLOAD: Final = _number(_WRITE, 201, ctypes.sizeof(UinputFfUpload))
UI_BEGIN_FF_ERASE: Final = _number(_READ_WRITE, 202, ctypes.sizeof(UinputFfErase))
UI_END_FF_ERASE: Final = _number(_WRITE, 203, ctypes.sizeof(UinputFfErase))


class DeviceFile(Protocol):
    """What is done with the open /dev/uinput. Raises OSError."""

    def fileno(self) -> int:
        """Readable when `read` has something."""
        ...

    def ioctl(self, request: int, argument: int | ctypes.Structure) -> None:
        """A structure is read and written in place."""
        ...

    def write(self, events: bytes) -> None: ...

    def read(self, size: int) -> bytes: ...

    def close(self) -> None: ...


class UinputFile:
    """The real one."""

    def __init__(self) -> None:
        self._descriptor = os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def fileno(self) -> int:
        return self._descriptor

    def ioctl(self, request: int, argument: int | ctypes.Structure) -> None:
        fcntl.ioctl(self._descriptor, request, argument)

    def write(self, events: bytes) -> None:
        os.write(self._descriptor, events)

    def read(self, size: int) -> bytes:
        return os.read(self._descriptor, size)

    def close(self) -> None:
        os.close(self._descriptor)


def _problem(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return (
            f"there is no {DEVICE}: load the kernel's module with `sudo modprobe uinput`, and for every start"
            " `echo uinput | sudo tee /etc/modules-load.d/uinput.conf`"
        )
    if isinstance(error, PermissionError):
        return (
            f"{DEVICE} is closed to this user: `sudo cp deploy/linux/60-tightbeam-gamepads.rules"
            " /etc/udev/rules.d/ && sudo udevadm control --reload && sudo udevadm trigger /dev/uinput`"
        )
    return f"{DEVICE} cannot be used: {error}"


def _state_events(state: PadState) -> dict[tuple[int, int], int]:
    """The value of each event type and code in this state."""

    def down(button: int) -> int:
        return state.buttons >> button & 1

    values = {(EV_KEY, code): down(button) for button, code in KEYS.items()}
    axes = {
        ABS_X: state.left_x, ABS_Y: state.left_y, ABS_RX: state.right_x, ABS_RY: state.right_y,
        ABS_Z: state.left_trigger, ABS_RZ: state.right_trigger,
        ABS_HAT0X: down(RIGHT) - down(LEFT), ABS_HAT0Y: down(DOWN) - down(UP),
    }  # fmt: skip
    return values | {(EV_ABS, code): value for code, value in axes.items()}


class UinputGamepad:
    """See agent/input/gamepad.py. A thread of its own, named `gamepad`, answers the games' force feedback."""

    name: ClassVar[str] = "uinput"

    def __init__(
        self, on_rumble: OnRumble, open_device: Callable[[], DeviceFile] = UinputFile
    ) -> None:
        self._on_rumble = on_rumble
        self._effects = Effects()
        self._shown = _state_events(NEUTRAL)
        self._closed = False
        try:
            self._device = open_device()
        except OSError as error:
            raise InputUnavailable(_problem(error)) from error
        try:
            self._set_up()
        except OSError as error:
            self._device.close()
            raise InputUnavailable(_problem(error)) from error
        self._waker = WakePipe()
        self._thread = threading.Thread(target=self._serve, name="gamepad", daemon=True)
        self._thread.start()

    @staticmethod
    def probe() -> str | None:
        """Why it cannot be used here, in words, or None."""
        try:
            UinputFile().close()
        except OSError as error:
            return _problem(error)
        return None

    def set(self, state: PadState) -> None:
        """See Gamepad.set. Only what changed is written, then that it belongs together."""
        if self._closed:
            raise InputUnavailable("the gamepad is unplugged")
        events = _state_events(state)
        changed = [
            InputEvent(0, 0, *key, value)
            for key, value in events.items()
            if self._shown[key] != value
        ]
        if not changed:
            return
        try:
            self._device.write(
                b"".join(map(bytes, [*changed, InputEvent(0, 0, EV_SYN, SYN_REPORT, 0)]))
            )
        except OSError as error:
            raise InputUnavailable(_problem(error)) from error
        self._shown = events

    def close(self) -> None:
        """See Gamepad.close."""
        if self._closed:
            return
        self._closed = True
        self._waker.wake()
        self._thread.join(JOIN_LIMIT_S)
        with contextlib.suppress(OSError):  # closing it does the same
            self._device.ioctl(UI_DEV_DESTROY, 0)
        self._device.close()
        self._waker.close()

    def _set_up(self) -> None:
        device = self._device
        for kind in (EV_KEY, EV_ABS, EV_FF):
            device.ioctl(UI_SET_EVBIT, kind)
        for code in KEYS.values():
            device.ioctl(UI_SET_KEYBIT, code)
        for code, (least, most, fuzz, flat) in AXES.items():
            device.ioctl(UI_SET_ABSBIT, code)
            device.ioctl(UI_ABS_SETUP, UinputAbsSetup(code, 0, least, most, fuzz, flat, 0))
        for code in (FF_RUMBLE, FF_GAIN):
            device.ioctl(UI_SET_FFBIT, code)
        ids = (BUS_USB, MICROSOFT, XBOX_360_PAD, PAD_VERSION)
        device.ioctl(UI_DEV_SETUP, UinputSetup(*ids, NAME, MAX_EFFECTS))
        device.ioctl(UI_DEV_CREATE, 0)

    def _serve(self) -> None:
        """Answer the kernel until `close`, and tell what the motors do."""
        told = (0.0, 0.0)
        try:
            while not self._closed:
                now = time.monotonic()
                motors = self._effects.motors(now)
                if motors != told:
                    told = motors
                    self._on_rumble(*motors)
                deadline = self._effects.next_deadline(now)
                self._waker.wait(self._device, None if deadline is None else deadline - now)
                self._read()
        except OSError as error:
            logger.warning("a gamepad does not rumble any more: %s", error)

    def _read(self) -> None:
        try:
            piece = self._device.read(ctypes.sizeof(InputEvent) * MAX_EFFECTS)
        except BlockingIOError:
            return
        for at in range(0, len(piece), ctypes.sizeof(InputEvent)):
            self._take(InputEvent.from_buffer_copy(piece, at))

    def _take(self, event: InputEvent) -> None:
        kind = event.type, event.code
        if kind == (EV_UINPUT, UI_FF_UPLOAD):
            upload = UinputFfUpload(event.value)
            self._device.ioctl(UI_BEGIN_FF_UPLOAD, upload)
            upload.retval = self._upload(upload.effect)
            self._device.ioctl(UI_END_FF_UPLOAD, upload)
        elif kind == (EV_UINPUT, UI_FF_ERASE):
            erase = UinputFfErase(event.value)
            self._device.ioctl(UI_BEGIN_FF_ERASE, erase)
            self._effects.erase(erase.effect_id)
            erase.retval = 0
            self._device.ioctl(UI_END_FF_ERASE, erase)
        elif kind == (EV_FF, FF_GAIN):
            self._effects.set_gain(event.value)
        elif event.type == EV_FF:
            self._effects.play(event.code, event.value, time.monotonic())

    def _upload(self, effect: FfEffect) -> int:
        """Keep an effect; the error to tell the game, or 0."""
        if effect.type != FF_RUMBLE:
            return -errno.EINVAL  # the device said that it knows rumble only
        rumble = effect.of.rumble
        self._effects.upload(
            effect.id,
            Effect(
                rumble.strong / FULL,
                rumble.weak / FULL,
                effect.length_ms / 1000,
                effect.delay_ms / 1000,
            ),
        )
        return 0
