"""This process as a service: Windows's service main and control handler around a supervisor. Windows alone."""

from __future__ import annotations

import ctypes
import logging
import sys
from collections.abc import Callable
from ctypes import wintypes
from typing import Final, Protocol

from agent.service.events import Event, report

if sys.platform != "win32":
    raise ImportError("agent.service.dispatcher is for Windows")

from agent.service.scm import NAME, RUNNING, STOPPED, Status

logger = logging.getLogger(__name__)

STOP_HINT_MS: Final = 15_000
"""How long an end may take: more than agent/service/keeper.py gives the worker."""

# winsvc.h
_OWN_PROCESS: Final = 0x10
_STOP_PENDING: Final = 3
_CONTROL_STOP: Final = 0x1
_CONTROL_INTERROGATE: Final = 0x4
_CONTROL_SESSION_CHANGE: Final = 0xE
_CONTROL_PRESHUTDOWN: Final = 0xF
_ACCEPT_STOP: Final = 0x1
_ACCEPT_SESSION_CHANGE: Final = 0x80
_ACCEPT_PRESHUTDOWN: Final = 0x100
# winerror.h
_NO_ERROR: Final = 0
_CALL_NOT_IMPLEMENTED: Final = 120
_SERVICE_SPECIFIC_ERROR: Final = 1066
_NOT_STARTED_BY_THE_MANAGER: Final = 1063

_SERVICE_MAIN = ctypes.WINFUNCTYPE(None, wintypes.DWORD, ctypes.c_void_p)
_HANDLER = ctypes.WINFUNCTYPE(
    wintypes.DWORD, wintypes.DWORD, wintypes.DWORD, ctypes.c_void_p, ctypes.c_void_p
)


class _Entry(ctypes.Structure):
    """SERVICE_TABLE_ENTRYW."""

    _fields_ = (("name", wintypes.LPWSTR), ("main", _SERVICE_MAIN))


_advapi32: Final = ctypes.WinDLL("advapi32", use_last_error=True)
_advapi32.StartServiceCtrlDispatcherW.argtypes = [ctypes.POINTER(_Entry)]
_advapi32.RegisterServiceCtrlHandlerExW.restype = wintypes.HANDLE
_advapi32.RegisterServiceCtrlHandlerExW.argtypes = [wintypes.LPCWSTR, _HANDLER, ctypes.c_void_p]
_advapi32.SetServiceStatus.argtypes = [wintypes.HANDLE, ctypes.POINTER(Status)]


class Service(Protocol):
    """What runs: agent/service/supervisor.py."""

    def run(self) -> None: ...
    def stop(self) -> None: ...
    def look(self) -> None: ...


class Dispatcher:
    """Run `run` on the main thread; Windows calls the service main and the control handler on others."""

    def __init__(self, make: Callable[[], Service]) -> None:
        self._make = make
        self._service: Service | None = None
        self._status = Status(kind=_OWN_PROCESS)
        self._handle = 0
        self._main = _SERVICE_MAIN(self._serve)  # kept: Windows calls them as long as we live
        self._handler = _HANDLER(self._control)

    def run(self) -> bool:
        """Be the service, to its end. False: this process was not started by the service manager."""
        table = (_Entry * 2)(_Entry(NAME, self._main), _Entry())
        if _advapi32.StartServiceCtrlDispatcherW(table):
            return True
        if ctypes.get_last_error() == _NOT_STARTED_BY_THE_MANAGER:
            return False
        raise ctypes.WinError(ctypes.get_last_error())

    def _serve(self, _count: int, _arguments: int) -> None:
        self._handle = _advapi32.RegisterServiceCtrlHandlerExW(NAME, self._handler, None)
        code = 1
        try:
            self._service = self._make()
            self._tell(RUNNING, _ACCEPT_STOP | _ACCEPT_SESSION_CHANGE | _ACCEPT_PRESHUTDOWN)
            report(Event.STARTED, "The Tightbeam agent's service started.")
            self._service.run()
            report(Event.STOPPED, "The Tightbeam agent's service stopped.")
            code = 0
        except Exception as error:
            logger.exception("the service failed")
            report(Event.FAILED, f"The Tightbeam agent's service failed: {error}")
        finally:
            self._tell(STOPPED, own_exit_code=code)

    def _control(self, control: int, _kind: int, _more: int, _context: int) -> int:
        """On the main thread; must return soon."""
        service = self._service
        if control in (_CONTROL_STOP, _CONTROL_PRESHUTDOWN) and service is not None:
            self._tell(_STOP_PENDING, wait_hint_ms=STOP_HINT_MS)
            service.stop()
        elif control == _CONTROL_SESSION_CHANGE and service is not None:
            service.look()
        elif control != _CONTROL_INTERROGATE:
            return _CALL_NOT_IMPLEMENTED
        return _NO_ERROR

    def _tell(
        self, state: int, accepted: int = 0, *, wait_hint_ms: int = 0, own_exit_code: int = 0
    ) -> None:
        """Report the state to the service manager."""
        status = self._status
        status.state, status.accepted, status.wait_hint_ms = state, accepted, wait_hint_ms
        status.exit_code = _SERVICE_SPECIFIC_ERROR if own_exit_code else _NO_ERROR
        status.own_exit_code = own_exit_code
        _advapi32.SetServiceStatus(self._handle, ctypes.byref(status))
