"""The calls of DXGI's Desktop Duplication: one output's picture in memory that the CPU reads, and where it changed.

By ctypes, on agent/com.py: the graphics card does the copying, so Python has some ten calls a picture to make.
Source: Windows SDK dxgi.h, dxgi1_2.h; "Desktop Duplication API" of Microsoft's documentation.
"""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable, Iterator
from ctypes import wintypes
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from agent.capture.base import NOWHERE, Box, Pixels

if sys.platform != "win32":
    raise ImportError("agent.capture.duplication is for Windows")

from agent.capture.d3d11 import Copy, Unsuitable, Update, create_device
from agent.com import ComError, Guid, Interface, released, succeeded

_FACTORY: Final = "770aae78-f26f-4dba-a829-253c83d1b387"
_OUTPUT1: Final = "00cddea8-939b-4b83-a340-a685226666cc"

NOT_FOUND: Final = 0x887A0002
WAIT_TIMEOUT: Final = 0x887A0027
_MORE_DATA: Final = 0x887A0003

_UPRIGHT: Final = (0, 1)
"""DXGI_MODE_ROTATION_UNSPECIFIED and _IDENTITY."""
_Given = TypeVar("_Given", Interface, Copy)
MAX_RECTANGLES_BYTES: Final = 1 << 16
"""More are not looked at singly: the whole picture counts as changed."""


class _OutputDescription(ctypes.Structure):
    _fields_ = (
        ("DeviceName", wintypes.WCHAR * 32),
        ("DesktopCoordinates", wintypes.RECT),
        ("AttachedToDesktop", wintypes.BOOL),
        ("Rotation", wintypes.UINT),
        ("Monitor", wintypes.HANDLE),
    )


class _DuplicationDescription(ctypes.Structure):
    """Of its DXGI_MODE_DESC only the size is looked at."""

    _fields_ = (
        ("Width", wintypes.UINT),
        ("Height", wintypes.UINT),
        ("RefreshRate", wintypes.UINT * 2),
        ("Format", wintypes.UINT),
        ("ScanlineOrdering", wintypes.UINT),
        ("Scaling", wintypes.UINT),
        ("Rotation", wintypes.UINT),
        ("DesktopImageInSystemMemory", wintypes.BOOL),
    )


class _FrameInfo(ctypes.Structure):
    _fields_ = (
        ("LastPresentTime", ctypes.c_int64),
        ("LastMouseUpdateTime", ctypes.c_int64),
        ("AccumulatedFrames", wintypes.UINT),
        ("RectsCoalesced", wintypes.BOOL),
        ("ProtectedContentMaskedOut", wintypes.BOOL),
        ("PointerPosition", wintypes.POINT),
        ("PointerVisible", wintypes.BOOL),
        ("TotalMetadataBufferSize", wintypes.UINT),
        ("PointerShapeBufferSize", wintypes.UINT),
    )


class _MoveRect(ctypes.Structure):
    _fields_ = (("SourcePoint", wintypes.POINT), ("DestinationRect", wintypes.RECT))


@dataclass(frozen=True, slots=True)
class Library:
    """Where DXGI and Direct3D begin: Windows's own two functions, or a test's."""

    create_factory: Callable[..., int]
    create_device: Callable[..., int]

    @classmethod
    def of(cls, dxgi: ctypes.CDLL, d3d11: ctypes.CDLL) -> Library:
        """The functions of two loaded DLLs."""
        for function in (dxgi.CreateDXGIFactory1, d3d11.D3D11CreateDevice):
            function.restype = ctypes.c_long
        return cls(dxgi.CreateDXGIFactory1, d3d11.D3D11CreateDevice)

    @classmethod
    def of_windows(cls) -> Library:
        """Raises OSError where Windows has no Direct3D 11."""
        return cls.of(ctypes.WinDLL("dxgi"), ctypes.WinDLL("d3d11"))


class Duplication:
    """One output's duplication. Used and closed by one thread."""

    def __init__(self, library: Library, name: str) -> None:
        """`name` is that of a monitor, such as DISPLAY1. Raises Unsuitable, ComError."""
        self.number: tuple[int, int]
        """Which graphics card it is of, and which of that one's outputs."""
        self._held = False
        self._owned: list[Interface | Copy] = []
        try:
            self._open(library, name)
        except (Unsuitable, ComError):
            self.close()
            raise

    def _open(self, library: Library, name: str) -> None:
        factory = self._own(_factory(library))
        adapter, output, told, self.number = _find(factory, name)
        self._own(adapter), self._own(output)
        if told.Rotation not in _UPRIGHT:
            raise Unsuitable("the monitor is turned")
        device, context = (
            self._own(made) for made in create_device(library.create_device, adapter)
        )
        # IDXGIOutput1::DuplicateOutput
        with released(output.queried(_OUTPUT1)) as output1:
            self._duplication = self._own(output1.made(22, device.pointer))
        description = _DuplicationDescription()
        self._duplication.call(7, ctypes.pointer(description))  # GetDesc
        self.size = (description.Width, description.Height)
        self._copy = self._own(Copy(device, context, self.size))

    def _own(self, given: _Given) -> _Given:
        self._owned.append(given)
        return given

    def begin(self, timeout_s: float) -> bool:
        """Have a first, whole picture in memory; False when there is none in time. Raises as `wait`.

        Windows gives what the desktop shows at once, but the first answer may be without a picture yet.
        """
        deadline = time.monotonic() + timeout_s
        begun = False
        while (remaining_s := deadline - time.monotonic()) > 0:
            update = self.wait(remaining_s, whole=True)
            if update is not None:
                begun = True
                if update.presented:
                    break
        return begun

    def wait(self, timeout_s: float, *, whole: bool = False) -> Update | None:
        """The next change, None after `timeout_s`. Raises ComError when the duplication is lost, and Unsuitable.

        What changed (or the `whole` picture) is in memory then, for `read`. The output's frame is kept
        until the next call, so that Windows collects changes meanwhile instead of copying each one.
        """
        self._give_back()
        told, resource = _FrameInfo(), ctypes.c_void_p()
        timeout_ms = wintypes.UINT(max(0, int(timeout_s * 1000)))
        result = self._duplication.call(
            8, timeout_ms, ctypes.pointer(told), ctypes.pointer(resource)
        )  # AcquireNextFrame
        if result & 0xFFFFFFFF == WAIT_TIMEOUT:
            return None
        if result != 0 or not resource.value:  # WAIT_ABANDONED (0x80) is none of the failures
            raise ComError(result)
        self._held = True
        with released(Interface(resource)) as picture:
            changed = Box(0, 0, *self.size) if whole else self._changed(told)
            if not changed.empty:
                self._copy.take(picture, changed)
        return Update(changed, told.LastMouseUpdateTime != 0, told.LastPresentTime != 0)

    def read(self, place: Box, into: Pixels) -> None:
        """Copy a part of the picture to the same part of `into`. Raises ComError."""
        self._copy.read(place, into)

    def close(self) -> None:
        """Give everything back. Idempotent."""
        if self._held:
            self._held = False
            self._duplication.call(14)
        while self._owned:
            self._owned.pop().release()

    def _give_back(self) -> None:
        """ReleaseFrame. Raises ComError: here, too, a lost duplication shows."""
        if self._held:
            self._held = False
            self._duplication.checked(14)

    def _changed(self, told: _FrameInfo) -> Box:
        """Where the picture differs from the one before; the whole where Windows does not say."""
        everything = Box(0, 0, *self.size)
        if not told.LastPresentTime:
            return NOWHERE
        size_bytes = told.TotalMetadataBufferSize
        if not 0 < size_bytes <= MAX_RECTANGLES_BYTES:
            return everything
        try:
            moves = self._rectangles(10, _MoveRect, size_bytes)
            dirty = self._rectangles(9, wintypes.RECT, size_bytes)
        except ComError as problem:
            if problem.result != _MORE_DATA:
                raise
            return everything
        box = NOWHERE
        for rectangle in (*(move.DestinationRect for move in moves), *dirty):
            box = box.joined(Box(rectangle.left, rectangle.top, rectangle.right, rectangle.bottom))
        return box.within(everything)

    def _rectangles(self, position: int, kind: Any, size_bytes: int) -> Any:
        """GetFrameDirtyRects (9) or GetFrameMoveRects (10)."""
        count = size_bytes // ctypes.sizeof(kind)
        found, filled_bytes = (kind * max(1, count))(), wintypes.UINT()
        self._duplication.checked(
            position, wintypes.UINT(ctypes.sizeof(found)), ctypes.cast(found, ctypes.c_void_p),
            ctypes.pointer(filled_bytes),
        )  # fmt: skip
        return found[: filled_bytes.value // ctypes.sizeof(kind)]


def _factory(library: Library) -> Interface:
    pointer = ctypes.c_void_p()
    succeeded(library.create_factory(ctypes.byref(Guid(_FACTORY)), ctypes.byref(pointer)))
    return Interface(pointer)


def _find(
    factory: Interface, name: str
) -> tuple[Interface, Interface, _OutputDescription, tuple[int, int]]:
    """Adapter and output of a monitor, counted for the caller, and their numbers. Raises Unsuitable, ComError."""
    for card, adapter in enumerate(_each(factory, 12)):  # IDXGIFactory1::EnumAdapters1
        found = None
        try:
            found = _output_of(adapter, name)
        finally:
            if found is None:
                adapter.release()
        if found is not None:
            output, told, number = found
            return adapter, output, told, (card, number)
    raise Unsuitable(f"no graphics card has the monitor {name}")


def _output_of(adapter: Interface, name: str) -> tuple[Interface, _OutputDescription, int] | None:
    for number, output in enumerate(_each(adapter, 7)):  # IDXGIAdapter::EnumOutputs
        told = _OutputDescription()
        described = output.call(7, ctypes.pointer(told)) >= 0  # GetDesc
        if described and told.AttachedToDesktop and told.DeviceName.removeprefix("\\\\.\\") == name:
            return output, told, number
        output.release()
    return None


def _each(parent: Interface, position: int) -> Iterator[Interface]:
    """Every adapter or output, counted for the caller."""
    number = 0
    while True:
        try:
            yield parent.made(position, wintypes.UINT(number))
        except ComError as problem:
            if problem.result != NOT_FOUND:
                raise
            return
        number += 1
