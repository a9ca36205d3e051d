"""Starts a process of the service with a given token and pipes, suspended at first. Windows alone."""

from __future__ import annotations

import ctypes
import io
import msvcrt
import os
import subprocess
import sys
import weakref
from collections.abc import Sequence
from contextlib import ExitStack
from ctypes import wintypes
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO, Final, Self

if sys.platform != "win32":
    raise ImportError("agent.service.process is for Windows")

from agent.win32 import advapi32, checked, kernel32

DESKTOP: Final = "winsta0\\default"

# winbase.h
_STARTF_USESTDHANDLES: Final = 0x100
_CREATE_SUSPENDED: Final = 0x4
_CREATE_UNICODE_ENVIRONMENT: Final = 0x400
_CREATE_NO_WINDOW: Final = 0x08000000
_EXTENDED_STARTUPINFO_PRESENT: Final = 0x00080000
_PROC_THREAD_ATTRIBUTE_HANDLE_LIST: Final = 0x00020002
_INFINITE: Final = 0xFFFFFFFF
_FLAGS: Final = (
    _CREATE_SUSPENDED
    | _CREATE_UNICODE_ENVIRONMENT
    | _CREATE_NO_WINDOW
    | _EXTENDED_STARTUPINFO_PRESENT
)


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


kernel32.ResumeThread.argtypes = [wintypes.HANDLE]
kernel32.GetExitCodeProcess.argtypes = [wintypes.HANDLE, ctypes.POINTER(wintypes.DWORD)]
kernel32.TerminateProcess.argtypes = [wintypes.HANDLE, wintypes.UINT]
kernel32.InitializeProcThreadAttributeList.argtypes = [
    ctypes.c_void_p, wintypes.DWORD, wintypes.DWORD, ctypes.POINTER(ctypes.c_size_t),
]  # fmt: skip
kernel32.UpdateProcThreadAttribute.argtypes = [
    ctypes.c_void_p, wintypes.DWORD, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t,
    ctypes.c_void_p, ctypes.c_void_p,
]  # fmt: skip
kernel32.DeleteProcThreadAttributeList.argtypes = [ctypes.c_void_p]
kernel32.CreateProcessW.argtypes = [
    wintypes.LPCWSTR, wintypes.LPWSTR, ctypes.c_void_p, ctypes.c_void_p, wintypes.BOOL,
    wintypes.DWORD, ctypes.c_void_p, wintypes.LPCWSTR, ctypes.POINTER(_StartupInfo),
    ctypes.POINTER(_ProcessInformation),
]  # fmt: skip
advapi32.CreateProcessAsUserW.argtypes = [wintypes.HANDLE, *kernel32.CreateProcessW.argtypes]


class Pipes:
    """Pipes to and from a child, as descriptors; leaving it closes the child's ends, and after a failure ours, too."""

    def __init__(self) -> None:
        self.theirs: list[int] = []
        self._ours: list[int] = []

    def to_child(self) -> tuple[int, int]:
        """The child's end and ours."""
        read, write = os.pipe()
        return self._kept(read, write)

    def from_child(self) -> tuple[int, int]:
        """The child's end and ours."""
        read, write = os.pipe()
        return self._kept(write, read)

    def _kept(self, theirs: int, ours: int) -> tuple[int, int]:
        self.theirs.append(theirs)
        self._ours.append(ours)
        return theirs, ours

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: object, __: TracebackType | None
    ) -> None:
        for descriptor in (*self.theirs, *(self._ours if kind is not None else ())):
            os.close(descriptor)


class Process:
    """A child and our ends of its pipes; Worker of agent/service/supervisor.py, UserProcess of user_link.py."""

    def __init__(self, made: Made, given: int, taken: int) -> None:
        """Owns the handle and the two descriptors: the write end of its input, the read end of its output."""
        self.pid = made.pid
        self.input = given
        self.output: BinaryIO = io.open(taken, "rb")  # noqa: SIM115, UP020 - closed by its reader
        self._handle = made.process
        weakref.finalize(self, kernel32.CloseHandle, made.process)
        self._ended = False

    def end(self) -> None:
        if not self._ended:
            self._ended = True
            os.close(self.input)

    def kill(self) -> None:
        kernel32.TerminateProcess(self._handle, 1)  # fails when it has just ended

    def wait(self) -> int:
        kernel32.WaitForSingleObject(self._handle, _INFINITE)
        code = wintypes.DWORD()
        kernel32.GetExitCodeProcess(self._handle, ctypes.byref(code))
        return code.value


@dataclass(frozen=True, slots=True)
class Made:
    """A new process that does not run yet; both handles are the caller's."""

    process: int
    thread: int
    pid: int

    def resume(self) -> None:
        """Let it run."""
        kernel32.ResumeThread(self.thread)
        kernel32.CloseHandle(self.thread)


def handle(descriptor: int) -> int:
    """The handle of one of our descriptors, as a child knows it that inherits it."""
    return msvcrt.get_osfhandle(descriptor)


def create(
    command: Sequence[str],
    inherited: Sequence[int],
    token: int | None = None,
    environment: int | None = None,
) -> Made:
    """A process with these descriptors, the first two as its input and output; it inherits nothing else.

    The second one is for its errors, too. Without a token it has ours. Raises OSError.
    """
    handles = (wintypes.HANDLE * len(inherited))(*map(handle, inherited))
    for entry in handles:
        os.set_handle_inheritable(entry or 0, True)
    size = ctypes.c_size_t()
    kernel32.InitializeProcThreadAttributeList(None, 1, 0, ctypes.byref(size))
    attributes = ctypes.create_string_buffer(size.value)
    checked(kernel32.InitializeProcThreadAttributeList(attributes, 1, 0, ctypes.byref(size)))
    with ExitStack() as stack:
        stack.callback(kernel32.DeleteProcThreadAttributeList, attributes)
        checked(
            kernel32.UpdateProcThreadAttribute(
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
        line = ctypes.create_unicode_buffer(subprocess.list2cmdline(command))
        rest = (
            None, line, None, None, True, _FLAGS, environment, None, ctypes.byref(start),
            ctypes.byref(made),
        )  # fmt: skip
        if token is None:
            checked(kernel32.CreateProcessW(*rest))
        else:
            checked(advapi32.CreateProcessAsUserW(token, *rest))
    return Made(made.process, made.thread, made.pid)
