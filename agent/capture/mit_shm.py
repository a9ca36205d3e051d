"""The MIT-SHM extension for python-xlib: pictures come through shared memory instead of the socket.

Source: "The MIT Shared Memory Extension" (X.Org, xextproto shm), protocol version 1.1.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from struct import Struct
from typing import Final

import numpy as np
from Xlib import X
from Xlib.protocol import rq

from agent.capture.base import Box, Pixels

EXTENSION_NAME = "MIT-SHM"

_IPC_PRIVATE = 0
_IPC_CREAT = 0o1000
_IPC_RMID = 0


class Attach(rq.Request):  # type: ignore[misc]
    """Maps a System V segment into the server under the resource id `shmseg`."""

    _request = rq.Struct(
        rq.Card8("opcode"),
        rq.Opcode(1),
        rq.RequestLength(),
        rq.Card32("shmseg"),
        rq.Card32("shmid"),
        rq.Card8("read_only"),
        rq.Pad(3),
    )


_GET_IMAGE: Final = Struct("=BBHIhhHHIB3xII")


def get_image(opcode: int, segment: Segment, drawable: int, place: Box, at_row: int) -> bytes:
    """The request to write this part of a drawable to the segment from one of its rows on."""
    return _GET_IMAGE.pack(
        opcode,
        4,
        _GET_IMAGE.size // 4,
        drawable,
        place.left,
        place.top,
        place.width,
        place.height,
        0xFFFFFFFF,
        X.ZPixmap,
        segment.shmseg,
        at_row * place.width * 4,
    )


def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.shmget.argtypes = [ctypes.c_int, ctypes.c_size_t, ctypes.c_int]
    libc.shmget.restype = ctypes.c_int
    libc.shmat.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
    libc.shmat.restype = ctypes.c_void_p
    libc.shmdt.argtypes = [ctypes.c_void_p]
    libc.shmctl.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_void_p]
    return libc


class Segment:
    """One System V shared-memory segment that holds one BGRA picture.

    The memory is unmapped when the last array over it is gone, so a picture that is still being
    read when its capture closes stays readable.
    """

    def __init__(self, width: int, height: int) -> None:
        """Raises OSError when the kernel gives no segment (kernel.shmmax, kernel.shmall, shmmni)."""
        size_bytes = width * height * 4
        libc = _libc()
        self.shmid: int = libc.shmget(_IPC_PRIVATE, size_bytes, _IPC_CREAT | 0o600)
        if self.shmid < 0:
            raise OSError(ctypes.get_errno(), f"shmget of {size_bytes} bytes")
        self._removed = False
        address = libc.shmat(self.shmid, None, 0)
        if address is None or address == ctypes.c_void_p(-1).value:
            error = ctypes.get_errno()
            self.remove()
            raise OSError(error, f"shmat: {os.strerror(error)}")
        memory = (ctypes.c_uint8 * size_bytes).from_address(address)
        weakref.finalize(memory, libc.shmdt, address).atexit = False
        self.stale = Box(0, 0, width, height)
        """What the screen shows otherwise than `pixels` do."""
        self.pixels: Pixels = np.frombuffer(memoryview(memory), np.uint8).reshape(height, width, 4)
        self.shmseg = 0

    def remove(self) -> None:
        """Mark the segment for removal: the kernel frees it with its last mapping. Idempotent.

        Called as soon as both sides are attached, so that a process killed by any signal leaves
        nothing behind.
        """
        if not self._removed:
            self._removed = True
            _libc().shmctl(self.shmid, _IPC_RMID, None)
