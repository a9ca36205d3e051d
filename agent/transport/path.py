"""The last step of a packet: protected with SRTP and given to the kernel, in place and in bursts where possible."""

from __future__ import annotations

import asyncio
import errno
import selectors
import socket
import struct
from collections.abc import Sequence
from typing import Any, Final, Protocol

from aiortc import RTCDtlsTransport

from agent.rtp.packet import MAX_PACKET_BYTES, RTX_OVERHEAD_BYTES
from agent.transport import private_names
from agent.transport.outbox import Outbox

try:
    from pylibsrtp._binding import ffi, lib
except ImportError:  # another pylibsrtp: the portable path does without
    ffi = lib = None

SOL_UDP: Final = 17
UDP_SEGMENT: Final = 103
"""linux/udp.h; one send of many datagrams of equal size, the last one shorter (since Linux 4.18)."""
SEGMENTED_ERRORS: Final = frozenset(
    {errno.EINVAL, errno.EIO, errno.EMSGSIZE, errno.ENOPROTOOPT, errno.EOPNOTSUPP}
)
"""How kernels and drivers without it, or paths with a small MTU, answer a segmented send."""
CHUNK_PACKETS: Final = 128
"""How many packets are made at once: a whole frame but for huge key frames, about 150 KB."""
WRITABLE_TIMEOUT_S: Final = 0.01
SEND_BUFFER_BYTES: Final = 1 << 20
SRTP_TAG_BYTES: Final = {
    b"SRTP_AEAD_AES_256_GCM": 16,
    b"SRTP_AEAD_AES_128_GCM": 16,
    b"SRTP_AES128_CM_SHA1_80": 10,
}
"""RFC 7714 12, RFC 3711 5.2."""
SRTCP_TRAILER_BYTES: Final = 32
COMPONENT: Final = 1


class Path(Protocol):
    """Where packets leave. Called under the sender's lock, from any thread; never waits longer than 10 ms."""

    buffer: memoryview
    """Plain packets are written here, with `gap` bytes free behind each."""
    gap: int

    @property
    def name(self) -> str:
        """How packets leave: segmented, datagrams, relayed, portable, or none yet."""
        ...

    @property
    def failed(self) -> int:
        """Packets that the system refused."""
        ...

    def seal(self, placed: Sequence[tuple[int, int]]) -> None:
        """Protect the packets at (offset, size) of `buffer` in place; they grow into their gaps."""
        ...

    def send_burst(self, placed: Sequence[tuple[int, int]]) -> None:
        """Send some of the sealed packets, named by what they were before: (offset, size)."""
        ...

    def send_one(self, packet: bytes) -> None:
        """Protect and send one RTP packet."""
        ...

    def send_rtcp(self, packet: bytes) -> None:
        """Protect and send one compound RTCP packet."""
        ...

    async def close(self) -> None:
        """Give back sockets and tasks. Idempotent; on the event loop."""
        ...


class PortablePath:
    """aiortc's own way: copies each packet and sends it from the event loop."""

    name = "portable"

    def __init__(self, dtls: RTCDtlsTransport, loop: asyncio.AbstractEventLoop) -> None:
        self.gap = 0
        self.buffer = memoryview(bytearray(CHUNK_PACKETS * MAX_PACKET_BYTES))
        self._outbox = Outbox(loop, dtls._send_rtp)

    @property
    def failed(self) -> int:
        return self._outbox.dropped

    def seal(self, placed: Sequence[tuple[int, int]]) -> None:
        """aiortc protects each packet as it sends it."""

    def send_burst(self, placed: Sequence[tuple[int, int]]) -> None:
        self._outbox.put([bytes(self.buffer[at : at + size]) for at, size in placed])

    def send_one(self, packet: bytes) -> None:
        self._outbox.put([packet])

    send_rtcp = send_one

    async def close(self) -> None:
        await self._outbox.close()


class FastPath:
    """libsrtp in place, then one `sendmsg` for a burst on the selected pair's own socket.

    The socket is a duplicate of the event loop's, so that it stays valid until `close`. A relayed
    pair has no socket of its own: there the protected packets go through aioice on the loop.
    """

    def __init__(self, dtls: RTCDtlsTransport, loop: asyncio.AbstractEventLoop) -> None:
        session: Any = dtls._tx_srtp
        self._session = session  # keeps libsrtp's memory alive
        self._handle = session._srtp[0]
        self._protect = lib.srtp_protect
        self._protect_rtcp = lib.srtp_protect_rtcp
        self.gap = SRTP_TAG_BYTES[_profile(dtls)]
        size = CHUNK_PACKETS * (MAX_PACKET_BYTES + self.gap)
        self._base = ffi.new("char[]", size)
        self.buffer = memoryview(ffi.buffer(self._base, size))
        single = MAX_PACKET_BYTES + RTX_OVERHEAD_BYTES + SRTCP_TRAILER_BYTES
        self._single = ffi.new("char[]", single)
        self._single_buffer = memoryview(ffi.buffer(self._single, single))
        self._length = ffi.new("int *")
        self._connection: Any = dtls.transport._connection
        self._outbox = Outbox(loop, self._connection.send)
        self._pair: Any = None
        self._socket: socket.socket | None = None
        self._address: tuple[str, int] = ("", 0)
        self._segmented = False
        self.failed = 0

    @property
    def name(self) -> str:
        if self._socket is None:
            return "relayed" if self._pair else "none"
        return "segmented" if self._segmented else "datagrams"

    def seal(self, placed: Sequence[tuple[int, int]]) -> None:
        protect, handle, base, length = self._protect, self._handle, self._base, self._length
        for offset, size in placed:
            length[0] = size
            if protect(handle, base + offset, length):
                raise RuntimeError(f"libsrtp refused a packet of {size} bytes")

    def send_burst(self, placed: Sequence[tuple[int, int]]) -> None:
        gap = self.gap
        if not self._bind():
            return
        if self._socket is None:
            self._outbox.put([bytes(self.buffer[at : at + size + gap]) for at, size in placed])
            return
        for start, end, segment in _runs(placed, gap):
            self._send_run(start, end, segment)

    def send_one(self, packet: bytes) -> None:
        self._send_single(packet, self._protect)

    def send_rtcp(self, packet: bytes) -> None:
        self._send_single(packet, self._protect_rtcp)

    def _send_single(self, packet: bytes, protect: Any) -> None:
        if len(packet) + SRTCP_TRAILER_BYTES > len(self._single_buffer):
            raise ValueError(f"expected a packet of at most one MTU, got {len(packet)} bytes")
        self._single_buffer[: len(packet)] = packet
        self._length[0] = len(packet)
        if protect(self._handle, self._single, self._length):
            raise RuntimeError(f"libsrtp refused a packet of {len(packet)} bytes")
        if not self._bind():
            return
        protected = self._single_buffer[: self._length[0]]
        if self._socket is None:
            self._outbox.put([bytes(protected)])
        else:
            self._send_datagram(self._socket, protected, wait=False)

    def _bind(self) -> bool:
        """Follow the selected pair; False while there is none."""
        pair = self._connection._nominated.get(COMPONENT)
        if pair is None:
            return False
        if pair is not self._pair:
            self._release()
            self._pair = None
            self._address = pair.remote_addr
            if pair.local_candidate.type != "relay":
                try:
                    self._open(pair.protocol.transport.get_extra_info("socket").fileno())
                except OSError:  # the loop is just closing it: the connection ends
                    return False
            self._pair = pair
        return True

    def _open(self, descriptor: int) -> None:
        duplicate = socket.socket(fileno=socket.dup(descriptor))
        duplicate.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self._socket = duplicate
        try:
            duplicate.setsockopt(SOL_UDP, UDP_SEGMENT, 0)
        except OSError:
            self._segmented = False
        else:
            self._segmented = hasattr(duplicate, "sendmsg")

    def _release(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send_run(self, start: int, end: int, segment: int) -> None:
        sock = self._socket
        if sock is None:
            return
        if self._segmented and end - start > segment:
            control = [(SOL_UDP, UDP_SEGMENT, struct.pack("=H", segment))]
            try:
                sock.sendmsg([self.buffer[start:end]], control, 0, self._address)
            except BlockingIOError:
                _wait_writable(sock)
            except OSError as error:
                if error.errno not in SEGMENTED_ERRORS:
                    self.failed += -(-(end - start) // segment)
                    return
                self._segmented = False
            else:
                return
        for at in range(start, end, segment):
            self._send_datagram(sock, self.buffer[at : min(at + segment, end)], wait=True)

    def _send_datagram(self, sock: socket.socket, packet: memoryview, *, wait: bool) -> None:
        try:
            try:
                sock.sendto(packet, self._address)
            except BlockingIOError:
                if wait and _wait_writable(sock):
                    sock.sendto(packet, self._address)
                else:
                    self.failed += 1
        except OSError:
            # No route at the moment: the packet is lost like on any network; ICE consent decides.
            self.failed += 1

    async def close(self) -> None:
        self._release()
        await self._outbox.close()


def _wait_writable(sock: socket.socket) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_WRITE)
        return bool(selector.select(WRITABLE_TIMEOUT_S))


def _runs(placed: Sequence[tuple[int, int]], gap: int) -> list[tuple[int, int, int]]:
    """Neighbours of equal size, the last one shorter perhaps: (start, end, segment size) of each."""
    runs: list[tuple[int, int, int]] = []
    start, segment = placed[0][0], placed[0][1] + gap
    end = start
    for offset, plain in placed:
        size = plain + gap
        if size > segment or (end - start and (end - start) % segment):
            runs.append((start, end, segment))
            start, segment = offset, size
        end = offset + size
    runs.append((start, end, segment))
    return runs


def _profile(dtls: RTCDtlsTransport) -> bytes:
    ssl: Any = dtls._ssl
    return bytes(ssl.get_selected_srtp_profile())


def open_path(
    dtls: RTCDtlsTransport, loop: asyncio.AbstractEventLoop, *, portable: bool = False
) -> Path:
    """The fast path where every private name that it needs is there, else the portable one."""
    owners = {
        "RTCDtlsTransport": dtls,
        "Connection": dtls.transport._connection,
        "Session": getattr(dtls, "_tx_srtp", None),
    }
    if portable or ffi is None or private_names.missing(owners, fast=True):
        return PortablePath(dtls, loop)
    if _profile(dtls) not in SRTP_TAG_BYTES:
        return PortablePath(dtls, loop)
    return FastPath(dtls, loop)
