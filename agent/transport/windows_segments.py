"""Many datagrams in one system call on Windows: WSASendMsg with UDP_SEND_MSG_SIZE (since Windows 10 2004).

By a control message of the one call and not as an option of the socket, which the event loop's own
sends share. Used after a send to ourselves has shown that it cuts: what does not know the control
message sends the burst as one datagram.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import socket
import struct
import sys
from ctypes import wintypes
from typing import Final

from agent.transport.sockaddr import sockaddr

if sys.platform != "win32":
    raise ImportError("agent.transport.windows_segments is for Windows")

_UDP_SEND_MSG_SIZE: Final = 2
"""ws2ipdef.h, of the level IPPROTO_UDP."""
_CONTROL: Final = struct.Struct("@NiiI4x")
"""WSACMSGHDR (size_t, int, int), the segment's size, and the padding of WSA_CMSG_SPACE."""
_CONTROL_BYTES: Final = 20
"""WSA_CMSG_LEN: without that padding."""
_TRIAL: Final = (b"a" * 100, b"b" * 100, b"c" * 50)
_TRIAL_LIMIT_S: Final = 0.2

log = logging.getLogger(__name__)


class _Buffer(ctypes.Structure):
    _fields_ = (("len", wintypes.ULONG), ("buf", ctypes.c_void_p))


class _Message(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("namelen", wintypes.INT),
        ("lpBuffers", ctypes.POINTER(_Buffer)),
        ("dwBufferCount", wintypes.ULONG),
        ("Control", _Buffer),
        ("dwFlags", wintypes.ULONG),
    )


_ws2_32: Final = ctypes.PyDLL("ws2_32", use_last_error=True)
"""Called without giving up Python's lock, as in linux_segments. 64-bit Windows has one calling convention."""
_ws2_32.WSASendMsg.argtypes = [
    ctypes.c_size_t, ctypes.POINTER(_Message), wintypes.DWORD, ctypes.POINTER(wintypes.DWORD),
    ctypes.c_void_p, ctypes.c_void_p,
]  # fmt: skip


class SegmentedSender:
    """The bursts of one non-blocking socket to one numeric address; raises OSError where Windows does not cut them."""

    def __init__(self, sock: socket.socket, address: tuple[str, int]) -> None:
        if not work():
            raise OSError("this Windows does not cut bursts")
        self._socket = sock
        self._name = sockaddr(sock.family, address)

    def send(self, run: memoryview, segment: int) -> None:
        """Send a writable buffer, cut into datagrams of `segment` bytes, the last one shorter.

        Raises OSError; BlockingIOError when the socket has no room.
        """
        send(self._socket, run, segment, self._name)


def send(sock: socket.socket, run: memoryview, segment: int | None, name: bytes) -> None:
    """The same to an address in the system's form; None: uncut."""
    content = _Buffer(len(run), ctypes.addressof(ctypes.c_char.from_buffer(run)))
    message = _Message(name, len(name), ctypes.pointer(content), 1)
    if segment is not None:
        parts = (_CONTROL_BYTES, socket.IPPROTO_UDP, _UDP_SEND_MSG_SIZE, segment)
        control = ctypes.create_string_buffer(_CONTROL.pack(*parts), _CONTROL.size)
        message.Control = _Buffer(_CONTROL.size, ctypes.addressof(control))
    sent = wintypes.DWORD()
    if _ws2_32.WSASendMsg(sock.fileno(), message, 0, sent, None, None):
        raise ctypes.WinError(ctypes.get_last_error())


@functools.cache
def work() -> bool:
    """Whether a burst that we send to ourselves arrives cut into its datagrams."""
    try:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        ):
            receiver.bind(("127.0.0.1", 0))
            receiver.settimeout(_TRIAL_LIMIT_S)
            burst = memoryview(bytearray(b"".join(_TRIAL)))
            name = sockaddr(socket.AF_INET, receiver.getsockname())
            send(sender, burst, len(_TRIAL[0]), name)
            arrived = tuple(receiver.recv(2 * len(burst)) for _ in _TRIAL)
    except OSError as error:
        log.info("this Windows does not cut bursts, each packet is a call: %s", error)
        return False
    return arrived == _TRIAL
