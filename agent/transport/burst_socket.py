"""The selected pair's socket: a burst of packets leaves in few system calls, and within a limited time."""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
import sys
import time
from collections.abc import Sequence
from typing import Final

if sys.platform == "win32":
    from agent.transport.windows_segments import SegmentedSender
else:
    from agent.transport.linux_segments import SegmentedSender

MAX_SEGMENTS: Final = 48
"""In one send: old kernels take 64, and all of them 64 KB."""
SEGMENTED_ERRORS: Final = frozenset(
    {errno.EINVAL, errno.EIO, errno.EMSGSIZE, errno.ENOPROTOOPT, errno.EOPNOTSUPP}
)
"""How kernels and drivers without it, or paths with a small MTU, answer a segmented send."""
WRITABLE_TIMEOUT_S: Final = 0.01
"""How long a burst waits in all for room in a full socket: audio and RTCP wait behind it."""
SEND_BUFFER_BYTES: Final = 1 << 20


class BurstSocket:
    """A duplicate of a non-blocking socket, so that it stays valid until `close`; for one thread at a time.

    What the system does not take is lost like on any network: there may be no route at the moment,
    and ICE consent decides about the connection.
    """

    def __init__(self, descriptor: int, address: tuple[str, int] | str) -> None:
        self._socket = socket.socket(fileno=socket.dup(descriptor))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self._address = address
        self._segments: SegmentedSender | None = None
        if isinstance(address, tuple):
            with contextlib.suppress(OSError):
                self._segments = SegmentedSender(self._socket, address)

    @property
    def segmented(self) -> bool:
        """Whether a burst is one system call."""
        return self._segments is not None

    def send_burst(
        self, buffer: memoryview, placed: Sequence[tuple[int, int]], grown: int = 0
    ) -> int:
        """Send the packets at (offset, size) of `buffer`, each `grown` bytes longer; return how many were not taken."""
        deadline = time.monotonic() + WRITABLE_TIMEOUT_S
        return sum(
            self._send_run(buffer[start:end], segment, deadline)
            for start, end, segment in _runs(placed, grown)
        )

    def send_one(self, packet: memoryview) -> bool:
        """Send one packet without waiting; False when it was not taken."""
        return self._send_datagram(packet, 0.0)

    def close(self) -> None:
        """Give the duplicate back. Idempotent."""
        self._socket.close()

    def _send_run(self, run: memoryview, segment: int, deadline: float) -> int:
        if self._segments is not None and len(run) > segment:
            try:
                self._segments.send(run, segment)
            except BlockingIOError:
                self._wait(deadline)
            except OSError as error:
                if error.errno not in SEGMENTED_ERRORS:
                    return -(-len(run) // segment)
                self._segments = None
            else:
                return 0
        packets = (run[at : at + segment] for at in range(0, len(run), segment))
        return sum(not self._send_datagram(packet, deadline) for packet in packets)

    def _send_datagram(self, packet: memoryview, deadline: float) -> bool:
        try:
            try:
                self._socket.sendto(packet, self._address)
            except BlockingIOError:
                if not self._wait(deadline):
                    return False
                self._socket.sendto(packet, self._address)
        except OSError:
            return False
        return True

    def _wait(self, deadline: float) -> bool:
        left_s = deadline - time.monotonic()
        return left_s > 0 and _becomes_writable(self._socket, left_s)


def _becomes_writable(sock: socket.socket, timeout_s: float) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_WRITE)
        return bool(selector.select(timeout_s))


def _runs(placed: Sequence[tuple[int, int]], grown: int) -> list[tuple[int, int, int]]:
    """What one send takes each: neighbours of equal size, the last one shorter perhaps: (start, end, segment size)."""
    runs: list[tuple[int, int, int]] = []
    start, segment = placed[0][0], placed[0][1] + grown
    end = start
    for offset, plain in placed:
        size = plain + grown
        so_far = end - start
        if size > segment or so_far % segment or so_far == MAX_SEGMENTS * segment:
            runs.append((start, end, segment))
            start, segment = offset, size
        end = offset + size
    runs.append((start, end, segment))
    return runs
