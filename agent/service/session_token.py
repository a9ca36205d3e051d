"""The service's own token, moved to another session and rid of its privileges. Windows alone.

Not yet run on real Windows.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import wintypes
from typing import Final

if sys.platform != "win32":
    raise ImportError("agent.service.session_token is for Windows")

from agent.win32 import checked

# winnt.h
_MAXIMUM_ALLOWED: Final = 0x02000000
_SECURITY_ANONYMOUS: Final = 0
_TOKEN_PRIMARY: Final = 1
_TOKEN_SESSION_ID: Final = 12
_DISABLE_MAX_PRIVILEGE: Final = 0x1

_kernel32: Final = ctypes.WinDLL("kernel32", use_last_error=True)
_advapi32: Final = ctypes.WinDLL("advapi32", use_last_error=True)
_kernel32.GetCurrentProcess.restype = wintypes.HANDLE
_kernel32.CloseHandle.argtypes = [wintypes.HANDLE]
_advapi32.OpenProcessToken.argtypes = [
    wintypes.HANDLE, wintypes.DWORD, ctypes.POINTER(wintypes.HANDLE),
]  # fmt: skip
_advapi32.DuplicateTokenEx.argtypes = [
    wintypes.HANDLE, wintypes.DWORD, ctypes.c_void_p, ctypes.c_int, ctypes.c_int,
    ctypes.POINTER(wintypes.HANDLE),
]  # fmt: skip
_advapi32.SetTokenInformation.argtypes = [
    wintypes.HANDLE, ctypes.c_int, ctypes.c_void_p, wintypes.DWORD,
]  # fmt: skip
_advapi32.CreateRestrictedToken.argtypes = [
    wintypes.HANDLE, wintypes.DWORD, wintypes.DWORD, ctypes.c_void_p, wintypes.DWORD,
    ctypes.c_void_p, wintypes.DWORD, ctypes.c_void_p, ctypes.POINTER(wintypes.HANDLE),
]  # fmt: skip


@contextmanager
def session_token(session: int) -> Iterator[int]:
    """A primary token for `CreateProcessAsUser`, closed at the end. Raises OSError.

    SYSTEM stays SYSTEM, which UAC's and the lock screen's desktop ask for; without its privileges it
    can neither debug, load drivers, nor act as somebody else.
    """
    handles: list[wintypes.HANDLE] = []

    def made(result: int) -> wintypes.HANDLE:
        checked(result)
        handles.append(token)
        return token

    try:
        token = wintypes.HANDLE()
        process = _kernel32.GetCurrentProcess()
        own = made(_advapi32.OpenProcessToken(process, _MAXIMUM_ALLOWED, ctypes.byref(token)))
        token = wintypes.HANDLE()
        moved = made(
            _advapi32.DuplicateTokenEx(
                own, _MAXIMUM_ALLOWED, None, _SECURITY_ANONYMOUS, _TOKEN_PRIMARY,
                ctypes.byref(token),
            )
        )  # fmt: skip
        number = wintypes.DWORD(session)
        checked(
            _advapi32.SetTokenInformation(
                moved, _TOKEN_SESSION_ID, ctypes.byref(number), ctypes.sizeof(number)
            )
        )
        token = wintypes.HANDLE()
        restricted = made(
            _advapi32.CreateRestrictedToken(
                moved, _DISABLE_MAX_PRIVILEGE, 0, None, 0, None, 0, None, ctypes.byref(token)
            )
        )
        yield int(restricted.value or 0)
    finally:
        for handle in handles:
            _kernel32.CloseHandle(handle)
