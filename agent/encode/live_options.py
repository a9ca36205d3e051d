"""Changes options of an open FFmpeg encoder, which PyAV has no call for.

PyAV 18.1 keeps its `AVCodecContext *` right after the object header and the method table. The
pointer is used only after its AVClass name was read and verified, in a way where a wrong address is
an error and not a crash: /proc/self/mem, on Windows ReadProcessMemory. Where any of it does not hold,
`LiveOptions.of` returns None and the caller opens the encoder again.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
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
        libavutil = loaded_libavutil()
        if libavutil is None:
            return None
        try:
            address = read_pointer(id(context) + _POINTER_OFFSET)
            av_class = read_pointer(address)
            name = read_memory(read_pointer(av_class), len(_CLASS_NAME))
        except (OSError, OverflowError, struct.error):
            return None
        if name != _CLASS_NAME:
            return None
        return cls(context, address, libavutil)

    def set(self, name: str, value: int) -> bool:
        """Set an integer option; False when FFmpeg refuses it."""
        return int(self._set_int(self._address, name.encode(), value, 0)) >= 0


def read_pointer(address: int) -> int:
    return int(struct.unpack("P", read_memory(address, struct.calcsize("P")))[0])


def read_memory(address: int, size: int) -> bytes:
    """Bytes of this process. Raises OSError or OverflowError for an address that has none."""
    if sys.platform == "win32":
        content = ctypes.create_string_buffer(size)
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        this_process = ctypes.c_void_p(-1)  # what GetCurrentProcess returns
        if not kernel.ReadProcessMemory(
            this_process, ctypes.c_void_p(address), content, ctypes.c_size_t(size), None
        ):
            raise ctypes.WinError(ctypes.get_last_error())
        return content.raw
    with open("/proc/self/mem", "rb", buffering=0) as memory:
        return os.pread(memory.fileno(), size, address)


def loaded_libavutil() -> ctypes.CDLL | None:
    """The libavutil that PyAV itself runs on, not another one of this process (OpenCV has its own)."""
    if sys.platform == "win32":
        # Its wheels name it by a digest, beside the package; once loaded it is found again.
        names = list(Path(av.__file__).parent.with_name("av.libs").glob("avutil-*.dll"))
        return ctypes.CDLL(str(names[0])) if len(names) == 1 else None
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return None
    loaded = {line.split(maxsplit=5)[5] for line in lines if "/libavutil" in line}
    beside_pyav = str(Path(av.__file__).parent)
    own = [path for path in loaded if path.startswith(beside_pyav)] or list(loaded)
    return ctypes.CDLL(own[0]) if len(own) == 1 else None
