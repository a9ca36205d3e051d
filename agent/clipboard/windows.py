"""The clipboard of a Windows desktop: CF_UNICODETEXT, with a listener for what other programs put there."""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import wintypes
from typing import ClassVar, Final

from agent.clipboard.base import MAX_TEXT_BYTES, READ_LIMIT_S, ClipboardUnavailable

if sys.platform != "win32":
    raise ImportError("agent.clipboard.windows is for Windows")

from agent.probe import why_not
from agent.win32 import kernel32, last_error, user32

_CF_UNICODETEXT: Final = 13
_WM_CLIPBOARDUPDATE, _WM_APP = 0x031D, 0x8000
_HWND_MESSAGE: Final = -3
_GMEM_MOVEABLE, _PM_REMOVE, _QS_ALLINPUT = 0x2, 0x1, 0x04FF
TRY_AGAIN_S: Final = 0.01
"""While another program has the clipboard open."""
MOST_BYTES: Final = 4 * MAX_TEXT_BYTES + 4096
"""Of a block with the longest text: lines of nothing, two characters each; Windows rounds up."""
EXCLUDING: Final = ("ExcludeClipboardContentFromMonitorProcessing", "Clipboard Viewer Ignore")
"""Formats whose presence says: not for programs that look on ("Clipboard Formats", Windows documentation)."""
INCLUDING: Final = ("CanIncludeInClipboardHistory", "CanUploadToCloudClipboard")
"""Formats with a DWORD, which is 0 where the text is to stay where it is."""

_handle = wintypes.HANDLE
user32.AddClipboardFormatListener.argtypes = [wintypes.HWND]
user32.RemoveClipboardFormatListener.argtypes = [wintypes.HWND]
user32.OpenClipboard.argtypes = [wintypes.HWND]
user32.GetClipboardData.argtypes, user32.GetClipboardData.restype = [wintypes.UINT], _handle
user32.SetClipboardData.argtypes = [wintypes.UINT, _handle]
user32.SetClipboardData.restype = _handle
user32.GetClipboardOwner.restype = wintypes.HWND
user32.RegisterClipboardFormatW.argtypes = [wintypes.LPCWSTR]
kernel32.GlobalAlloc.argtypes = [wintypes.UINT, ctypes.c_size_t]
kernel32.GlobalAlloc.restype = _handle
kernel32.GlobalLock.argtypes, kernel32.GlobalLock.restype = [_handle], ctypes.c_void_p
kernel32.GlobalUnlock.argtypes = [_handle]
kernel32.GlobalSize.argtypes, kernel32.GlobalSize.restype = [_handle], ctypes.c_size_t
kernel32.GlobalFree.argtypes, kernel32.GlobalFree.restype = [_handle], _handle


class WindowsClipboard:
    """See `Clipboard`. What was written outlives a killed process, as Windows keeps it itself."""

    name: ClassVar[str] = "windows"

    def __init__(self) -> None:
        self._thread = kernel32.GetCurrentThreadId()
        self._excluding = [user32.RegisterClipboardFormatW(name) for name in EXCLUDING]
        self._including = [user32.RegisterClipboardFormatW(name) for name in INCLUDING]
        self._window = user32.CreateWindowExW(
            0, "STATIC", "", 0, 0, 0, 0, 0, _HWND_MESSAGE, None, None, None
        )
        if not self._window or not user32.AddClipboardFormatListener(self._window):
            problem = last_error()
            self.close()
            raise ClipboardUnavailable(f"Windows does not tell of its clipboard: {problem}")

    @staticmethod
    def probe() -> str | None:
        """None when the clipboard can be used, else the reason in words."""
        return why_not(WindowsClipboard, ClipboardUnavailable)

    def next(self, timeout_s: float) -> bool | None:
        """See `Clipboard`."""
        end = time.monotonic() + timeout_s
        message = wintypes.MSG()
        while True:
            changed = woken = False
            while user32.PeekMessageW(ctypes.byref(message), None, 0, 0, _PM_REMOVE):
                told = (message.hWnd, message.message) == (self._window, _WM_CLIPBOARDUPDATE)
                changed |= told and not self._is_ours
                woken |= message.message == _WM_APP
                user32.DispatchMessageW(ctypes.byref(message))
            if changed:
                return self._has_text()
            left_ms = int((end - time.monotonic()) * 1000)
            if woken or left_ms <= 0:
                return None
            user32.MsgWaitForMultipleObjects(0, None, False, left_ms, _QS_ALLINPUT)

    def read(self) -> str | None:
        """See `Clipboard`."""
        with self._opened() as is_open:
            if not is_open or not self._has_text(is_open=True):
                return None
            payload = _bytes_of(user32.GetClipboardData(_CF_UNICODETEXT), MOST_BYTES)
        if payload is None:
            return None
        whole = payload[: len(payload) // 2 * 2].decode("utf-16-le", errors="replace")
        text = whole.partition("\0")[0].replace("\r\n", "\n")
        return text if len(text.encode(errors="replace")) <= MAX_TEXT_BYTES else None

    def write(self, text: str) -> None:
        """See `Clipboard`."""
        lines = text.replace("\0", "").replace("\r\n", "\n").replace("\n", "\r\n")
        payload = lines.encode("utf-16-le") + b"\0\0"
        block = kernel32.GlobalAlloc(_GMEM_MOVEABLE, len(payload))
        start = kernel32.GlobalLock(block) if block else None
        if start is None:
            raise ClipboardUnavailable(f"Windows has no memory for a text: {last_error()}")
        ctypes.memmove(start, payload, len(payload))
        kernel32.GlobalUnlock(block)
        with self._opened() as is_open:
            emptied = is_open and user32.EmptyClipboard()
            if emptied and user32.SetClipboardData(_CF_UNICODETEXT, block):
                return  # the block is the clipboard's now
        kernel32.GlobalFree(block)
        raise ClipboardUnavailable("another program keeps the clipboard open")

    def wake(self) -> None:
        """See `Clipboard`."""
        user32.PostThreadMessageW(self._thread, _WM_APP, 0, 0)

    def close(self) -> None:
        """See `Clipboard`."""
        window, self._window = self._window, None
        if not window:
            return
        if user32.GetClipboardOwner() == window and user32.OpenClipboard(window):
            user32.EmptyClipboard()
            user32.CloseClipboard()
        user32.RemoveClipboardFormatListener(window)
        user32.DestroyWindow(window)

    @property
    def _is_ours(self) -> bool:
        return bool(user32.GetClipboardOwner() == self._window)

    @contextmanager
    def _opened(self) -> Iterator[bool]:
        """Whether the clipboard is open to us for the length of the block."""
        end = time.monotonic() + READ_LIMIT_S
        while not (is_open := bool(user32.OpenClipboard(self._window))):
            if time.monotonic() >= end:
                break
            time.sleep(TRY_AGAIN_S)
        try:
            yield is_open
        finally:
            if is_open:
                user32.CloseClipboard()

    def _has_text(self, *, is_open: bool = False) -> bool:
        """Whether there is text, and its program does not keep it from us."""
        if not user32.IsClipboardFormatAvailable(_CF_UNICODETEXT):
            return False
        if any(user32.IsClipboardFormatAvailable(kind) for kind in self._excluding):
            return False
        asked = [kind for kind in self._including if user32.IsClipboardFormatAvailable(kind)]
        if not asked:
            return True
        if is_open:
            return all(_allows(kind) for kind in asked)
        with self._opened() as opened:
            return opened and all(_allows(kind) for kind in asked)


def _allows(kind: int) -> bool:
    payload = _bytes_of(user32.GetClipboardData(kind), 64)
    return payload is None or any(payload[:4])


def _bytes_of(block: int | None, most_bytes: int) -> bytes | None:
    """What a block of the clipboard holds; None: nothing, or more than that. It stays the clipboard's."""
    size = kernel32.GlobalSize(block) if block else 0
    start = kernel32.GlobalLock(block) if 0 < size <= most_bytes else None
    if start is None:
        return None
    try:
        return ctypes.string_at(start, size)
    finally:
        kernel32.GlobalUnlock(block)
