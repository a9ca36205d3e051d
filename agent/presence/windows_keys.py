"""Hears this machine's own keyboards on Windows, by a low-level hook that is told which keys were injected.

Differs: not by RegisterHotKey, which fires for keys that SendInput makes as well, and so for the remote side's.
"""

from __future__ import annotations

import ctypes
import sys
from ctypes import wintypes
from typing import ClassVar, Final

from agent.input.keymap import KEYS
from agent.presence.base import OnKey, PresenceUnavailable

if sys.platform != "win32":
    raise ImportError("agent.presence.windows_keys is for Windows")

from agent.presence.windows_loop import MessageLoop, this_module
from agent.win32 import last_error, user32

WH_KEYBOARD_LL, HC_ACTION = 13, 0
LLKHF_EXTENDED, LLKHF_INJECTED, LLKHF_UP = 0x01, 0x10, 0x80
EXTENDED: Final = 0xE000
USAGES: Final = {key.scancode: usage for usage, key in KEYS.items() if key.scancode}
VIRTUAL: Final = {0xA0: 0xE1, 0xA1: 0xE5, 0xA2: 0xE0, 0xA3: 0xE4, 0xA4: 0xE2, 0xA5: 0xE6}
"""Left and right Shift, Control and Alt by virtual key: their scancodes differ in the extended flag only."""


class _Keyboard(ctypes.Structure):
    """KBDLLHOOKSTRUCT."""

    _fields_ = (
        ("vkCode", wintypes.DWORD),
        ("scanCode", wintypes.DWORD),
        ("flags", wintypes.DWORD),
        ("time", wintypes.DWORD),
        ("dwExtraInfo", ctypes.c_size_t),
    )


_Hook = ctypes.WINFUNCTYPE(ctypes.c_ssize_t, ctypes.c_int, wintypes.WPARAM, wintypes.LPARAM)
user32.SetWindowsHookExW.argtypes = [ctypes.c_int, _Hook, wintypes.HINSTANCE, wintypes.DWORD]
user32.SetWindowsHookExW.restype = wintypes.HANDLE
user32.CallNextHookEx.argtypes = [
    wintypes.HANDLE,
    ctypes.c_int,
    wintypes.WPARAM,
    wintypes.LPARAM,
]
user32.CallNextHookEx.restype = ctypes.c_ssize_t
user32.UnhookWindowsHookEx.argtypes = [wintypes.HANDLE]


class WindowsKeys:
    """See KeyListener. Windows calls the hook on this thread and waits for it, so it only looks."""

    name: ClassVar[str] = "hook"

    def __init__(self, on_key: OnKey) -> None:
        self._on_key = on_key
        self._loop = MessageLoop()
        self._procedure = _Hook(self._called)
        self._hook = user32.SetWindowsHookExW(WH_KEYBOARD_LL, self._procedure, this_module(), 0)
        if not self._hook:
            raise PresenceUnavailable(f"Windows lets us hear no keys: {last_error()}")

    @staticmethod
    def probe() -> str | None:
        """It works on every desktop."""
        return None

    def serve(self) -> None:
        """See Part.serve."""
        try:
            self._loop.serve()
        finally:
            user32.UnhookWindowsHookEx(self._hook)

    def close(self) -> None:
        """See Part.close."""
        self._loop.close()

    def _called(self, code: int, kind: int, place: int) -> int:
        if code == HC_ACTION:
            key = _Keyboard.from_address(place)
            if not key.flags & LLKHF_INJECTED:
                self._tell(key)
        return int(user32.CallNextHookEx(self._hook, code, kind, place))

    def _tell(self, key: _Keyboard) -> None:
        extended = EXTENDED if key.flags & LLKHF_EXTENDED else 0
        usage = VIRTUAL.get(key.vkCode, USAGES.get(key.scanCode & 0xFF | extended))
        if usage is not None:
            self._on_key(usage, not key.flags & LLKHF_UP)
