"""A window with a text field over the whole Windows screen; as a program it tells what reaches it.

One JSON line on standard output whenever something changed: the text, which virtual keys are down on the desktop, where
the pointer is, and what was pasted. A JSON object a line on standard input: `copy` puts its text into the clipboard,
`paste` reads it, `pointer` shows or hides the pointer. Ends with it.
"""

from __future__ import annotations

import ctypes
import json
import queue
import sys
import threading
import time
from collections.abc import Callable
from ctypes import wintypes
from typing import Any

if sys.platform != "win32":
    raise ImportError("for Windows")

from agent.clipboard.windows import WindowsClipboard
from agent.win32 import primary_size, user32

WM_KEYS = {0x100: True, 0x104: True, 0x101: False, 0x105: False}
WM_BUTTONS = {0x201: "left", 0x204: "right", 0x207: "middle", 0x20B: "x"}
WM_MOUSE = range(0x200, 0x20F)
WM_WHEELS = {0x20A: "wheel", 0x20E: "hwheel"}
WS_VISIBLE, WS_POPUP, ES_MULTILINE = 0x10000000, 0x80000000, 0x4
SWP_SHOWWINDOW, HWND_TOPMOST = 0x40, -1
LIMIT_S = 20.0

user32.CreateWindowExW.restype = wintypes.HWND
user32.CreateWindowExW.argtypes = [
    wintypes.DWORD, wintypes.LPCWSTR, wintypes.LPCWSTR, wintypes.DWORD, ctypes.c_int, ctypes.c_int,
    ctypes.c_int, ctypes.c_int, wintypes.HWND, wintypes.HANDLE, wintypes.HANDLE, ctypes.c_void_p,
]  # fmt: skip
for _name in ("SetForegroundWindow", "SetFocus", "DestroyWindow", "UpdateWindow", "HideCaret"):
    getattr(user32, _name).argtypes = [wintypes.HWND]
user32.GetWindowTextW.argtypes = [wintypes.HWND, wintypes.LPWSTR, ctypes.c_int]
user32.PeekMessageW.argtypes = [
    ctypes.POINTER(wintypes.MSG), wintypes.HWND, wintypes.UINT, wintypes.UINT, wintypes.UINT,
]  # fmt: skip
user32.GetAsyncKeyState.restype = ctypes.c_short


class Window:
    """Call `pump` often: Windows takes a thread that does not for hung."""

    def __init__(self) -> None:
        width, height = primary_size()
        style = WS_VISIBLE | WS_POPUP | ES_MULTILINE
        self._window = user32.CreateWindowExW(
            0x8, "EDIT", "", style, 0, 0, width, height, None, None, None, None
        )
        user32.SetForegroundWindow(self._window)
        user32.SetFocus(self._window)
        user32.UpdateWindow(self._window)
        user32.HideCaret(self._window)  # whose blinking would be a change of the screen
        self.keys: list[tuple[int, int, bool]] = []
        """Virtual key, scancode with 0x100 for extended ones, whether it went down."""
        self.mouse: list[tuple[str, int, int]] = []
        """A button, and where; or a wheel, its turn, and 0."""

    def pump(self) -> None:
        message = wintypes.MSG()
        while user32.PeekMessageW(ctypes.byref(message), None, 0, 0, 1):
            kind, more = message.message, message.wParam >> 16
            if kind in WM_KEYS:
                scancode = message.lParam >> 16 & 0x1FF
                self.keys.append((message.wParam, scancode, WM_KEYS[kind]))
            elif kind in WM_BUTTONS:
                name = WM_BUTTONS[kind] + (str(more) if kind == 0x20B else "")
                self.mouse.append((name, message.pt.x, message.pt.y))
            elif kind in WM_WHEELS:
                self.mouse.append((WM_WHEELS[kind], ctypes.c_short(more).value, 0))
            if kind in WM_MOUSE:
                continue  # the text field would show a menu, and wait in it
            user32.TranslateMessage(ctypes.byref(message))
            user32.DispatchMessageW(ctypes.byref(message))

    def until(self, true: Callable[[], bool]) -> None:
        """Pump until the condition holds."""
        end = time.monotonic() + LIMIT_S
        while not true():
            assert time.monotonic() < end, f"not so within {LIMIT_S} s: {self.keys} {self.mouse}"
            self.pump()
            time.sleep(0.005)

    @property
    def text(self) -> str:
        content = ctypes.create_unicode_buffer(4096)
        user32.GetWindowTextW(self._window, content, len(content))
        return content.value

    def close(self) -> None:
        user32.DestroyWindow(self._window)


def keys_down() -> list[int]:
    """The virtual keys that are down on the desktop, whoever pressed them."""
    return [key for key in range(8, 255) if user32.GetAsyncKeyState(key) < 0]


def pointer_at() -> tuple[int, int]:
    place = wintypes.POINT()
    user32.GetCursorPos(ctypes.byref(place))
    return place.x, place.y


class Person:
    """What somebody at the machine does."""

    def __init__(self) -> None:
        self._clipboard = WindowsClipboard()
        self.pastes = 0
        self.pasted: str | None = None

    def do(self, wish: dict[str, Any]) -> None:
        match wish:
            case {"copy": text}:
                self._clipboard.write(text)
            case {"paste": _}:
                self.pastes += 1
                self.pasted = self._clipboard.read()
            case {"pointer": True}:
                while user32.ShowCursor(True) < 0:
                    pass
            case {"pointer": False}:
                while user32.ShowCursor(False) >= 0:
                    pass


def main() -> None:
    window, person = Window(), Person()
    wishes: queue.SimpleQueue[str] = queue.SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            wishes.put(line)
        wishes.put("")

    threading.Thread(target=listen, daemon=True).start()
    last = None
    while True:
        window.pump()
        now = {
            "text": window.text, "down": keys_down(), "clicks": window.mouse, "pointer": pointer_at(),
            "pasted": [person.pastes, person.pasted],
        }  # fmt: skip
        if (line := json.dumps(now)) != last:
            print(line, flush=True)
            last = line
        time.sleep(0.02)
        if wishes.empty():
            continue
        if not (wish := wishes.get()):
            break
        person.do(json.loads(wish))


if __name__ == "__main__":
    main()
