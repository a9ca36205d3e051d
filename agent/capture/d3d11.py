"""Direct3D 11 as far as captures need it: a picture of the graphics card's, copied to memory that the CPU reads.

Source: Windows SDK d3d11.h.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from ctypes import wintypes
from dataclasses import dataclass
from typing import Final

import numpy as np

from agent.capture.base import Box, Pixels

if sys.platform != "win32":
    raise ImportError("agent.capture.d3d11 is for Windows")

from agent.com import Interface, released, succeeded

TEXTURE: Final = "6f15aaf2-d208-4e89-9ab4-489535d34f9c"
BGRA: Final = 87
"""DXGI_FORMAT_B8G8R8A8_UNORM, by WinRT's name DirectXPixelFormat.B8G8R8A8UIntNormalized."""
_DRIVER_UNKNOWN, _DRIVER_HARDWARE, _SDK_VERSION = 0, 1, 7
_BGRA_SUPPORT: Final = 0x20
_USAGE_STAGING, _CPU_READ, _MAP_READ = 3, 0x20000, 1


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
    """This source gives no pictures that can be shown, or none any more; the text says why."""


@dataclass(frozen=True, slots=True)
class Update:
    """What a wait for the next picture found."""

    changed: Box
    """In the picture's own pixels; NOWHERE when only the pointer moved."""
    pointer: bool
    """The pointer moved, or got another shape or visibility; it is not in the picture."""
    presented: bool
    """The source's picture is another one than before."""


def create_device(create: Callable[..., int], adapter: Interface | None) -> list[Interface]:
    """A device and its context, by D3D11CreateDevice, on an adapter or on Windows's choice. Raises ComError."""
    device, context = ctypes.c_void_p(), ctypes.c_void_p()
    kind, flags = (_DRIVER_UNKNOWN, 0) if adapter is not None else (_DRIVER_HARDWARE, _BGRA_SUPPORT)
    succeeded(
        create(
            None if adapter is None else adapter.pointer, kind, None, wintypes.UINT(flags), None,
            wintypes.UINT(0), wintypes.UINT(_SDK_VERSION), ctypes.byref(device), None,
            ctypes.byref(context),
        )
    )  # fmt: skip
    return [Interface(device), Interface(context)]


class Copy:
    """The newest picture of a source of one size, in memory that the CPU can read. Used by one thread."""

    def __init__(self, device: Interface, context: Interface, size: tuple[int, int]) -> None:
        """Both must outlive it. Raises ComError."""
        self._context = context
        self._size = width, height = size
        wanted = _TextureDescription(
            width, height, 1, 1, BGRA, 1, 0, _USAGE_STAGING, 0, _CPU_READ, 0
        )  # fmt: skip
        # ID3D11Device::CreateTexture2D
        self._staging = device.made(5, ctypes.pointer(wanted), ctypes.c_void_p())

    def take(self, picture: Interface, place: Box) -> None:
        """Take a part of the card's picture over. Raises Unsuitable, ComError.

        ID3D11DeviceContext::CopySubresourceRegion does nothing, silently, where the formats differ.
        """
        with released(picture.queried(TEXTURE)) as texture:
            told = _TextureDescription()
            texture.call(10, ctypes.pointer(told))  # GetDesc
            if (told.Width, told.Height, told.Format) != (*self._size, BGRA):
                raise Unsuitable(
                    f"its pictures are {told.Width}x{told.Height} of format {told.Format}"
                )
            box = _TextureBox(place.left, place.top, 0, place.right, place.bottom, 1)
            number = wintypes.UINT
            self._context.call(
                46, self._staging.pointer, number(0), number(place.left), number(place.top), number(0),
                texture.pointer, number(0), ctypes.pointer(box),
            )  # fmt: skip

    def read(self, place: Box, into: Pixels) -> None:
        """Copy a part of the picture to the same part of `into`. Raises ComError."""
        mapped = _Mapped()
        self._context.checked(
            14, self._staging.pointer, wintypes.UINT(0), ctypes.c_int(_MAP_READ), wintypes.UINT(0),
            ctypes.pointer(mapped),
        )  # fmt: skip
        try:
            width, height = self._size
            size_bytes = (height - 1) * mapped.RowPitch + width * 4
            memory = (ctypes.c_uint8 * size_bytes).from_address(mapped.pData)
            strides = (mapped.RowPitch, 4, 1)
            picture = np.ndarray((height, width, 4), np.uint8, memory, 0, strides)
            part = np.s_[place.top : place.bottom, place.left : place.right]
            into[part] = picture[part]
        finally:
            self._context.call(15, self._staging.pointer, wintypes.UINT(0))  # Unmap

    def release(self) -> None:
        """Give the memory back; once."""
        self._staging.release()
