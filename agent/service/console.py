"""Starts the agent in the session at the screen, with the service's own token moved there.

Windows alone; as in the services of other streaming hosts. Not yet run on real Windows: there the supervisor is
in session 0, which has no screen. Wine has one session.
"""

from __future__ import annotations

import ctypes
import io
import logging
import msvcrt
import os
import subprocess
import sys
import weakref
from collections.abc import Sequence
from contextlib import ExitStack
from ctypes import wintypes
from typing import BinaryIO, Final

if sys.platform != "win32":
    raise ImportError("agent.service.console is for Windows")

from agent.service.session_token import session_token
from agent.win32 import checked

logger = logging.getLogger(__name__)

COMMAND: Final = (sys.executable, "-P", "-m", "agent.cli", "run", "--die-with-parent", "0")
DESKTOP: Final = "winsta0\\default"
NO_SESSION: Final = 0xFFFFFFFF
"""WTSGetActiveConsoleSessionId: "there is no session attached to the physical console"."""

# winbase.h
_STARTF_USESTDHANDLES: Final = 0x100
_CREATE_NO_WINDOW: Final = 0x08000000
_EXTENDED_STARTUPINFO_PRESENT: Final = 0x00080000
_PROC_THREAD_ATTRIBUTE_HANDLE_LIST: Final = 0x00020002
_INFINITE: Final = 0xFFFFFFFF


class _StartupInfo(ctypes.Structure):
    """STARTUPINFOEXW."""

    _fields_ = (
        ("cb", wintypes.DWORD),
        ("reserved", wintypes.LPWSTR),
        ("desktop", wintypes.LPWSTR),
        ("title", wintypes.LPWSTR),
        ("geometry", wintypes.DWORD * 7),
        ("flags", wintypes.DWORD),
        ("show_window", wintypes.WORD),
        ("reserved2", wintypes.WORD),
        ("reserved3", ctypes.c_void_p),
        ("input", wintypes.HANDLE),
        ("output", wintypes.HANDLE),
        ("error", wintypes.HANDLE),
        ("attributes", ctypes.c_void_p),
    )


class _ProcessInformation(ctypes.Structure):
    """PROCESS_INFORMATION."""

    _fields_ = (
        ("process", wintypes.HANDLE),
        ("thread", wintypes.HANDLE),
        ("pid", wintypes.DWORD),
        ("tid", wintypes.DWORD),
    )


_kernel32: Final = ctypes.WinDLL("kernel32", use_last_error=True)
_advapi32: Final = ctypes.WinDLL("advapi32", use_last_error=True)
_kernel32.WTSGetActiveConsoleSessionId.restype = wintypes.DWORD
_kernel32.CloseHandle.argtypes = [wintypes.HANDLE]
_kernel32.ProcessIdToSessionId.argtypes = [wintypes.DWORD, ctypes.POINTER(wintypes.DWORD)]
_kernel32.WaitForSingleObject.argtypes = [wintypes.HANDLE, wintypes.DWORD]
_kernel32.GetExitCodeProcess.argtypes = [wintypes.HANDLE, ctypes.POINTER(wintypes.DWORD)]
_kernel32.TerminateProcess.argtypes = [wintypes.HANDLE, wintypes.UINT]
_kernel32.InitializeProcThreadAttributeList.argtypes = [
    ctypes.c_void_p, wintypes.DWORD, wintypes.DWORD, ctypes.POINTER(ctypes.c_size_t),
]  # fmt: skip
_kernel32.UpdateProcThreadAttribute.argtypes = [
    ctypes.c_void_p, wintypes.DWORD, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t,
    ctypes.c_void_p, ctypes.c_void_p,
]  # fmt: skip
_kernel32.DeleteProcThreadAttributeList.argtypes = [ctypes.c_void_p]
_kernel32.CreateProcessW.argtypes = [
    wintypes.LPCWSTR, wintypes.LPWSTR, ctypes.c_void_p, ctypes.c_void_p, wintypes.BOOL,
    wintypes.DWORD, ctypes.c_void_p, wintypes.LPCWSTR, ctypes.POINTER(_StartupInfo),
    ctypes.POINTER(_ProcessInformation),
]  # fmt: skip
_advapi32.CreateProcessAsUserW.argtypes = [wintypes.HANDLE, *_kernel32.CreateProcessW.argtypes]


class Process:
    """A started agent; Worker of agent/service/supervisor.py."""

    def __init__(self, handle: int, pid: int, pipe: int, output: int) -> None:
        """Owns the handle and the two descriptors: the write end of its input, the read end of its output."""
        self.pid = pid
        self.output: BinaryIO = io.open(output, "rb")  # noqa: SIM115, UP020 - closed by its reader
        self._handle = handle
        weakref.finalize(self, _kernel32.CloseHandle, handle)
        self._pipe: int | None = pipe

    def end(self) -> None:
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None

    def kill(self) -> None:
        _kernel32.TerminateProcess(self._handle, 1)  # fails when it has just ended

    def wait(self) -> int:
        _kernel32.WaitForSingleObject(self._handle, _INFINITE)
        code = wintypes.DWORD()
        _kernel32.GetExitCodeProcess(self._handle, ctypes.byref(code))
        return code.value


class WindowsConsole:
    """Console of agent/service/supervisor.py."""

    def __init__(self, command: Sequence[str] = COMMAND) -> None:
        self._command = subprocess.list2cmdline(command)

    def session(self) -> int | None:
        number = int(_kernel32.WTSGetActiveConsoleSessionId())
        return None if number == NO_SESSION else number

    def start(self, session: int) -> Process:
        with ExitStack() as stack:
            input_read, input_write = os.pipe()
            output_read, output_write = os.pipe()
            stack.callback(os.close, input_read)
            stack.callback(os.close, output_write)
            try:
                made = self._create(session, input_read, output_write)
            except OSError:
                os.close(input_write)
                os.close(output_read)
                raise
            _kernel32.CloseHandle(made.thread)
            return Process(made.process, made.pid, input_write, output_read)

    def _create(self, session: int, given: int, taken: int) -> _ProcessInformation:
        """A process with these descriptors as its input, and as its output and errors; it inherits nothing else."""
        handles = (wintypes.HANDLE * 2)(msvcrt.get_osfhandle(given), msvcrt.get_osfhandle(taken))
        for handle in handles:
            os.set_handle_inheritable(handle or 0, True)
        size = ctypes.c_size_t()
        _kernel32.InitializeProcThreadAttributeList(None, 1, 0, ctypes.byref(size))
        attributes = ctypes.create_string_buffer(size.value)
        checked(_kernel32.InitializeProcThreadAttributeList(attributes, 1, 0, ctypes.byref(size)))
        with ExitStack() as stack:
            stack.callback(_kernel32.DeleteProcThreadAttributeList, attributes)
            checked(
                _kernel32.UpdateProcThreadAttribute(
                    attributes, 0, _PROC_THREAD_ATTRIBUTE_HANDLE_LIST, handles,
                    ctypes.sizeof(handles), None, None,
                )
            )  # fmt: skip
            start = _StartupInfo(
                cb=ctypes.sizeof(_StartupInfo), desktop=DESKTOP, flags=_STARTF_USESTDHANDLES,
                input=handles[0], output=handles[1], error=handles[1],
                attributes=ctypes.addressof(attributes),
            )  # fmt: skip
            made = _ProcessInformation()
            command = ctypes.create_unicode_buffer(self._command)
            flags = _CREATE_NO_WINDOW | _EXTENDED_STARTUPINFO_PRESENT
            rest = (
                None, command, None, None, True, flags, None, None, ctypes.byref(start),
                ctypes.byref(made),
            )  # fmt: skip
            try:
                token = stack.enter_context(session_token(session))
                checked(_advapi32.CreateProcessAsUserW(token, *rest))
            except OSError as error:
                if session != _own_session():  # another one's screen would not be seen
                    raise
                logger.warning(
                    "the agent runs in the service's own session, with all of its rights: %s", error
                )
                checked(_kernel32.CreateProcessW(*rest))
            return made


def _own_session() -> int:
    number = wintypes.DWORD()
    checked(_kernel32.ProcessIdToSessionId(os.getpid(), ctypes.byref(number)))
    return number.value
