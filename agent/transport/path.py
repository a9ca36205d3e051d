"""The last step of a packet: protected with SRTP and given to the kernel, in place and in bursts where possible."""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from aiortc import RTCDtlsTransport

from agent.rtp.packet import MAX_PACKET_BYTES, RTX_OVERHEAD_BYTES
from agent.transport import private_names
from agent.transport.burst_socket import BurstSocket
from agent.transport.outbox import Outbox

try:
    from pylibsrtp._binding import ffi, lib
except ImportError:  # another pylibsrtp: the portable path does without
    ffi = lib = None

CHUNK_PACKETS: Final = 128
"""How many packets are made at once: a whole frame but for huge key frames, about 150 KB."""
SRTP_TAG_BYTES: Final = {
    b"SRTP_AEAD_AES_256_GCM": 16,
    b"SRTP_AEAD_AES_128_GCM": 16,
    b"SRTP_AES128_CM_SHA1_80": 10,
}
"""RFC 7714 12, RFC 3711 5.2."""
SRTP_WINDOW_PACKETS: Final = 1024
"""What aiortc 1.16 gives libsrtp: it refuses to protect a packet that lies further behind the newest."""
SRTCP_TRAILER_BYTES: Final = 32
COMPONENT: Final = 1
_PROTECT: Final = ctypes.PYFUNCTYPE(ctypes.c_int)
Protect = Callable[[ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p], int]
"""Of a session, a packet and its length, by their addresses: 0, or libsrtp's error. Not by plain numbers: it takes a
third longer to make pointers of those."""


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

    A relayed pair has no socket of its own: there the protected packets go through aioice on the loop.
    """

    def __init__(self, dtls: RTCDtlsTransport, loop: asyncio.AbstractEventLoop) -> None:
        session: Any = dtls._tx_srtp
        self._session = session  # keeps libsrtp's memory alive
        self._handle = ctypes.c_void_p(_address(session._srtp[0]))
        self._protect = protector("srtp_protect")
        self._protect_rtcp = protector("srtp_protect_rtcp")
        self.gap = SRTP_TAG_BYTES[_profile(dtls)]
        size = CHUNK_PACKETS * (MAX_PACKET_BYTES + self.gap)
        packets = (ctypes.c_char * size)()
        self.buffer = memoryview(packets).cast("B")
        self._base = ctypes.addressof(packets)
        single = (ctypes.c_char * (MAX_PACKET_BYTES + RTX_OVERHEAD_BYTES + SRTCP_TRAILER_BYTES))()
        self._single_buffer = memoryview(single).cast("B")
        self._single = ctypes.c_void_p(ctypes.addressof(single))
        self._length = ctypes.c_int()
        self._length_at = ctypes.c_void_p(ctypes.addressof(self._length))
        self._connection: Any = dtls.transport._connection
        self._outbox = Outbox(loop, self._connection.send)
        self._pair: Any = None
        self._socket: BurstSocket | None = None
        self.failed = 0

    @property
    def name(self) -> str:
        if self._socket is None:
            return "relayed" if self._pair else "none"
        return "segmented" if self._socket.segmented else "datagrams"

    def seal(self, placed: Sequence[tuple[int, int]]) -> None:
        protect, handle, base = self._protect, self._handle, self._base
        length, length_at, packet = self._length, self._length_at, ctypes.c_void_p()
        for offset, size in placed:
            length.value = size
            packet.value = base + offset
            if protect(handle, packet, length_at):
                raise RuntimeError(f"libsrtp refused a packet of {size} bytes")

    def send_burst(self, placed: Sequence[tuple[int, int]]) -> None:
        gap = self.gap
        if not self._bind():
            return
        if self._socket is None:
            self._outbox.put([bytes(self.buffer[at : at + size + gap]) for at, size in placed])
        else:
            self.failed += self._socket.send_burst(self.buffer, placed, gap)

    def send_one(self, packet: bytes) -> None:
        self._send_single(packet, self._protect)

    def send_rtcp(self, packet: bytes) -> None:
        self._send_single(packet, self._protect_rtcp)

    def _send_single(self, packet: bytes, protect: Protect) -> None:
        if len(packet) + SRTCP_TRAILER_BYTES > len(self._single_buffer):
            raise ValueError(f"expected a packet of at most one MTU, got {len(packet)} bytes")
        self._single_buffer[: len(packet)] = packet
        self._length.value = len(packet)
        if protect(self._handle, self._single, self._length_at):
            raise RuntimeError(f"libsrtp refused a packet of {len(packet)} bytes")
        if not self._bind():
            return
        protected = self._single_buffer[: self._length.value]
        if self._socket is None:
            self._outbox.put([bytes(protected)])
        elif not self._socket.send_one(protected):
            self.failed += 1

    def _bind(self) -> bool:
        """Follow the selected pair; False while there is none."""
        pair = self._connection._nominated.get(COMPONENT)
        if pair is None:
            return False
        if pair is not self._pair:
            self._release()
            self._pair = None
            if pair.local_candidate.type != "relay":
                try:
                    descriptor = pair.protocol.transport.get_extra_info("socket").fileno()
                    self._socket = BurstSocket(descriptor, pair.remote_addr)
                except OSError:  # the loop is just closing it: the connection ends
                    return False
            self._pair = pair
        return True

    def _release(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def close(self) -> None:
        self._release()
        await self._outbox.close()


def protector(name: str) -> Protect:
    """libsrtp's function of this name, called with the interpreter's lock held.

    cffi's own call gives it up, and a busy thread may then keep it for half a millisecond: for each of a frame's
    packets, which take a microsecond each.
    """
    return _PROTECT(_address(ffi.addressof(lib, name)))


def _address(of: Any) -> int:
    return int(ffi.cast("uintptr_t", of))


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
