"""A WebSocket client (RFC 6455) just big enough that one process can hold two thousand of them."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import Final, cast

KEY: Final = "dGhlIHNhbXBsZSBub25jZQ=="
NO_MASK: Final = b"\0\0\0\0"
"""A mask of zeros is a mask (RFC 6455 5.3), and the payload goes out as it is."""
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
LOST: Final = (1006, "")


class Wire(asyncio.Protocol):
    """One connection: `opened` after the 101, then messages, then `closed` with code and reason."""

    def __init__(self, path: str, host: str, subprotocol: str | None = None) -> None:
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[tuple[int, str]] = loop.create_future()
        self.heard_at = loop.time()
        self.on_text: Callable[[bytes], None] = lambda _: None
        self._loop = loop
        self._rest = b""
        self._transport: asyncio.Transport | None = None
        offered = f"Sec-WebSocket-Protocol: {subprotocol}\r\n" if subprotocol else ""
        self._request = (
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{offered}\r\n"
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of asyncio.Protocol."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request.encode())

    def connection_lost(self, exc: Exception | None) -> None:
        """Part of asyncio.Protocol."""
        self._end(*LOST)

    def data_received(self, data: bytes) -> None:
        """Part of asyncio.Protocol."""
        self.heard_at = self._loop.time()
        data = self._rest + data if self._rest else data
        if not self.opened.done():
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                self._rest = head
                return
            if not head.startswith(b"HTTP/1.1 101"):
                self.abort()
                return
            self.opened.set_result(None)
        at = 0
        while (end_of_frame := self._frame(data, at)) > at:
            at = end_of_frame
        self._rest = data[at:]

    def _frame(self, data: bytes, at: int) -> int:
        """Take the frame at this index; where it ends, or `at` while it is not whole."""
        if len(data) - at < 2:
            return at
        length, begin = data[at + 1], at + 2
        if length >= 126:
            size = 2 if length == 126 else 8
            begin += size
            length = int.from_bytes(data[at + 2 : begin], "big")
        if len(data) < begin or len(data) < begin + length:
            return at
        payload = data[begin : begin + length]
        match data[at] & 0x0F:
            case 1:
                self.on_text(payload)
            case 8:
                code = int.from_bytes(payload[:2], "big") if payload else 1005
                self._write(CLOSE, payload[:2])
                self._end(code, payload[2:].decode())
            case 9:
                self._write(PONG, payload)
        return begin + length

    def send(self, payload: bytes) -> None:
        """Send one text message."""
        self._write(TEXT, payload)

    def ping(self) -> None:
        """Send a ping frame."""
        self._write(PING, b"")

    def close(self) -> None:
        """Close in order, without waiting for the answer."""
        self._write(CLOSE, (1000).to_bytes(2, "big"))
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Drop the connection at once."""
        if self._transport is not None:
            self._transport.abort()
        self._end(*LOST)

    def _write(self, opcode: int, payload: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        length = len(payload)
        if length < 126:
            head = struct.pack("!BB", 0x80 | opcode, 0x80 | length)
        elif length < 1 << 16:
            head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, length)
        else:
            head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, length)
        self._transport.write(head + NO_MASK + payload)

    def _end(self, code: int, reason: str) -> None:
        if not self.closed.done():
            self.closed.set_result((code, reason))
        if not self.opened.done():
            self.opened.set_exception(ConnectionError("closed before the 101"))
            self.opened.exception()  # perhaps nobody waits any more
        if self._transport is not None:
            self._transport.close()


async def dial(wire: Wire, address: tuple[str, int], source: str | None, within_s: float) -> None:
    """Connect, from this source address where one is given; raises OSError or TimeoutError."""
    loop = asyncio.get_running_loop()
    local = None if source is None else (source, 0)
    try:
        async with asyncio.timeout(within_s):
            await loop.create_connection(lambda: wire, *address, local_addr=local)
            await wire.opened
    except BaseException:
        wire.abort()
        raise
