"""WebSocket frames, and a socket whose bytes are written, by hand (RFC 6455 5.2)."""

from __future__ import annotations

import asyncio
import struct

from tests.cluster import support
from tests.cluster.support import RunningNode

MASK = b"\x11\x22\x33\x44"
TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10


def frame(payload: bytes, opcode: int = TEXT, *, fin: bool = True, masked: bool = True) -> bytes:
    head = bytes((opcode | (0x80 if fin else 0),))
    bit = 0x80 if masked else 0
    if len(payload) < 126:
        head += bytes((bit | len(payload),))
    elif len(payload) < 65536:
        head += struct.pack("!BH", bit | 126, len(payload))
    else:
        head += struct.pack("!BQ", bit | 127, len(payload))
    if not masked:
        return head + payload
    return head + MASK + bytes(byte ^ MASK[i % 4] for i, byte in enumerate(payload))


class Raw:
    """A WebSocket whose bytes are written by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def request(
        cls, node: RunningNode, room: str = "p", more: str = "", path: str = "/"
    ) -> Raw:
        """Ask for the upgrade, with `more` header lines."""
        reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
        writer.write(
            f"GET {path}?roomId={room} HTTP/1.1\r\nHost: 127.0.0.1:{node.port}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{more}\r\n".encode()
        )
        return cls(reader, writer)

    @classmethod
    async def open(cls, node: RunningNode, room: str = "p") -> Raw:
        raw = await cls.request(node, room)
        assert b" 101 " in await raw.reader.readuntil(b"\r\n\r\n")
        return raw

    async def read(self) -> tuple[int, bytes]:
        """The opcode and payload of the next frame."""
        async with asyncio.timeout(support.LIMIT_S):
            first, length = await self.reader.readexactly(2)
            if length == 126:
                length = int.from_bytes(await self.reader.readexactly(2), "big")
            return first & 15, await self.reader.readexactly(length)
