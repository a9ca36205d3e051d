"""The Windows functions that several rooms share, by ctypes, with their types."""

from __future__ import annotations

import ctypes
import sys
import threading
from ctypes import wintypes
from typing import Final

if sys.platform != "win32":
    raise ImportError("agent.win32 is for Windows")

user32: Final = ctypes.WinDLL("user32", use_last_error=True)
kernel32: Final = ctypes.WinDLL("kernel32", use_last_error=True)
shell32: Final = ctypes.WinDLL("shell32")
advapi32: Final = ctypes.WinDLL("advapi32", use_last_error=True)

MONITORINFOF_PRIMARY: Final = 1
SM_CXSCREEN: Final = 0
SM_CYSCREEN: Final = 1
_PER_MONITOR_AWARE_V2: Final = -4
"""DPI_AWARENESS_CONTEXT of windef.h, since Windows 10 1703."""
_GENERIC_ALL: Final = 0x10000000
_UOI_NAME: Final = 2
_thread: Final = threading.local()
"""`desktop`: the one that `follow_input_desktop` opened for this thread."""
_TOKEN_QUERY: Final = 0x8
_TOKEN_USER: Final = 1
_TOKEN_USER_BYTES: Final = 16 + 68
"""TOKEN_USER, a pointer and a number, and the longest SID (winnt.h) behind it."""
_LOCAL_SYSTEM: Final = 22
"""WinLocalSystemSid of winnt.h."""
_CSIDL_COMMON_APPDATA: Final = 0x23
"""shlobj_core.h."""


class _MonitorInfo(ctypes.Structure):
    _fields_ = (
        ("cbSize", wintypes.DWORD),
        ("rcMonitor", wintypes.RECT),
        ("rcWork", wintypes.RECT),
        ("dwFlags", wintypes.DWORD),
        ("szDevice", wintypes.WCHAR * 32),
    )


_MonitorCallback: Final = ctypes.WINFUNCTYPE(
    wintypes.BOOL,
    wintypes.HANDLE,
    wintypes.HANDLE,
    ctypes.POINTER(wintypes.RECT),
    wintypes.LPARAM,
)

kernel32.GetCurrentProcess.restype = wintypes.HANDLE
kernel32.CloseHandle.argtypes = [wintypes.HANDLE]
kernel32.WaitForSingleObject.argtypes = [wintypes.HANDLE, wintypes.DWORD]
advapi32.OpenProcessToken.argtypes = [
    wintypes.HANDLE, wintypes.DWORD, ctypes.POINTER(wintypes.HANDLE),
]  # fmt: skip
advapi32.GetTokenInformation.argtypes = [
    wintypes.HANDLE, ctypes.c_int, ctypes.c_void_p, wintypes.DWORD, ctypes.POINTER(wintypes.DWORD),
]  # fmt: skip
advapi32.IsWellKnownSid.argtypes = [ctypes.c_void_p, ctypes.c_int]
user32.CreateWindowExW.argtypes = [
    wintypes.DWORD, wintypes.LPCWSTR, wintypes.LPCWSTR, wintypes.DWORD, *[ctypes.c_int] * 4,
    wintypes.HWND, wintypes.HMENU, wintypes.HINSTANCE, ctypes.c_void_p,
]  # fmt: skip
user32.CreateWindowExW.restype = wintypes.HWND
user32.DestroyWindow.argtypes = [wintypes.HWND]
user32.PeekMessageW.argtypes = [ctypes.c_void_p, wintypes.HWND, *[wintypes.UINT] * 3]
user32.PostThreadMessageW.argtypes = [
    wintypes.DWORD, wintypes.UINT, wintypes.WPARAM, wintypes.LPARAM,
]  # fmt: skip
user32.SetProcessDpiAwarenessContext.argtypes = [wintypes.HANDLE]
user32.OpenInputDesktop.argtypes = [wintypes.DWORD, wintypes.BOOL, wintypes.DWORD]
user32.GetThreadDesktop.argtypes = [wintypes.DWORD]
user32.OpenInputDesktop.restype = user32.GetThreadDesktop.restype = wintypes.HANDLE
user32.SetThreadDesktop.argtypes = user32.CloseDesktop.argtypes = [wintypes.HANDLE]
user32.GetUserObjectInformationW.argtypes = [
    wintypes.HANDLE, ctypes.c_int, ctypes.c_void_p, wintypes.DWORD, ctypes.c_void_p,
]  # fmt: skip
user32.GetMonitorInfoW.argtypes = [wintypes.HANDLE, ctypes.POINTER(_MonitorInfo)]
user32.MonitorFromPoint.argtypes = [wintypes.POINT, wintypes.DWORD]
user32.MonitorFromPoint.restype = wintypes.HANDLE
user32.EnumDisplayMonitors.argtypes = [
    wintypes.HANDLE, ctypes.c_void_p, _MonitorCallback, wintypes.LPARAM,
]  # fmt: skip


def use_real_pixels() -> None:
    """Have this process see every monitor in its own pixels, whatever its scale. Harmless when repeated."""
    user32.SetProcessDpiAwarenessContext(_PER_MONITOR_AWARE_V2)


def primary_size() -> tuple[int, int]:
    """Width and height of the primary monitor, in pixels; its left upper corner is at (0, 0)."""
    return user32.GetSystemMetrics(SM_CXSCREEN), user32.GetSystemMetrics(SM_CYSCREEN)


def monitors() -> list[tuple[str, tuple[int, int, int, int], bool]]:
    """Of each monitor the name (DISPLAY1), left, top, right and bottom on the desktop, and whether it is primary."""
    found: list[tuple[str, tuple[int, int, int, int], bool]] = []

    def take(handle: int, _dc: int, _area: object, _more: int) -> bool:
        told = _MonitorInfo(ctypes.sizeof(_MonitorInfo))
        if user32.GetMonitorInfoW(handle, ctypes.byref(told)):
            area = told.rcMonitor
            name = told.szDevice.removeprefix("\\\\.\\")
            place = (area.left, area.top, area.right, area.bottom)
            found.append((name, place, bool(told.dwFlags & MONITORINFOF_PRIMARY)))
        return True

    user32.EnumDisplayMonitors(None, None, _MonitorCallback(take), 0)
    return found


def monitor_at(x: int, y: int) -> int:
    """The handle of the monitor that shows this place of the desktop; 0: none does."""
    return user32.MonitorFromPoint(wintypes.POINT(x, y), 0) or 0


def free_pointer() -> None:
    """Let the pointer go everywhere again."""
    user32.ClipCursor(None)


class CurrentUser:
    """The user that this process runs as; `sid` points to who that is, as long as this lives. Raises OSError."""

    def __init__(self) -> None:
        token, size = wintypes.HANDLE(), wintypes.DWORD()
        process = kernel32.GetCurrentProcess()
        checked(advapi32.OpenProcessToken(process, _TOKEN_QUERY, ctypes.byref(token)))
        try:
            self._told = ctypes.create_string_buffer(_TOKEN_USER_BYTES)
            checked(
                advapi32.GetTokenInformation(
                    token, _TOKEN_USER, self._told, len(self._told), ctypes.byref(size)
                )
            )
        finally:
            kernel32.CloseHandle(token)
        self.sid = ctypes.c_void_p.from_buffer(self._told)


def is_system() -> bool:
    """Whether this process runs as Windows itself (LocalSystem), as the service's do. Raises OSError.

    Not by its name, which is another one in other languages.
    """
    return bool(advapi32.IsWellKnownSid(CurrentUser().sid, _LOCAL_SYSTEM))


def follow_input_desktop() -> None:
    """Have this thread work on the desktop that takes input now: the user's, or Windows's own for the lock screen.

    Where Windows does not let this user there, or the thread has windows, it stays where it is.
    """
    desktop = user32.OpenInputDesktop(0, 0, _GENERIC_ALL)
    if not desktop:
        return
    there = _desktop_name(desktop)
    here = _desktop_name(user32.GetThreadDesktop(kernel32.GetCurrentThreadId()))
    if there == here or not user32.SetThreadDesktop(desktop):
        user32.CloseDesktop(desktop)
        return
    former, _thread.desktop = getattr(_thread, "desktop", None), desktop
    if former is not None:
        user32.CloseDesktop(former)


def _desktop_name(desktop: int) -> str:
    name = ctypes.create_unicode_buffer(256)
    user32.GetUserObjectInformationW(desktop, _UOI_NAME, name, ctypes.sizeof(name), None)
    return name.value


def program_data() -> str:
    """The folder for what belongs to the machine, usually C:\\ProgramData. Raises OSError."""
    path = ctypes.create_unicode_buffer(wintypes.MAX_PATH)
    result = shell32.SHGetFolderPathW(None, _CSIDL_COMMON_APPDATA, None, 0, path)
    if result != 0:  # an HRESULT
        raise OSError(f"Windows does not say where ProgramData is: {result & 0xFFFFFFFF:#x}")
    return path.value


def last_error() -> str:
    """Why the last call of this thread failed, in Windows's words."""
    number = ctypes.get_last_error()
    return f"{ctypes.FormatError(number).strip()} ({number})"


def checked(result: int) -> None:
    """The result of a call that says by 0 that it failed. Raises OSError with why."""
    if not result:
        raise ctypes.WinError(ctypes.get_last_error())
