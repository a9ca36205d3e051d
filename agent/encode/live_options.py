"""Changes options of an open FFmpeg encoder, which PyAV has no call for.

PyAV 18.1 keeps its `AVCodecContext *` right after the object header and the method table. The
pointer is used only after its AVClass name was read and verified, through /proc/self/mem, where a
wrong address is an error and not a crash. Where any of it does not hold, `LiveOptions.of` returns
None and the caller opens the encoder again.
"""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path

import av

_POINTER_OFFSET = 24
"""PyObject_HEAD (16 bytes on 64-bit CPython without free threading) and Cython's method table (8)."""

_CLASS_NAME = b"AVCodecContext\0"


class LiveOptions:
    """The options of one open codec context. Used from the thread that encodes, between pictures."""

    def __init__(self, context: av.CodecContext, address: int, libavutil: ctypes.CDLL) -> None:
        self._context = context
        self._address = address
        self._set_int = libavutil.av_opt_set_int
        self._set_int.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int64, ctypes.c_int]
        self._set_int.restype = ctypes.c_int

    @classmethod
    def of(cls, context: av.CodecContext) -> LiveOptions | None:
        """The options of `context`, or None when its memory is not laid out as expected."""
        libavutil = _loaded_libavutil()
        if libavutil is None:
            return None
        try:
            with open("/proc/self/mem", "rb", buffering=0) as memory:
                address = _read_pointer(memory.fileno(), id(context) + _POINTER_OFFSET)
                av_class = _read_pointer(memory.fileno(), address)
                name_at = _read_pointer(memory.fileno(), av_class)
                name = os.pread(memory.fileno(), len(_CLASS_NAME), name_at)
        except (OSError, OverflowError, struct.error):
            return None
        if name != _CLASS_NAME:
            return None
        return cls(context, address, libavutil)

    def set(self, name: str, value: int) -> bool:
        """Set an integer option; False when FFmpeg refuses it."""
        return int(self._set_int(self._address, name.encode(), value, 0)) >= 0


def _read_pointer(memory_fd: int, address: int) -> int:
    return int(struct.unpack("P", os.pread(memory_fd, struct.calcsize("P"), address))[0])


def _loaded_libavutil() -> ctypes.CDLL | None:
    """The libavutil that PyAV itself runs on, among this process's mappings (OpenCV has its own)."""
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return None
    loaded = {line.split(maxsplit=5)[5] for line in lines if "/libavutil" in line}
    beside_pyav = str(Path(av.__file__).parent)
    own = [path for path in loaded if path.startswith(beside_pyav)] or list(loaded)
    return ctypes.CDLL(own[0]) if len(own) == 1 else None
