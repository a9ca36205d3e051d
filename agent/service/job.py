"""A job object around the agent and what it starts: how many processes, and what they may not do to the desktop.

Windows alone; not yet run on real Windows.
"""

from __future__ import annotations

import ctypes
import sys
from ctypes import wintypes
from typing import Final

if sys.platform != "win32":
    raise ImportError("agent.service.job is for Windows")

from agent.win32 import checked, kernel32

MAX_PROCESSES: Final = 20
"""Agent, media process, and the trial encodes of up to six encoders beside each other (agent/encode/trial.py);
in a virtual environment each is two, as its python.exe starts another one."""

# winnt.h
_BASIC_LIMITS: Final = 2
_UI_LIMITS: Final = 4
_LIMIT_ACTIVE_PROCESS: Final = 0x8
_UI_SYSTEM_PARAMETERS: Final = 0x8
_UI_DISPLAY_SETTINGS: Final = 0x10
_UI_DESKTOP: Final = 0x40
_UI_EXIT_WINDOWS: Final = 0x80


class _BasicLimits(ctypes.Structure):
    """JOBOBJECT_BASIC_LIMIT_INFORMATION."""

    _fields_ = (
        ("process_time", wintypes.LARGE_INTEGER),
        ("job_time", wintypes.LARGE_INTEGER),
        ("flags", wintypes.DWORD),
        ("least_working_set", ctypes.c_size_t),
        ("most_working_set", ctypes.c_size_t),
        ("active_processes", wintypes.DWORD),
        ("affinity", ctypes.c_size_t),
        ("priority_class", wintypes.DWORD),
        ("scheduling_class", wintypes.DWORD),
    )


kernel32.CreateJobObjectW.restype = wintypes.HANDLE
kernel32.CreateJobObjectW.argtypes = [ctypes.c_void_p, wintypes.LPCWSTR]
kernel32.SetInformationJobObject.argtypes = [
    wintypes.HANDLE, ctypes.c_int, ctypes.c_void_p, wintypes.DWORD,
]  # fmt: skip
kernel32.AssignProcessToJobObject.argtypes = [wintypes.HANDLE, wintypes.HANDLE]


def limit(process: int, most: int = MAX_PROCESSES) -> None:
    """Put a process in a job of its own, before it starts others. Raises OSError.

    What uses handles of other programs' windows, and the clipboard, stays allowed: pointer, indicator
    and clipboard need them. The job does not end with its creator: the media process must first
    release what it holds, and ends by its pipe.
    """
    job = kernel32.CreateJobObjectW(None, None)
    checked(job)
    try:
        limits = _BasicLimits(flags=_LIMIT_ACTIVE_PROCESS, active_processes=most)
        refused = wintypes.DWORD(
            _UI_SYSTEM_PARAMETERS | _UI_DISPLAY_SETTINGS | _UI_DESKTOP | _UI_EXIT_WINDOWS
        )
        for kind, value in ((_BASIC_LIMITS, limits), (_UI_LIMITS, refused)):
            size = ctypes.sizeof(value)
            checked(kernel32.SetInformationJobObject(job, kind, ctypes.byref(value), size))
        checked(kernel32.AssignProcessToJobObject(job, process))
    finally:
        kernel32.CloseHandle(job)  # it lives as long as a process is in it
