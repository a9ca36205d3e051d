"""The tokens that the service starts others with: its own, restricted, in another session; and the user's there.

Windows alone. Not yet run on real Windows.
"""

from __future__ import annotations

import ctypes
import logging
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ctypes import wintypes
from typing import Any, Final

if sys.platform != "win32":
    raise ImportError("agent.service.session_token is for Windows")

from agent.win32 import CurrentUser, advapi32, checked, is_system, kernel32

logger = logging.getLogger(__name__)

NOBODY: Final = "nobody is signed in at the host"

# winnt.h
_MAXIMUM_ALLOWED: Final = 0x02000000
_SECURITY_ANONYMOUS: Final = 0
_TOKEN_PRIMARY: Final = 1
_TOKEN_OWNER: Final = 4
_TOKEN_SESSION_ID: Final = 12
_DISABLE_MAX_PRIVILEGE: Final = 0x1
_ADMINISTRATORS: Final = 26  # WinBuiltinAdministratorsSid
_SECURITY_MAX_SID_SIZE: Final = 68
# winerror.h
_NO_TOKEN: Final = 1008


class _SidAndAttributes(ctypes.Structure):
    """SID_AND_ATTRIBUTES."""

    _fields_ = (("sid", ctypes.c_void_p), ("attributes", wintypes.DWORD))


_wtsapi32: Final = ctypes.WinDLL("wtsapi32", use_last_error=True)
_userenv: Final = ctypes.WinDLL("userenv", use_last_error=True)
advapi32.DuplicateTokenEx.argtypes = [
    wintypes.HANDLE, wintypes.DWORD, ctypes.c_void_p, ctypes.c_int, ctypes.c_int,
    ctypes.POINTER(wintypes.HANDLE),
]  # fmt: skip
advapi32.SetTokenInformation.argtypes = [
    wintypes.HANDLE, ctypes.c_int, ctypes.c_void_p, wintypes.DWORD,
]  # fmt: skip
advapi32.CreateWellKnownSid.argtypes = [
    ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(wintypes.DWORD),
]  # fmt: skip
advapi32.CreateRestrictedToken.argtypes = [
    wintypes.HANDLE, wintypes.DWORD, wintypes.DWORD, ctypes.c_void_p, wintypes.DWORD,
    ctypes.c_void_p, wintypes.DWORD, ctypes.c_void_p, ctypes.POINTER(wintypes.HANDLE),
]  # fmt: skip
_wtsapi32.WTSQueryUserToken.argtypes = [wintypes.ULONG, ctypes.POINTER(wintypes.HANDLE)]
_userenv.CreateEnvironmentBlock.argtypes = [
    ctypes.POINTER(ctypes.c_void_p), wintypes.HANDLE, wintypes.BOOL,
]  # fmt: skip
_userenv.DestroyEnvironmentBlock.argtypes = [ctypes.c_void_p]


@contextmanager
def agent_token(session: int) -> Iterator[int]:
    """Our own token in that session, for `create`; closed at the end. Raises OSError.

    SYSTEM stays SYSTEM, which UAC's and the lock screen's desktop ask for. Without its privileges it
    can neither debug, load drivers, nor act as somebody else; with Administrators for denials only it
    changes nothing of what is open to them and not to SYSTEM itself.
    """
    with ExitStack() as stack:
        token = _duplicate(stack, _own(stack))
        number = wintypes.DWORD(session)
        _set(token, _TOKEN_SESSION_ID, number)
        administrator = False
        try:
            # What SYSTEM makes is Administrators' by default, and a group for denials can own nothing.
            _set(token, _TOKEN_OWNER, CurrentUser().sid)
        except OSError as error:
            logger.warning("the agent keeps the rights of an administrator: %s", error)
            administrator = True
        yield restricted(stack, token, administrator=administrator)


def restricted(stack: ExitStack, token: int, *, administrator: bool) -> int:
    """The same token without its privileges, and without an administrator's rights or with them. Raises OSError."""
    administrators = _well_known(_ADMINISTRATORS)
    denied = _SidAndAttributes(ctypes.addressof(administrators), 0)
    made = wintypes.HANDLE()
    result = advapi32.CreateRestrictedToken(
        token, _DISABLE_MAX_PRIVILEGE, 0 if administrator else 1, ctypes.byref(denied), 0, None, 0,
        None, ctypes.byref(made),
    )  # fmt: skip
    return _made(stack, result, made)


@contextmanager
def user_token(session: int) -> Iterator[tuple[int, int]]:
    """The token and the environment block of the user who is signed in there; closed at the end.

    Raises OSError, in words where it is that nobody is. A service that was given another account than
    LocalSystem may not ask for it; its own account is the user then.
    """
    with ExitStack() as stack:
        token = wintypes.HANDLE()
        if is_system():
            result = _wtsapi32.WTSQueryUserToken(session, ctypes.byref(token))
            number = ctypes.get_last_error()
            if not result and number == _NO_TOKEN:
                raise OSError(number, NOBODY)
            user = _made(stack, result, token)
        else:
            logger.info("the service is not LocalSystem: apps run as its own account")
            user = _duplicate(stack, _own(stack))
        block = ctypes.c_void_p()
        checked(_userenv.CreateEnvironmentBlock(ctypes.byref(block), user, False))
        stack.callback(_userenv.DestroyEnvironmentBlock, block)
        yield user, block.value or 0


def _own(stack: ExitStack) -> int:
    token = wintypes.HANDLE()
    process = kernel32.GetCurrentProcess()
    result = advapi32.OpenProcessToken(process, _MAXIMUM_ALLOWED, ctypes.byref(token))
    return _made(stack, result, token)


def _duplicate(stack: ExitStack, token: int) -> int:
    made = wintypes.HANDLE()
    result = advapi32.DuplicateTokenEx(
        token, _MAXIMUM_ALLOWED, None, _SECURITY_ANONYMOUS, _TOKEN_PRIMARY, ctypes.byref(made)
    )
    return _made(stack, result, made)


def _made(stack: ExitStack, result: int, token: wintypes.HANDLE) -> int:
    checked(result)
    stack.callback(kernel32.CloseHandle, token)
    return int(token.value or 0)


def _set(token: int, kind: int, value: Any) -> None:
    checked(advapi32.SetTokenInformation(token, kind, ctypes.byref(value), ctypes.sizeof(value)))


def _well_known(kind: int) -> ctypes.Array[ctypes.c_char]:
    sid = ctypes.create_string_buffer(_SECURITY_MAX_SID_SIZE)
    size = wintypes.DWORD(len(sid))
    checked(advapi32.CreateWellKnownSid(kind, None, sid, ctypes.byref(size)))
    return sid
