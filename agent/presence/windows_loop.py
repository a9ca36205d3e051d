"""A thread's message loop on Windows: what both Windows parts of this room stand on."""

from __future__ import annotations

import ctypes
import sys
import threading
from ctypes import wintypes
from typing import Final

if sys.platform != "win32":
    raise ImportError("agent.presence.windows_loop is for Windows")

from agent.win32 import kernel32, user32

WM_QUIT, WM_APP = 0x0012, 0x8000
PM_NOREMOVE: Final = 0
kernel32.GetModuleHandleW.restype = wintypes.HMODULE
kernel32.GetModuleHandleW.argtypes = [wintypes.LPCWSTR]
user32.GetMessageW.argtypes = [ctypes.c_void_p, wintypes.HWND, wintypes.UINT, wintypes.UINT]
user32.DispatchMessageW.argtypes = [ctypes.c_void_p]
user32.DispatchMessageW.restype = ctypes.c_ssize_t


def this_module() -> int:
    """The handle of this program."""
    return int(kernel32.GetModuleHandleW(None))


class MessageLoop:
    """Made, and served, on the thread whose messages it is about."""

    def __init__(self) -> None:
        self._message = wintypes.MSG()
        # This makes the thread's queue, without which nothing can be posted to it.
        user32.PeekMessageW(ctypes.byref(self._message), None, 0, 0, PM_NOREMOVE)
        self._thread = threading.get_native_id()

    def serve(self) -> None:
        """Dispatch messages until `close`."""
        while user32.GetMessageW(ctypes.byref(self._message), None, 0, 0) > 0:
            user32.DispatchMessageW(ctypes.byref(self._message))

    def close(self) -> None:
        """Let `serve` return. From any thread."""
        user32.PostThreadMessageW(self._thread, WM_QUIT, 0, 0)
