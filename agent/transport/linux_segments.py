"""Many datagrams in one system call on Linux: sendmsg with UDP_SEGMENT (since 4.18), without giving up Python's lock.

`socket.sendmsg` gives it up. A busy thread takes it then, and may keep it for longer than the whole frame took so far;
the call itself waits for nothing on a non-blocking socket.
"""

from __future__ import annotations

import ctypes
import os
import socket
from typing import Final

from agent.transport.sockaddr import sockaddr

SOL_UDP: Final = 17
UDP_SEGMENT: Final = 103
"""linux/udp.h; one send of many datagrams of equal size, the last one shorter."""


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("len", ctypes.c_size_t))


class _Control(ctypes.Structure):
    """cmsghdr and the segment's size, with the padding of CMSG_SPACE."""

    _fields_ = (
        ("len", ctypes.c_size_t),
        ("level", ctypes.c_int),
        ("type", ctypes.c_int),
        ("segment", ctypes.c_uint16),
        ("padding", ctypes.c_uint8 * (ctypes.sizeof(ctypes.c_size_t) - 2)),
    )


class _Message(ctypes.Structure):
    """msghdr."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("namelen", ctypes.c_uint),
        ("iov", ctypes.POINTER(_Iovec)),
        ("iovlen", ctypes.c_size_t),
        ("control", ctypes.POINTER(_Control)),
        ("controllen", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


_sendmsg: Final = ctypes.PyDLL(None, use_errno=True).sendmsg
_sendmsg.argtypes = [ctypes.c_int, ctypes.POINTER(_Message), ctypes.c_int]
_sendmsg.restype = ctypes.c_ssize_t


class SegmentedSender:
    """The bursts of one non-blocking socket to one numeric address; raises OSError where the kernel cannot cut them."""

    def __init__(self, sock: socket.socket, address: tuple[str, int]) -> None:
        sock.setsockopt(SOL_UDP, UDP_SEGMENT, 0)
        self._descriptor = sock.fileno()
        name = sockaddr(sock.family, address)
        self._content = _Iovec()
        size = _Control.segment.offset + _Control.segment.size
        self._control = _Control(size, SOL_UDP, UDP_SEGMENT)
        content, control = ctypes.pointer(self._content), ctypes.pointer(self._control)
        space = ctypes.sizeof(_Control)
        self._message = _Message(name, len(name), content, 1, control, space)

    def send(self, run: memoryview, segment: int) -> None:
        """Send a writable buffer, cut into datagrams of `segment` bytes, the last one shorter.

        Raises OSError; BlockingIOError when the socket has no room.
        """
        self._content.base = ctypes.addressof(ctypes.c_char.from_buffer(run))
        self._content.len = len(run)
        self._control.segment = segment
        if _sendmsg(self._descriptor, self._message, 0) < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
