"""Entries in Windows's event log, where an administrator looks first. Windows alone."""

from __future__ import annotations

import ctypes
import sys
from ctypes import wintypes
from enum import IntEnum
from typing import Final

if sys.platform != "win32":
    raise ImportError("agent.service.events is for Windows")

from agent.service.scm import EVENT_SOURCE

_INFORMATION: Final = 0x4
_ERROR: Final = 0x1

_advapi32: Final = ctypes.WinDLL("advapi32", use_last_error=True)
_advapi32.RegisterEventSourceW.restype = wintypes.HANDLE
_advapi32.RegisterEventSourceW.argtypes = [wintypes.LPCWSTR, wintypes.LPCWSTR]
_advapi32.ReportEventW.argtypes = [
    wintypes.HANDLE, wintypes.WORD, wintypes.WORD, wintypes.DWORD, ctypes.c_void_p, wintypes.WORD,
    wintypes.DWORD, ctypes.POINTER(wintypes.LPCWSTR), ctypes.c_void_p,
]  # fmt: skip
_advapi32.DeregisterEventSource.argtypes = [wintypes.HANDLE]


class Event(IntEnum):
    """The numbers that Windows's Event Viewer shows."""

    STARTED = 1
    STOPPED = 2
    FAILED = 3
    """The service itself; Windows starts it again."""
    AGENT_FAILED = 4
    """The worker; the service starts it again."""


def report(event: Event, words: str) -> None:
    """Write an entry; a machine whose event log takes none has the log file."""
    source = _advapi32.RegisterEventSourceW(None, EVENT_SOURCE)
    if not source:
        return
    kind = _ERROR if event in (Event.FAILED, Event.AGENT_FAILED) else _INFORMATION
    text = (wintypes.LPCWSTR * 1)(words)
    _advapi32.ReportEventW(source, kind, 0, event, None, 1, 0, text, None)
    _advapi32.DeregisterEventSource(source)
