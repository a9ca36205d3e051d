"""Windows's Data Protection API: a secret that this machine alone can read again, in a folder closed to other users.

Not yet run on real Windows.
"""

from __future__ import annotations

import base64
import ctypes
import getpass
import subprocess
import sys
from ctypes import wintypes
from pathlib import Path
from typing import Final

if sys.platform != "win32":
    raise ImportError("agent.dpapi is for Windows")

UI_FORBIDDEN: Final = 0x1
LOCAL_MACHINE: Final = 0x4
"""CRYPTPROTECT_* of dpapi.h. Of the machine, because the service runs as another user than the one who enrolls:
the folder's access list is what keeps other users of the machine out."""
SYSTEM: Final = "*S-1-5-18"
ADMINISTRATORS: Final = "*S-1-5-32-544"
ICACLS_LIMIT_S: Final = 20.0


class _Blob(ctypes.Structure):
    """DATA_BLOB of wincrypt.h."""

    _fields_ = (("size", wintypes.DWORD), ("content", ctypes.c_void_p))


_crypt32: Final = ctypes.WinDLL("crypt32", use_last_error=True)
_kernel32: Final = ctypes.WinDLL("kernel32", use_last_error=True)
_kernel32.LocalFree.argtypes = [ctypes.c_void_p]


def protect(secret: str) -> str:
    """Base64 of the encrypted secret. Raises OSError."""
    return base64.b64encode(_call(_crypt32.CryptProtectData, secret.encode())).decode()


def reveal(protected: str) -> str:
    """The secret again. Raises OSError, and ValueError for what is no base64."""
    return _call(_crypt32.CryptUnprotectData, base64.b64decode(protected, validate=True)).decode()


def keep_others_out(folder: Path) -> None:
    """Only the system and administrators may enter, and this user where not elevated. Raises OSError."""
    entitled = [SYSTEM, ADMINISTRATORS]
    if not ctypes.windll.shell32.IsUserAnAdmin():  # else what is not elevated could read it, too
        entitled.append(getpass.getuser())
    grants = [f"{who}:(OI)(CI)F" for who in entitled]
    try:
        subprocess.run(
            ["icacls", str(folder), "/inheritance:r", "/grant:r", *grants],
            check=True,
            capture_output=True,
            timeout=ICACLS_LIMIT_S,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise OSError(f"the access list of {folder} cannot be set: {error}") from error


def _call(function: ctypes._NamedFuncPointer, content: bytes) -> bytes:
    buffer = ctypes.create_string_buffer(content, len(content))
    given = _Blob(len(content), ctypes.addressof(buffer))
    made = _Blob()
    flags = UI_FORBIDDEN | LOCAL_MACHINE
    if not function(ctypes.byref(given), None, None, None, None, flags, ctypes.byref(made)):
        raise ctypes.WinError(ctypes.get_last_error())
    try:
        return ctypes.string_at(made.content or 0, made.size)
    finally:
        _kernel32.LocalFree(made.content)
