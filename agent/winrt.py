"""The Windows Runtime by ctypes, on agent/com.py: classes by their names, and events that call a function.

Source: Windows SDK roapi.h, winstring.h, windows.foundation.h.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable
from ctypes import wintypes
from typing import Any, Final

if sys.platform != "win32":
    raise ImportError("agent.winrt is for Windows")

from agent.com import Guid, Interface, begun, succeeded

_MULTITHREADED: Final = 1
"""RO_INIT_MULTITHREADED."""
_UNKNOWN: Final = "00000000-0000-0000-c000-000000000046"
_AGILE: Final = "94ea2b94-e9cc-49e0-c0ff-ee64ca8f5b90"
"""IAgileObject: may be called on any thread as it is."""
_NO_INTERFACE: Final = -0x7FFFBFFE
"""E_NOINTERFACE, with its sign."""
_Query: Final = ctypes.WINFUNCTYPE(
    ctypes.c_long, ctypes.c_void_p, ctypes.POINTER(Guid), ctypes.POINTER(ctypes.c_void_p)
)
_Count: Final = ctypes.WINFUNCTYPE(ctypes.c_ulong, ctypes.c_void_p)
_Invoke: Final = ctypes.WINFUNCTYPE(
    ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p
)


class Runtime:
    """combase.dll, or a test's. Raises OSError where it lacks the functions."""

    def __init__(self, dll: ctypes.CDLL) -> None:
        try:
            self._initialize, self._uninitialize = dll.RoInitialize, dll.RoUninitialize
            self._get_factory = dll.RoGetActivationFactory
            self._create, self._delete = dll.WindowsCreateString, dll.WindowsDeleteString
        except AttributeError as problem:
            raise OSError(str(problem)) from problem
        self._get_factory.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
        self._create.argtypes = [wintypes.LPCWSTR, wintypes.UINT, ctypes.c_void_p]
        self._delete.argtypes = [ctypes.c_void_p]
        for function in (self._initialize, self._get_factory, self._create):
            function.restype = ctypes.c_long

    def start(self) -> bool:
        """Have it on this thread; whether `end` must be called on it. Raises ComError."""
        return begun(self._initialize(_MULTITHREADED))

    def end(self) -> None:
        """The counterpart of a `start` that said True, on the same thread, after the last release."""
        self._uninitialize()

    def factory(self, class_name: str, interface_id: str) -> Interface:
        """What makes objects of a class, or knows of all of them. Raises ComError."""
        name, pointer = ctypes.c_void_p(), ctypes.c_void_p()
        succeeded(self._create(class_name, len(class_name), ctypes.byref(name)))
        try:
            succeeded(
                self._get_factory(name, ctypes.byref(Guid(interface_id)), ctypes.byref(pointer))
            )
        finally:
            self._delete(name)
        return Interface(pointer)


class Handler:
    """An event's handler: an object of one method that Windows calls on a thread of its own.

    It is never freed, as Windows may be in it at any moment; `give_back` keeps it for the next one.
    """

    def __init__(self, interface_id: str) -> None:
        self.interface_id = interface_id
        self.call: Callable[[], None] = _nothing
        self._known = [bytes(Guid(one).bytes) for one in (_UNKNOWN, _AGILE, interface_id)]
        self._methods: tuple[Any, ...] = (
            _Query(self._query), _Count(_one), _Count(_one), _Invoke(self._invoke),
        )  # fmt: skip
        addresses = [ctypes.cast(method, ctypes.c_void_p).value for method in self._methods]
        self._table = (ctypes.c_void_p * len(addresses))(*addresses)
        self._object = ctypes.c_void_p(ctypes.addressof(self._table))
        self.pointer = ctypes.c_void_p(ctypes.addressof(self._object))
        """To hand it to the object whose event it is for."""

    def _query(self, this: int, wanted: Any, into: Any) -> int:
        known = bytes(wanted.contents.bytes) in self._known
        into[0] = this if known else None
        return 0 if known else _NO_INTERFACE

    def _invoke(self, _this: int, _sender: int, _more: int) -> int:
        self.call()
        return 0


_spare: Final[list[Handler]] = []
_spare_lock: Final = threading.Lock()


def handler(interface_id: str, call: Callable[[], None]) -> Handler:
    """A handler of an event whose delegate is that interface; `call` must be quick. For `give_back`."""
    with _spare_lock:
        kept = [one for one in _spare if one.interface_id == interface_id]
        if kept:
            _spare.remove(kept[0])
    made = kept[0] if kept else Handler(interface_id)
    made.call = call
    return made


def give_back(used: Handler) -> None:
    """It was taken from its event; a call that is under way does nothing any more."""
    used.call = _nothing
    with _spare_lock:
        _spare.append(used)


def _one(_this: int) -> int:
    """The count of references that AddRef and Release tell: nobody frees it."""
    return 1


def _nothing() -> None:
    """The event is nobody's."""
