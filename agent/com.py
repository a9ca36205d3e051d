"""COM by ctypes, as much as sound and capture need: counted pointers, and calls by a method's position.

Positions are in the interface's table: the order of the methods in the Windows SDK's headers, parents' first.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import wintypes
from typing import Any, Final
from uuid import UUID

if sys.platform != "win32":
    raise ImportError("agent.com is for Windows")

_ole32: Final = ctypes.WinDLL("ole32")
_ole32.CoInitializeEx.argtypes = [ctypes.c_void_p, wintypes.DWORD]
_ole32.CoTaskMemFree.argtypes = [ctypes.c_void_p]
_ole32.CoTaskMemFree.restype = None
_MULTITHREADED: Final = 0
CLSCTX_ALL: Final = 0x17
"""Wherever the object's code runs."""
_QUERY_INTERFACE, _RELEASE = 0, 2
"""IUnknown: QueryInterface, AddRef, Release."""
_POINTER: Final = 0x80004003
"""E_POINTER: of a call that has success and nothing to show for it."""
_CHANGED_MODE: Final = 0x80010106
"""RPC_E_CHANGED_MODE: the thread has COM already, in an apartment of its own; that does as well."""


class ComError(Exception):
    """A call that failed; who made it knows the words."""

    def __init__(self, result: int) -> None:
        self.result = result & 0xFFFFFFFF
        """The HRESULT without a sign, as the documentation has them."""
        super().__init__(f"{self.result:#010x}")


class Guid(ctypes.Structure):
    """GUID of guiddef.h."""

    _fields_ = (("bytes", ctypes.c_ubyte * 16),)

    def __init__(self, text: str) -> None:
        super().__init__((ctypes.c_ubyte * 16).from_buffer_copy(UUID(text).bytes_le))


class Interface:
    """One counted pointer to a COM object; the one who made it calls `release` once."""

    def __init__(self, pointer: ctypes.c_void_p) -> None:
        self.pointer = pointer
        """To hand it to another object's method, which counts for itself."""
        table = ctypes.cast(pointer, ctypes.POINTER(ctypes.POINTER(ctypes.c_void_p)))
        self._methods = table.contents
        self._known: dict[int, Any] = {}

    def call(self, position: int, *arguments: Any) -> int:
        """The HRESULT. Arguments are of ctypes; the same types at each call of a position."""
        method = self._known.get(position)
        if method is None:
            types: list[Any] = [ctypes.c_void_p, *(type(argument) for argument in arguments)]
            made = ctypes.WINFUNCTYPE(ctypes.c_long, *types)
            method = self._known[position] = made(self._methods[position])
        return int(method(self.pointer, *arguments))

    def checked(self, position: int, *arguments: Any) -> int:
        """The same; raises ComError for a failure (a negative HRESULT)."""
        return succeeded(self.call(position, *arguments))

    def made(self, position: int, *arguments: Any) -> Interface:
        """The object that a method gives by its last argument. Raises ComError."""
        pointer = ctypes.c_void_p()
        self.checked(position, *arguments, ctypes.pointer(pointer))
        if not pointer.value:
            raise ComError(_POINTER)
        return Interface(pointer)

    def queried(self, interface_id: str) -> Interface:
        """The same object by another of its interfaces. Raises ComError."""
        return self.made(_QUERY_INTERFACE, ctypes.pointer(Guid(interface_id)))

    def release(self) -> None:
        """Give the pointer up; the object must not be used after it."""
        self.call(_RELEASE)


def succeeded(result: int) -> int:
    """A call's HRESULT. Raises ComError for a failure."""
    if result < 0:
        raise ComError(result)
    return result


def start() -> bool:
    """Have COM on this thread; whether `end` must be called on it. Raises ComError."""
    return begun(int(_ole32.CoInitializeEx(None, _MULTITHREADED)))


def begun(result: int) -> bool:
    """Whether what began with this HRESULT must be ended. Raises ComError."""
    if result & 0xFFFFFFFF == _CHANGED_MODE:
        return False
    succeeded(result)
    return True


def end() -> None:
    """The counterpart of a `start` that said True, on the same thread, after the last release."""
    _ole32.CoUninitialize()


def create(class_id: str, interface_id: str) -> Interface:
    """A new object. Raises ComError."""
    pointer = ctypes.c_void_p()
    succeeded(
        _ole32.CoCreateInstance(
            ctypes.byref(Guid(class_id)), None, CLSCTX_ALL, ctypes.byref(Guid(interface_id)),
            ctypes.byref(pointer),
        )
    )  # fmt: skip
    return Interface(pointer)


def free(address: int | None) -> None:
    """Memory that a method gave."""
    _ole32.CoTaskMemFree(address)


@contextmanager
def released(interface: Interface) -> Iterator[Interface]:
    """For the length of a block."""
    try:
        yield interface
    finally:
        interface.release()
