"""The service as Windows's service control manager keeps it: installed, started, stopped, gone. Windows alone."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import time
import winreg
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import wintypes
from typing import Final

if sys.platform != "win32":
    raise ImportError("agent.service.scm is for Windows")

NAME: Final = "TightbeamAgent"
DISPLAY_NAME: Final = "Tightbeam host agent"
DESCRIPTION: Final = (
    "Shares this machine's desktop with the browsers that its Tightbeam node lets in."
)
COMMAND: Final = (sys.executable, "-P", "-m", "agent.service")
CHANGE_LIMIT_S: Final = 40.0
"""For a start or stop; an orderly stop takes at most 11 s."""
LOOK_EVERY_S: Final = 0.1
PRESHUTDOWN_LIMIT_MS: Final = 15_000
PRIVILEGES: Final = (
    "SeTcbPrivilege",  # to ask for the user's token, and to move ours to the session at the screen
    "SeAssignPrimaryTokenPrivilege",  # to start a process with either
    "SeIncreaseQuotaPrivilege",  # CreateProcessAsUser asks for it, too
    "SeImpersonatePrivilege",  # to read the user's environment
    "SeChangeNotifyPrivilege",  # everybody's
)
"""What the supervisor keeps of LocalSystem's."""
RESTART_MS: Final = (1_000, 10_000, 60_000)
"""When Windows starts a supervisor again that failed: the first, second, and every further time in a day."""
FAILURES_FORGOTTEN_S: Final = 86_400

# winsvc.h
_ALL_ACCESS: Final = 0xF003F  # SC_MANAGER_ALL_ACCESS
_CONNECT: Final = 0x1
_QUERY: Final = 0x4  # SERVICE_QUERY_STATUS
_SERVICE_ALL_ACCESS: Final = 0xF01FF
_OWN_PROCESS: Final = 0x10
_AUTO_START: Final = 2
_ERROR_NORMAL: Final = 1
_CONTROL_STOP: Final = 1
_CONFIG_DESCRIPTION: Final = 1
_CONFIG_FAILURE_ACTIONS: Final = 2
_CONFIG_DELAYED_AUTO_START: Final = 3
_CONFIG_FAILURE_ACTIONS_FLAG: Final = 4
_CONFIG_REQUIRED_PRIVILEGES: Final = 6
_CONFIG_PRESHUTDOWN: Final = 7
_ACTION_RESTART: Final = 1
STOPPED: Final = 1
RUNNING: Final = 4
STATES: Final = {
    STOPPED: "stopped", 2: "starting", 3: "stopping", RUNNING: "running",
    5: "continuing", 6: "pausing", 7: "paused",
}  # fmt: skip

# winerror.h
_ACCESS_DENIED: Final = 5
_ALREADY_RUNNING: Final = 1056
_DOES_NOT_EXIST: Final = 1060
_NOT_ACTIVE: Final = 1062

EVENT_SOURCE: Final = "Tightbeam"
_EVENT_KEY: Final = rf"SYSTEM\CurrentControlSet\Services\EventLog\Application\{EVENT_SOURCE}"
_EVENT_TEXTS: Final = r"%SystemRoot%\System32\EventCreate.exe"
"""Windows's own file of texts that are nothing but "%1", for events 1 to 1000."""


class ServiceError(Exception):
    """The service manager refused; the text says what, and what to do."""


class Status(ctypes.Structure):
    """SERVICE_STATUS."""

    _fields_ = (
        ("kind", wintypes.DWORD),
        ("state", wintypes.DWORD),
        ("accepted", wintypes.DWORD),
        ("exit_code", wintypes.DWORD),
        ("own_exit_code", wintypes.DWORD),
        ("checkpoint", wintypes.DWORD),
        ("wait_hint_ms", wintypes.DWORD),
    )


class _Action(ctypes.Structure):
    """SC_ACTION."""

    _fields_ = (("kind", ctypes.c_int), ("delay_ms", wintypes.DWORD))


class _FailureActions(ctypes.Structure):
    """SERVICE_FAILURE_ACTIONSW."""

    _fields_ = (
        ("reset_s", wintypes.DWORD),
        ("reboot_message", wintypes.LPWSTR),
        ("command", wintypes.LPWSTR),
        ("count", wintypes.DWORD),
        ("actions", ctypes.POINTER(_Action)),
    )


_advapi32: Final = ctypes.WinDLL("advapi32", use_last_error=True)
_advapi32.OpenSCManagerW.restype = wintypes.HANDLE
_advapi32.OpenSCManagerW.argtypes = [wintypes.LPCWSTR, wintypes.LPCWSTR, wintypes.DWORD]
_advapi32.OpenServiceW.restype = wintypes.HANDLE
_advapi32.OpenServiceW.argtypes = [wintypes.HANDLE, wintypes.LPCWSTR, wintypes.DWORD]
_advapi32.CreateServiceW.restype = wintypes.HANDLE
_advapi32.CreateServiceW.argtypes = [
    wintypes.HANDLE, wintypes.LPCWSTR, wintypes.LPCWSTR, wintypes.DWORD, wintypes.DWORD,
    wintypes.DWORD, wintypes.DWORD, wintypes.LPCWSTR, wintypes.LPCWSTR, ctypes.c_void_p,
    wintypes.LPCWSTR, wintypes.LPCWSTR, wintypes.LPCWSTR,
]  # fmt: skip
_advapi32.ChangeServiceConfigW.argtypes = [
    wintypes.HANDLE, wintypes.DWORD, wintypes.DWORD, wintypes.DWORD, wintypes.LPCWSTR,
    wintypes.LPCWSTR, ctypes.c_void_p, wintypes.LPCWSTR, wintypes.LPCWSTR, wintypes.LPCWSTR,
    wintypes.LPCWSTR,
]  # fmt: skip
_advapi32.ChangeServiceConfig2W.argtypes = [wintypes.HANDLE, wintypes.DWORD, ctypes.c_void_p]
_advapi32.StartServiceW.argtypes = [wintypes.HANDLE, wintypes.DWORD, ctypes.c_void_p]
_advapi32.ControlService.argtypes = [wintypes.HANDLE, wintypes.DWORD, ctypes.POINTER(Status)]
_advapi32.QueryServiceStatus.argtypes = [wintypes.HANDLE, ctypes.POINTER(Status)]
_advapi32.DeleteService.argtypes = [wintypes.HANDLE]
_advapi32.CloseServiceHandle.argtypes = [wintypes.HANDLE]


def install() -> list[str]:
    """Make the service, or bring it to this version; what this Windows cannot do. Raises ServiceError."""
    command = subprocess.list2cmdline(COMMAND)
    with _manager(_ALL_ACCESS) as manager:
        service = _advapi32.OpenServiceW(manager, NAME, _SERVICE_ALL_ACCESS)
        if service:
            changed = _advapi32.ChangeServiceConfigW(
                service, _OWN_PROCESS, _AUTO_START, _ERROR_NORMAL, command, None, None, None, None,
                None, DISPLAY_NAME,
            )  # fmt: skip
        else:
            service = _advapi32.CreateServiceW(
                manager, NAME, DISPLAY_NAME, _SERVICE_ALL_ACCESS, _OWN_PROCESS, _AUTO_START,
                _ERROR_NORMAL, command, None, None, None, None, None,
            )  # fmt: skip
            changed = bool(service)
        if not changed:
            raise _refused("installed")
        try:
            missing = _configure(service)
        finally:
            _advapi32.CloseServiceHandle(service)
    with winreg.CreateKey(winreg.HKEY_LOCAL_MACHINE, _EVENT_KEY) as key:
        winreg.SetValueEx(key, "EventMessageFile", 0, winreg.REG_EXPAND_SZ, _EVENT_TEXTS)
        winreg.SetValueEx(key, "TypesSupported", 0, winreg.REG_DWORD, 7)
    return missing


def _configure(service: int) -> list[str]:
    """What the first call cannot say; what of it this Windows does not take, in words."""
    actions = (_Action * len(RESTART_MS))(
        *(_Action(_ACTION_RESTART, delay) for delay in RESTART_MS)
    )
    failure = _FailureActions(FAILURES_FORGOTTEN_S, None, None, len(actions), actions)
    yes = wintypes.BOOL(True)
    # A multi-string: each ends in a null, and all of them in one more, which the buffer has.
    privileges = ctypes.create_unicode_buffer("".join(f"{name}\0" for name in PRIVILEGES))
    missing = []
    for kind, value, words in (
        (_CONFIG_DESCRIPTION, wintypes.LPWSTR(DESCRIPTION), "a description"),
        (_CONFIG_FAILURE_ACTIONS, failure, "a restart after a crash"),
        (_CONFIG_FAILURE_ACTIONS_FLAG, yes, "a restart after a failure that it reports itself"),
        (_CONFIG_DELAYED_AUTO_START, yes, "a start after the other services"),
        (
            _CONFIG_REQUIRED_PRIVILEGES,
            ctypes.c_void_p(ctypes.addressof(privileges)),
            "a list of the only privileges that it needs",
        ),
        (_CONFIG_PRESHUTDOWN, wintypes.DWORD(PRESHUTDOWN_LIMIT_MS), "time before a shutdown"),
    ):
        if not _advapi32.ChangeServiceConfig2W(service, kind, ctypes.byref(value)):
            error = ctypes.FormatError(ctypes.get_last_error()).strip()
            missing.append(f"the service is without {words}: {error}")
    return missing


def start() -> None:
    """Start it and wait until it runs. Raises ServiceError."""
    with _service(_SERVICE_ALL_ACCESS) as service:
        if not _advapi32.StartServiceW(service, 0, None) and (
            ctypes.get_last_error() != _ALREADY_RUNNING
        ):
            raise _refused("started")
        _until(service, RUNNING)


def stop() -> None:
    """Stop it and wait until it has. Raises ServiceError."""
    with _service(_SERVICE_ALL_ACCESS) as service:
        status = Status()
        if not _advapi32.ControlService(service, _CONTROL_STOP, ctypes.byref(status)) and (
            ctypes.get_last_error() != _NOT_ACTIVE
        ):
            raise _refused("stopped")
        _until(service, STOPPED)


def state() -> int | None:
    """Its state, one of STATES, or None when there is no such service. Raises ServiceError."""
    with _manager(_CONNECT) as manager:
        service = _advapi32.OpenServiceW(manager, NAME, _QUERY)
        if not service:
            if ctypes.get_last_error() == _DOES_NOT_EXIST:
                return None
            raise _refused("asked")
        try:
            return _state(service)
        finally:
            _advapi32.CloseServiceHandle(service)


def uninstall() -> None:
    """Stop and remove it; nothing happens when there is none. Raises ServiceError."""
    if state() is None:
        return
    stop()
    with _service(_SERVICE_ALL_ACCESS) as service:
        if not _advapi32.DeleteService(service):
            raise _refused("removed")
    try:
        winreg.DeleteKey(winreg.HKEY_LOCAL_MACHINE, _EVENT_KEY)
    except FileNotFoundError:
        return


def _state(service: int) -> int:
    status = Status()
    if not _advapi32.QueryServiceStatus(service, ctypes.byref(status)):
        raise _refused("asked")
    return int(status.state)


def _until(service: int, wanted: int) -> None:
    end = time.monotonic() + CHANGE_LIMIT_S
    while (now := _state(service)) != wanted:
        failed = wanted == RUNNING and now == STOPPED
        if failed or time.monotonic() > end:
            raise ServiceError(
                f"the service is {STATES[now]}, and not {STATES[wanted]}: see its log"
            )
        time.sleep(LOOK_EVERY_S)


@contextmanager
def _manager(access: int) -> Iterator[int]:
    manager = _advapi32.OpenSCManagerW(None, None, access)
    if not manager:
        raise _refused("reached")
    try:
        yield manager
    finally:
        _advapi32.CloseServiceHandle(manager)


@contextmanager
def _service(access: int) -> Iterator[int]:
    with _manager(_CONNECT) as manager:
        service = _advapi32.OpenServiceW(manager, NAME, access)
        if not service:
            raise _refused("opened")
        try:
            yield service
        finally:
            _advapi32.CloseServiceHandle(service)


def _refused(what: str) -> ServiceError:
    number = ctypes.get_last_error()
    if number == _ACCESS_DENIED:
        return ServiceError(f"the service cannot be {what}: run this as administrator")
    if number == _DOES_NOT_EXIST:
        return ServiceError(
            "the service is not installed: run `tightbeam-agent service install` first"
        )
    words = ctypes.FormatError(number).strip()
    return ServiceError(f"the service cannot be {what}: {words} ({number})")
