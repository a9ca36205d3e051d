"""The selected pair's socket: a burst of packets leaves in few system calls, and within a limited time."""

from __future__ import annotations

import errno
import selectors
import socket
import struct
import sys
import time
from collections.abc import Sequence
from typing import Final, cast

if sys.platform == "win32":
    from agent.transport import windows_segments

SOL_UDP: Final = 17
UDP_SEGMENT: Final = 103
"""linux/udp.h; one send of many datagrams of equal size, the last one shorter (since Linux 4.18)."""
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
        self.segmented = False
        """Whether a burst is one system call."""
        if sys.platform == "win32":
            self.segmented = windows_segments.work()
            return
        try:
            self._socket.setsockopt(SOL_UDP, UDP_SEGMENT, 0)
        except OSError:
            return
        self.segmented = hasattr(self._socket, "sendmsg")

    def send_burst(self, buffer: memoryview, placed: Sequence[tuple[int, int]]) -> int:
        """Send the packets at (offset, size) of `buffer`; return how many were not taken."""
        deadline = time.monotonic() + WRITABLE_TIMEOUT_S
        return sum(
            self._send_run(buffer[start:end], segment, deadline)
            for start, end, segment in _runs(placed)
        )

    def send_one(self, packet: memoryview) -> bool:
        """Send one packet without waiting; False when it was not taken."""
        return self._send_datagram(packet, 0.0)

    def close(self) -> None:
        """Give the duplicate back. Idempotent."""
        self._socket.close()

    def _send_run(self, run: memoryview, segment: int, deadline: float) -> int:
        if self.segmented and len(run) > segment:
            try:
                self._send_segmented(run, segment)
            except BlockingIOError:
                self._wait(deadline)
            except OSError as error:
                if error.errno not in SEGMENTED_ERRORS:
                    return -(-len(run) // segment)
                self.segmented = False
            else:
                return 0
        packets = (run[at : at + segment] for at in range(0, len(run), segment))
        return sum(not self._send_datagram(packet, deadline) for packet in packets)

    def _send_segmented(self, run: memoryview, segment: int) -> None:
        if sys.platform == "win32":
            address = cast(tuple[str, int], self._address)  # Python has no unix sockets there
            windows_segments.send(self._socket, run, segment, address)
        else:
            control = [(SOL_UDP, UDP_SEGMENT, struct.pack("=H", segment))]
            self._socket.sendmsg([run], control, 0, self._address)

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


def _runs(placed: Sequence[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Neighbours of equal size, the last one shorter perhaps: (start, end, segment size) of each."""
    runs: list[tuple[int, int, int]] = []
    start, segment = placed[0]
    end = start
    for offset, size in placed:
        if size > segment or (end - start and (end - start) % segment):
            runs.append((start, end, segment))
            start, segment = offset, size
        end = offset + size
    runs.append((start, end, segment))
    return runs
