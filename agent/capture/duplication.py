"""The calls of DXGI's Desktop Duplication: one output's picture in memory that the CPU reads, and where it changed.

By ctypes, on agent/com.py: the graphics card does the copying, so Python has some ten calls a picture to make.
Source: Windows SDK dxgi.h, dxgi1_2.h, d3d11.h; "Desktop Duplication API" of Microsoft's documentation.
"""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable, Iterator
from ctypes import wintypes
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from agent.capture.base import NOWHERE, Box, Pixels

if sys.platform != "win32":
    raise ImportError("agent.capture.duplication is for Windows")

from agent.com import ComError, Guid, Interface, released, succeeded

_FACTORY: Final = "770aae78-f26f-4dba-a829-253c83d1b387"
_OUTPUT1: Final = "00cddea8-939b-4b83-a340-a685226666cc"
_TEXTURE: Final = "6f15aaf2-d208-4e89-9ab4-489535d34f9c"

NOT_FOUND: Final = 0x887A0002
WAIT_TIMEOUT: Final = 0x887A0027
_MORE_DATA: Final = 0x887A0003

_BGRA: Final = 87
"""DXGI_FORMAT_B8G8R8A8_UNORM: what DuplicateOutput always gives."""
_DRIVER_UNKNOWN, _SDK_VERSION = 0, 7
_USAGE_STAGING, _CPU_READ, _MAP_READ = 3, 0x20000, 1
_UPRIGHT: Final = (0, 1)
"""DXGI_MODE_ROTATION_UNSPECIFIED and _IDENTITY."""
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


class _TextureDescription(ctypes.Structure):
    _fields_ = tuple(
        (name, wintypes.UINT)
        for name in (
            "Width", "Height", "MipLevels", "ArraySize", "Format", "SampleCount", "SampleQuality",
            "Usage", "BindFlags", "CPUAccessFlags", "MiscFlags",
        )
    )  # fmt: skip


class _TextureBox(ctypes.Structure):
    _fields_ = tuple(
        (name, wintypes.UINT) for name in ("left", "top", "front", "right", "bottom", "back")
    )


class _Mapped(ctypes.Structure):
    _fields_ = (
        ("pData", ctypes.c_void_p),
        ("RowPitch", wintypes.UINT),
        ("DepthPitch", wintypes.UINT),
    )


class Unsuitable(Exception):
    """This output cannot be duplicated, whenever it is tried; the text says why."""


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


@dataclass(frozen=True, slots=True)
class Update:
    """What a wait for the next picture found."""

    changed: Box
    """In the picture's own pixels; NOWHERE when only the pointer moved."""
    pointer: bool
    """The pointer moved, or got another shape or visibility; it is not in the picture."""
    presented: bool
    """The desktop's picture is another one than before."""


class Duplication:
    """One output's duplication. Used and closed by one thread."""

    def __init__(self, library: Library, name: str) -> None:
        """`name` is that of a monitor, such as DISPLAY1. Raises Unsuitable, ComError."""
        self.number: tuple[int, int]
        """Which graphics card it is of, and which of that one's outputs."""
        self._held = False
        self._owned: list[Interface] = []
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
        self._device, self._context = self._create_device(library, adapter)
        # IDXGIOutput1::DuplicateOutput
        with released(output.queried(_OUTPUT1)) as output1:
            self._duplication = self._own(output1.made(22, self._device.pointer))
        description = _DuplicationDescription()
        self._duplication.call(7, ctypes.pointer(description))  # GetDesc
        self.size = (description.Width, description.Height)
        self._staging = self._own(self._create_staging())

    def _own(self, interface: Interface) -> Interface:
        self._owned.append(interface)
        return interface

    def _create_device(self, library: Library, adapter: Interface) -> tuple[Interface, Interface]:
        """On the adapter that the monitor is plugged into: no other one can duplicate it."""
        device, context = ctypes.c_void_p(), ctypes.c_void_p()
        succeeded(
            library.create_device(
                adapter.pointer, _DRIVER_UNKNOWN, None, wintypes.UINT(0), None, wintypes.UINT(0),
                wintypes.UINT(_SDK_VERSION), ctypes.byref(device), None, ctypes.byref(context),
            )
        )  # fmt: skip
        return self._own(Interface(device)), self._own(Interface(context))

    def _create_staging(self) -> Interface:
        """ID3D11Device::CreateTexture2D of memory that the CPU can read."""
        width, height = self.size
        wanted = _TextureDescription(
            width, height, 1, 1, _BGRA, 1, 0, _USAGE_STAGING, 0, _CPU_READ, 0
        )  # fmt: skip
        return self._device.made(5, ctypes.pointer(wanted), ctypes.c_void_p())

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
                self._copy(picture, changed)
        return Update(changed, told.LastMouseUpdateTime != 0, told.LastPresentTime != 0)

    def read(self, place: Box, into: Pixels) -> None:
        """Copy a part of the picture to the same part of `into`. Raises ComError."""
        mapped = _Mapped()
        self._context.checked(
            14, self._staging.pointer, wintypes.UINT(0), ctypes.c_int(_MAP_READ), wintypes.UINT(0),
            ctypes.pointer(mapped),
        )  # fmt: skip
        try:
            size_bytes = (self.size[1] - 1) * mapped.RowPitch + self.size[0] * 4
            memory = (ctypes.c_uint8 * size_bytes).from_address(mapped.pData)
            shape, strides = (self.size[1], self.size[0], 4), (mapped.RowPitch, 4, 1)
            picture = np.ndarray(shape, np.uint8, memory, 0, strides)
            part = np.s_[place.top : place.bottom, place.left : place.right]
            into[part] = picture[part]
        finally:
            self._context.call(15, self._staging.pointer, wintypes.UINT(0))  # Unmap

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

    def _copy(self, picture: Interface, place: Box) -> None:
        """ID3D11DeviceContext::CopySubresourceRegion, which does nothing, silently, where the formats differ."""
        with released(picture.queried(_TEXTURE)) as texture:
            told = _TextureDescription()
            texture.call(10, ctypes.pointer(told))  # GetDesc
            if (told.Width, told.Height, told.Format) != (*self.size, _BGRA):
                raise Unsuitable(
                    f"its pictures are {told.Width}x{told.Height} of format {told.Format}"
                )
            box = _TextureBox(place.left, place.top, 0, place.right, place.bottom, 1)
            number = wintypes.UINT
            self._context.call(
                46, self._staging.pointer, number(0), number(place.left), number(place.top), number(0),
                texture.pointer, number(0), ctypes.pointer(box),
            )  # fmt: skip


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
