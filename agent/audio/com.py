"""The part of COM that WASAPI needs, by ctypes: calls by position in an interface's table, and their errors in words.

Source: Windows SDK mmdeviceapi.h, audioclient.h; the order of methods there is their position here.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import wintypes
from typing import Any, Final
from uuid import UUID

from agent.audio.base import AudioUnavailable

if sys.platform != "win32":
    raise ImportError("agent.audio.com is for Windows")

_ole32: Final = ctypes.WinDLL("ole32")
_ole32.CoInitializeEx.argtypes = [ctypes.c_void_p, wintypes.DWORD]
_ole32.CoTaskMemFree.argtypes = [ctypes.c_void_p]
_ole32.CoTaskMemFree.restype = None
_MULTITHREADED, _CLSCTX_ALL = 0, 0x17
_RELEASE: Final = 2
"""IUnknown: QueryInterface, AddRef, Release."""
_CHANGED_MODE: Final = 0x80010106
"""RPC_E_CHANGED_MODE: the thread has COM already, in an apartment of its own; that does as well."""

_WORDS: Final = {
    0x80040154: "this Windows has no sound (N editions lack the Media Feature Pack)",  # REGDB_E_CLASSNOTREG
    0x80070490: "no sound output is plugged in or switched on",  # ERROR_NOT_FOUND
    0x88890003: "this Windows does not let an output be recorded (Wine does not)",
    0x88890004: "the sound output was unplugged or set up anew",
    0x88890008: "the sound output takes no 48 kHz stereo",
    0x8889000A: "a program has the sound output for itself: switch its exclusive mode off",
    0x88890010: "the Windows Audio service does not run: start it in services.msc",
    0x80070005: "Windows does not allow it: look at Settings, Privacy, Microphone",
}
"""Those of facility 0x889 are AUDCLNT_E_WRONG_ENDPOINT_TYPE, DEVICE_INVALIDATED, UNSUPPORTED_FORMAT, DEVICE_IN_USE
and SERVICE_NOT_RUNNING; the last is E_ACCESSDENIED."""


class Unsuccessful(AudioUnavailable):
    """A call that failed; `result` is its HRESULT without a sign."""

    def __init__(self, what: str, result: int) -> None:
        self.result = result & 0xFFFFFFFF
        words = _WORDS.get(self.result, "an error that the agent does not know")
        super().__init__(f"{what}: {words} ({self.result:#010x})")


class Guid(ctypes.Structure):
    """GUID of guiddef.h."""

    _fields_ = (("bytes", ctypes.c_ubyte * 16),)

    def __init__(self, text: str) -> None:
        super().__init__((ctypes.c_ubyte * 16).from_buffer_copy(UUID(text).bytes_le))


class Interface:
    """One counted pointer to a COM object; the one who made it calls `release` once."""

    def __init__(self, pointer: ctypes.c_void_p) -> None:
        self._pointer = pointer
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
        return int(method(self._pointer, *arguments))

    def checked(self, what: str, position: int, *arguments: Any) -> int:
        """The same; raises Unsuccessful, which says `what` was tried, for a failure (a negative HRESULT)."""
        result = self.call(position, *arguments)
        if result < 0:
            raise Unsuccessful(what, result)
        return result

    def made(self, what: str, position: int, *arguments: Any) -> Interface:
        """The object that a method gives by its last argument. Raises Unsuccessful."""
        pointer = ctypes.c_void_p()
        self.checked(what, position, *arguments, ctypes.pointer(pointer))
        return Interface(pointer)

    def release(self) -> None:
        """Give the pointer up; the object must not be used after it."""
        self.call(_RELEASE)


def start() -> bool:
    """Have COM on this thread; whether `end` must be called on it."""
    result = int(_ole32.CoInitializeEx(None, _MULTITHREADED))
    if result & 0xFFFFFFFF == _CHANGED_MODE:
        return False
    if result < 0:
        raise Unsuccessful("Windows gives no COM", result)
    return True


def end() -> None:
    """The counterpart of a `start` that said True, on the same thread, after the last release."""
    _ole32.CoUninitialize()


def create(class_id: str, interface_id: str) -> Interface:
    """A new object. Raises Unsuccessful."""
    pointer = ctypes.c_void_p()
    result = _ole32.CoCreateInstance(
        ctypes.byref(Guid(class_id)), None, _CLSCTX_ALL, ctypes.byref(Guid(interface_id)),
        ctypes.byref(pointer),
    )  # fmt: skip
    if result < 0:
        raise Unsuccessful("Windows has no sound system", result)
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
