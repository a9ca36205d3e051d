"""The processes of an app on Windows: its first one, and what that and its children began.

What a process began that has ended before anybody looked is not found: Windows keeps no more than the parent's number.
"""

from __future__ import annotations

import ctypes
import sys
from ctypes import wintypes
from typing import Final

if sys.platform != "win32":
    raise ImportError("agent.apps.tree is for Windows")

from agent.win32 import kernel32

_SNAPSHOT_OF_PROCESSES: Final = 0x2
_INVALID: Final = ctypes.c_void_p(-1).value
_QUERY_LIMITED_INFORMATION: Final = 0x1000


class _Entry(ctypes.Structure):
    """PROCESSENTRY32W of tlhelp32.h."""

    _fields_ = (
        ("dwSize", wintypes.DWORD),
        ("cntUsage", wintypes.DWORD),
        ("th32ProcessID", wintypes.DWORD),
        ("th32DefaultHeapID", ctypes.c_size_t),
        ("th32ModuleID", wintypes.DWORD),
        ("cntThreads", wintypes.DWORD),
        ("th32ParentProcessID", wintypes.DWORD),
        ("pcPriClassBase", wintypes.LONG),
        ("dwFlags", wintypes.DWORD),
        ("szExeFile", wintypes.WCHAR * 260),
    )


kernel32.CreateToolhelp32Snapshot.argtypes = [wintypes.DWORD, wintypes.DWORD]
kernel32.CreateToolhelp32Snapshot.restype = wintypes.HANDLE
kernel32.Process32FirstW.argtypes = [wintypes.HANDLE, ctypes.POINTER(_Entry)]
kernel32.Process32NextW.argtypes = [wintypes.HANDLE, ctypes.POINTER(_Entry)]
kernel32.OpenProcess.argtypes = [wintypes.DWORD, wintypes.BOOL, wintypes.DWORD]
kernel32.OpenProcess.restype = wintypes.HANDLE
kernel32.GetProcessTimes.argtypes = [wintypes.HANDLE, *[ctypes.POINTER(ctypes.c_uint64)] * 4]


def members(leader: int) -> frozenset[int]:
    """The processes of the app with this first process; the number alone when it cannot be asked for more."""
    found, children = {leader}, _children()
    left = [leader]
    while left:
        parent = left.pop()
        began = _birth(parent)
        for child in children.get(parent, ()):
            # A number is given again: an older process is the child of an earlier owner of it.
            if child not in found and _birth(child) >= began:
                found.add(child)
                left.append(child)
    return frozenset(found)


def _children() -> dict[int, list[int]]:
    """Of each process what it began, of those that live."""
    snapshot = kernel32.CreateToolhelp32Snapshot(_SNAPSHOT_OF_PROCESSES, 0)
    if not snapshot or snapshot == _INVALID:
        return {}
    found: dict[int, list[int]] = {}
    entry = _Entry(ctypes.sizeof(_Entry))
    try:
        more = kernel32.Process32FirstW(snapshot, ctypes.byref(entry))
        while more:
            found.setdefault(entry.th32ParentProcessID, []).append(entry.th32ProcessID)
            more = kernel32.Process32NextW(snapshot, ctypes.byref(entry))
    finally:
        kernel32.CloseHandle(snapshot)
    return found


def _birth(process: int) -> int:
    """When it began, in 100 ns steps; 0: it is gone, or Windows does not say."""
    handle = kernel32.OpenProcess(_QUERY_LIMITED_INFORMATION, False, process)
    if not handle:
        return 0
    times = [ctypes.c_uint64() for _ in range(4)]
    try:
        kernel32.GetProcessTimes(handle, *(ctypes.byref(time) for time in times))
    finally:
        kernel32.CloseHandle(handle)
    return times[0].value
