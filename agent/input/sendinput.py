"""Injects input into the desktop by SendInput: the last step of a key press on Windows."""

from __future__ import annotations

import ctypes
import sys
from ctypes import wintypes
from typing import ClassVar, Final

from agent.capture.base import Box
from agent.input.base import InputUnavailable, pixel_of
from agent.input.keymap import KEYS

if sys.platform != "win32":
    raise ImportError("agent.input.sendinput is for Windows")

from agent.win32 import last_error, primary_size, use_real_pixels, user32

SM_XVIRTUALSCREEN, SM_YVIRTUALSCREEN, SM_CXVIRTUALSCREEN, SM_CYVIRTUALSCREEN = 76, 77, 78, 79
INPUT_MOUSE, INPUT_KEYBOARD = 0, 1
KEYEVENTF_EXTENDEDKEY, KEYEVENTF_KEYUP, KEYEVENTF_SCANCODE = 0x1, 0x2, 0x8
KEYEVENTF_UNICODE = 0x4
MOUSEEVENTF_MOVE, MOUSEEVENTF_WHEEL, MOUSEEVENTF_HWHEEL = 0x1, 0x800, 0x1000
MOUSEEVENTF_VIRTUALDESK, MOUSEEVENTF_ABSOLUTE = 0x4000, 0x8000
BUTTONS: Final = (
    (0x2, 0x4, 0),
    (0x20, 0x40, 0),
    (0x8, 0x10, 0),
    (0x80, 0x100, 1),
    (0x80, 0x100, 2),
)
"""Flag down, flag up and mouseData of W3C MouseEvent.button 0..4: left, middle, right, X1, X2."""
ABSOLUTE_RANGE: Final = 65_536
EXTENDED: Final = 0xE000


class _MouseInput(ctypes.Structure):
    _fields_ = (
        ("dx", wintypes.LONG),
        ("dy", wintypes.LONG),
        ("mouseData", wintypes.DWORD),
        ("dwFlags", wintypes.DWORD),
        ("time", wintypes.DWORD),
        ("dwExtraInfo", ctypes.c_size_t),
    )


class _KeyboardInput(ctypes.Structure):
    _fields_ = (
        ("wVk", wintypes.WORD),
        ("wScan", wintypes.WORD),
        ("dwFlags", wintypes.DWORD),
        ("time", wintypes.DWORD),
        ("dwExtraInfo", ctypes.c_size_t),
    )


class _Either(ctypes.Union):
    _fields_ = (("mi", _MouseInput), ("ki", _KeyboardInput))


class _Input(ctypes.Structure):
    _fields_ = (("type", wintypes.DWORD), ("of", _Either))


user32.SendInput.argtypes = [wintypes.UINT, ctypes.POINTER(_Input), ctypes.c_int]


class SendInputInjector:
    """Keyboard and mouse of the desktop that this process runs in."""

    name: ClassVar[str] = "sendinput"

    def __init__(self) -> None:
        self.area: Box | None = None
        use_real_pixels()
        self._closed = False

    @staticmethod
    def probe() -> str | None:
        """It works everywhere; what refuses input at a moment (a lock screen) is seen at the call."""
        return None

    def key(self, usage: int, *, down: bool) -> None:
        key = KEYS.get(usage)
        if key is None or not (key.scancode or key.virtual_key):
            return
        # By scancode, so that the host's layout decides the character. Windows ignores wVk then; Wine,
        # which does not translate, takes it.
        flags = KEYEVENTF_SCANCODE if key.scancode else 0
        if key.scancode & EXTENDED:
            flags |= KEYEVENTF_EXTENDEDKEY
        if not down:
            flags |= KEYEVENTF_KEYUP
        self._send(
            _Input(
                INPUT_KEYBOARD,
                _Either(ki=_KeyboardInput(key.virtual_key, key.scancode & 0xFF, flags, 0, 0)),
            )
        )

    def button(self, button: int, *, down: bool) -> None:
        if 0 <= button < len(BUTTONS):
            press, release, which = BUTTONS[button]
            self._mouse(press if down else release, content=which)

    def move(self, x: float, y: float) -> None:
        metric = user32.GetSystemMetrics
        area = self.area or Box(0, 0, *primary_size())
        at_x = area.left + pixel_of(x, area.width)
        at_y = area.top + pixel_of(y, area.height)
        self._mouse(
            MOUSEEVENTF_MOVE | MOUSEEVENTF_ABSOLUTE | MOUSEEVENTF_VIRTUALDESK,
            _absolute(at_x, metric(SM_XVIRTUALSCREEN), metric(SM_CXVIRTUALSCREEN)),
            _absolute(at_y, metric(SM_YVIRTUALSCREEN), metric(SM_CYVIRTUALSCREEN)),
        )

    def move_by(self, dx: int, dy: int) -> None:
        # Differs: games, which read raw input, get these pixels; the pointer itself is accelerated as
        # the user's mouse settings say, which are not ours to change.
        self._mouse(MOUSEEVENTF_MOVE, dx, dy)

    def wheel(self, dx: int, dy: int) -> None:
        # WHEEL_DELTA is 120, too; positive is right, but up.
        if dx:
            self._mouse(MOUSEEVENTF_HWHEEL, content=dx)
        if dy:
            self._mouse(MOUSEEVENTF_WHEEL, content=-dy)

    def text(self, text: str) -> None:
        units = text.encode("utf-16-le")
        for at in range(0, len(units), 2):
            unit = int.from_bytes(units[at : at + 2], "little")
            for flags in (KEYEVENTF_UNICODE, KEYEVENTF_UNICODE | KEYEVENTF_KEYUP):
                self._send(_Input(INPUT_KEYBOARD, _Either(ki=_KeyboardInput(0, unit, flags, 0, 0))))

    def sync(self, timeout_s: float = 0.0) -> bool:
        """SendInput has put all of it into the desktop's queue when it returns."""
        if self._closed:
            raise InputUnavailable("the injector is closed")
        return True

    def close(self) -> None:
        self._closed = True

    def _mouse(self, flags: int, dx: int = 0, dy: int = 0, content: int = 0) -> None:
        self._send(_Input(INPUT_MOUSE, _Either(mi=_MouseInput(dx, dy, content, flags, 0, 0))))

    def _send(self, what: _Input) -> None:
        if self._closed:
            raise InputUnavailable("the injector is closed")
        if user32.SendInput(1, ctypes.byref(what), ctypes.sizeof(what)) != 1:
            raise InputUnavailable(
                f"Windows takes no input now: {last_error()}; is it locked, or does it ask for consent?"
            )


def _absolute(pixel: int, first: int, count: int) -> int:
    """The middle of a pixel in the 65,536 steps across the virtual desktop."""
    return (2 * (pixel - first) + 1) * ABSOLUTE_RANGE // (2 * max(count, 1))
