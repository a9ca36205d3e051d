"""The libx264 that PyAV carries, called without FFmpeg between: one picture in at a quantiser given, one unit out.

FFmpeg's wrapper hands no quantiser on; with one, x264 need not look at a picture before it encodes it, which takes
a quarter to two fifths of its time. Layouts are those of x264.h, X264_BUILD 165, and used with no other build.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Mapping
from ctypes import POINTER, byref, c_char_p, c_double, c_int, c_int64, c_uint32, c_void_p, sizeof
from functools import cache
from pathlib import Path
from typing import ClassVar, Final

import av
import numpy as np

from agent.capture.base import Box, Pixels
from agent.encode.base import EncoderUnavailable
from agent.encode.quantiser import COARSEST, FINEST

BUILD: Final = 165
_PARAMETERS_BYTES: Final = 8192
"""More than x264_param_t has in any build."""
_TYPE_IDR: Final = 1
_MBINFO_CONSTANT: Final = 1
_MACROBLOCK: Final = 16
_CSP_I420: Final = 2
_OTHER_LAYOUT: Final = "libx264's parameters are not laid out as expected"


class _Head(ctypes.Structure):
    """The beginning of x264_param_t, as far as the size of the picture, which has no name to set it by."""

    _fields_: ClassVar = [
        ("cpu", c_uint32),
        ("threads", c_int * 6),
        ("width", c_int),
        ("height", c_int),
        ("csp", c_int),
        ("bitdepth", c_int),
        ("level_idc", c_int),
    ]


class _Nal(ctypes.Structure):
    """x264_nal_t; the payloads of one picture's lie one behind the other."""

    _fields_: ClassVar = [
        ("kind", c_int * 5),
        ("size", c_int),
        ("payload", c_void_p),
        ("padding", c_int),
    ]


class _Picture(ctypes.Structure):
    """x264_picture_t with its x264_image_properties_t."""

    _fields_: ClassVar = [
        ("type", c_int),
        ("qpplus1", c_int),
        ("structure", c_int),
        ("keyframe", c_int),
        ("pts", c_int64),
        ("dts", c_int64),
        ("parameters", c_void_p),
        ("csp", c_int),
        ("planes", c_int),
        ("stride", c_int * 4),
        ("plane", c_void_p * 4),
        ("quantiser_offsets", c_void_p * 2),
        ("mb_info", c_void_p),
        ("mb_info_free", c_void_p),
        ("quality", c_double * 6),
        ("timing", c_double * 4),
        ("sei", c_void_p * 3),
        ("opaque", c_void_p),
        ("spare", c_double * 32),
    ]


@cache
def _library() -> ctypes.CDLL:
    """Raises EncoderUnavailable."""
    paths = _beside_pyav()
    if len(paths) != 1:
        raise EncoderUnavailable(
            f"PyAV {av.__version__} carries {len(paths)} libraries named libx264, expected one"
        )
    try:
        library = ctypes.CDLL(str(paths[0]))
        encoder_open = getattr(library, f"x264_encoder_open_{BUILD}")
    except (OSError, AttributeError) as problem:
        raise EncoderUnavailable(
            f"the libx264 of PyAV {av.__version__} is not build {BUILD}: {problem}"
        ) from problem
    encoder_open.restype = c_void_p
    encoder_open.argtypes = [c_void_p]
    library.x264_param_default.argtypes = [c_void_p]
    library.x264_param_default_preset.argtypes = [c_void_p, c_char_p, c_char_p]
    library.x264_param_parse.argtypes = [c_void_p, c_char_p, c_char_p]
    library.x264_param_apply_profile.argtypes = [c_void_p, c_char_p]
    library.x264_param_cleanup.argtypes = [c_void_p]
    library.x264_picture_init.argtypes = [POINTER(_Picture)]
    library.x264_encoder_encode.argtypes = [
        c_void_p,
        POINTER(POINTER(_Nal)),
        POINTER(c_int),
        POINTER(_Picture),
        POINTER(_Picture),
    ]
    library.x264_encoder_close.argtypes = [c_void_p]
    return library


def _beside_pyav() -> list[Path]:
    """Where PyAV's wheels keep their libraries; a PyAV of the system's has none there."""
    folder = Path(av.__file__).parent.with_name("av.libs")
    pattern = "libx264*.dll" if sys.platform == "win32" else "libx264*.so*"
    return list(folder.glob(pattern))


@cache
def _mb_info_offset(library: ctypes.CDLL) -> int:
    """Of b_mb_info in x264_param_t: it has no name to set it by, but lies between two that have.

    Raises EncoderUnavailable.
    """
    at, end = (
        _offset(library, name, value) for name, value in (("psy", "0"), ("deadzone-inter", "7"))
    )
    if end - at != 3 * sizeof(c_int):
        raise EncoderUnavailable(_OTHER_LAYOUT)
    return at + sizeof(c_int)


def _offset(library: ctypes.CDLL, name: str, value: str) -> int:
    """Where in x264_param_t this option is: where setting it changes a byte."""
    before, after = (ctypes.create_string_buffer(_PARAMETERS_BYTES) for _ in range(2))
    for parameters in (before, after):
        library.x264_param_default(parameters)
    library.x264_param_parse(after, name.encode(), value.encode())
    pairs = zip(before.raw, after.raw, strict=True)
    changed = next((at for at, (one, other) in enumerate(pairs) if one != other), 0)
    return changed // sizeof(c_int) * sizeof(c_int)


class Libx264:
    """One open encoder with a constant quantiser that each picture may replace. Used from one thread."""

    def __init__(
        self, width: int, height: int, preset: str, profile: str, options: Mapping[str, str]
    ) -> None:
        """`options` by the names of x264's command line. Raises EncoderUnavailable."""
        self._library = library = _library()
        self._encoder: c_void_p | None = None
        parameters = ctypes.create_string_buffer(_PARAMETERS_BYTES)
        library.x264_param_default_preset(parameters, preset.encode(), b"zerolatency")
        head = _Head.from_buffer(parameters)
        if (head.width, head.height, head.csp, head.bitdepth) != (0, 0, _CSP_I420, 8):
            raise EncoderUnavailable(_OTHER_LAYOUT)
        head.width, head.height = width, height
        c_int.from_buffer(parameters, _mb_info_offset(library)).value = 1
        # The ratios of key frames and others open the whole range to the quantisers that pictures are given.
        constant = {
            "qp": "30",
            "ipratio": "10",
            "pbratio": "11.5",
            "keyint": "infinite",
            "log": "0",
        }
        try:
            for name, value in {**constant, **options}.items():
                if library.x264_param_parse(parameters, name.encode(), value.encode()):
                    raise EncoderUnavailable(f"libx264 does not know {name}={value}")
            library.x264_param_apply_profile(parameters, profile.encode())
            address = getattr(library, f"x264_encoder_open_{BUILD}")(parameters)
        finally:
            library.x264_param_cleanup(parameters)
        if not address:
            raise EncoderUnavailable(f"libx264 cannot encode {width}x{height}")
        self._encoder = c_void_p(address)
        self._picture, self._coded = _Picture(), _Picture()
        library.x264_picture_init(byref(self._picture))
        self._picture.csp, self._picture.planes = _CSP_I420, 3
        self._size = width, height
        self._constant = np.zeros((-(-height // _MACROBLOCK), -(-width // _MACROBLOCK)), np.uint8)
        self.macroblocks = self._constant.size
        self._picture.mb_info = self._constant.ctypes.data
        self._units, self._count = POINTER(_Nal)(), c_int()

    def hint(self, changed: Box | None) -> None:
        """The next picture is as the one before outside of `changed`, in pixels; None: nowhere for sure."""
        if changed is None:
            self._constant[:] = 0
            return
        top, bottom, left, right = (
            edge // _MACROBLOCK
            for edge in (
                changed.top,
                changed.bottom + _MACROBLOCK - 1,
                changed.left,
                changed.right + _MACROBLOCK - 1,
            )
        )
        self._constant[:] = _MBINFO_CONSTANT
        self._constant[top:bottom, left:right] = 0

    def encode(self, planes: Pixels, quantiser: int, *, keyframe: bool) -> bytes:
        """The access unit of an I420 picture (3/2 height, width). Raises EncoderUnavailable."""
        if self._encoder is None:
            raise EncoderUnavailable("libx264 is closed")
        width, height = self._size
        if planes.shape != (height * 3 // 2, width) or not planes.flags.c_contiguous:
            raise EncoderUnavailable(f"expected a picture of {width}x{height}, got {planes.shape}")
        picture = self._picture
        luma = planes.ctypes.data
        picture.plane[:3] = (luma, luma + width * height, luma + width * height * 5 // 4)
        picture.stride[:3] = (width, width // 2, width // 2)
        picture.type = _TYPE_IDR if keyframe else 0
        picture.qpplus1 = min(max(quantiser, FINEST), COARSEST) + 1
        size = self._library.x264_encoder_encode(
            self._encoder,
            byref(self._units),
            byref(self._count),
            byref(picture),
            byref(self._coded),
        )
        picture.pts += 1
        if size <= 0:
            raise EncoderUnavailable(f"libx264 gave no unit for a picture ({size})")
        return ctypes.string_at(self._units[0].payload, size)

    def close(self) -> None:
        """Idempotent."""
        if self._encoder is not None:
            self._library.x264_encoder_close(self._encoder)
            self._encoder = None

    def __del__(self) -> None:
        if getattr(self, "_encoder", None) is not None:
            self.close()
