"""The edge's own framing: whole, byte by byte, fragmented, and wrong frames (RFC 6455 5)."""

from __future__ import annotations

import asyncio
import itertools
import json
import struct

import pytest

from cluster import websocket
from cluster.websocket import FRAGMENTS, Connection
from tests.cluster import support
from tests.cluster.support import RunningNode, plain, receive

MASK = b"\x11\x22\x33\x44"
OFFER = {"type": "offer", "sdp": "v=0 é"}
TEXT, BINARY, CONTINUATION, CLOSE, PING = 1, 2, 0, 8, 9


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
    async def request(cls, node: RunningNode, room: str = "p", more: str = "") -> Raw:
        """Ask for the upgrade, with `more` header lines."""
        reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
        writer.write(
            f"GET /?roomId={room} HTTP/1.1\r\nHost: 127.0.0.1:{node.port}\r\n"
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


async def test_frames_arrive_however_the_stream_is_cut(node: RunningNode) -> None:
    raw, other = await Raw.open(node), await plain(node.url)
    text = json.dumps(OFFER, ensure_ascii=False).encode()
    big = {"type": "control", "action": "a", "payload": "x" * 70_000}
    long = json.dumps(big).encode()
    for byte in frame(text):
        raw.writer.write(bytes((byte,)))
        await raw.writer.drain()
        await asyncio.sleep(0)
    assert await receive(other) == OFFER
    stream = frame(text) + frame(long) + frame(text) + frame(text)
    cuts = (0, 1, 7, len(frame(text)) + 3, 60_000, len(stream) - 5, len(stream))
    for start, end in itertools.pairwise(cuts):
        raw.writer.write(stream[start:end])
        await raw.writer.drain()
        await asyncio.sleep(0.01)
    assert [await receive(other) for _ in range(4)] == [OFFER, big, OFFER, OFFER]


async def test_fragments_with_a_ping_between_them(node: RunningNode) -> None:
    raw, other = await Raw.open(node), await plain(node.url)
    text = json.dumps(OFFER).encode()
    raw.writer.write(
        frame(text[:5], fin=False)
        + frame(b"hi", PING)
        + frame(text[5:9], CONTINUATION, fin=False)
        + frame(text[9:], CONTINUATION)
        + frame(text)
    )
    assert await raw.read() == (10, b"hi")
    assert [await receive(other), await receive(other)] == [OFFER, OFFER]


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (frame(b"{}", masked=False), 1002),
        (frame(b"{}", CONTINUATION), 1002),
        (frame(b"{}", 3), 1002),
        (frame(b"x", fin=False) + frame(b"{}"), 1002),
        (struct.pack("!BBQ", 0x81, 0xFF, 1 << 40) + MASK, 1009),
        (frame(struct.pack("!H", 1000), CLOSE), 1000),
    ],
)
async def test_wrong_frames_close_with_their_code(node: RunningNode, bad: bytes, code: int) -> None:
    raw, other = await Raw.open(node), await plain(node.url)
    raw.writer.write(bad + frame(json.dumps(OFFER).encode()))
    opcode, payload = await raw.read()
    assert (opcode, int.from_bytes(payload[:2], "big")) == (CLOSE, code)
    assert await receive(other) == {"type": "peer-disconnected"}


async def test_text_that_is_not_utf8_is_answered(node: RunningNode) -> None:
    raw = await Raw.open(node)
    raw.writer.write(frame(b'{"type":"offer","sdp":"\xff"}'))
    opcode, payload = await raw.read()
    assert (opcode, json.loads(payload)["action"]) == (TEXT, "schema-error")


EMPTY = frame(b"", CONTINUATION, fin=False)


async def test_message_in_too_many_fragments_is_refused(
    node: RunningNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "FRAMES_PER_10S", 10_000)
    raw, other = await Raw.open(node), await plain(node.url)
    text = json.dumps(OFFER).encode()
    most = EMPTY * (FRAGMENTS - 2)
    raw.writer.write(frame(text, fin=False) + most + frame(b"", CONTINUATION))
    assert await receive(other) == OFFER
    raw.writer.write(frame(text, fin=False) + most + EMPTY * 2 + frame(b"", CONTINUATION))
    opcode, payload = await raw.read()
    assert (opcode, int.from_bytes(payload[:2], "big")) == (CLOSE, 1009)
    raw.writer.write(frame(struct.pack("!H", 1009), CLOSE))
    assert await receive(other) == {"type": "peer-disconnected"}


@pytest.mark.parametrize(
    "flood", [EMPTY, frame(b"hi", PING), frame(b"", 10)], ids=["fragments", "pings", "pongs"]
)
async def test_flood_of_frames_that_are_no_messages_is_refused(
    node: RunningNode, monkeypatch: pytest.MonkeyPatch, flood: bytes
) -> None:
    monkeypatch.setattr(websocket, "FRAMES_PER_10S", 50)
    raw = await Raw.open(node)
    (connection,) = (c for c in node.server.server_state.connections if isinstance(c, Connection))
    raw.writer.write(frame(b"", fin=False) + flood * 200_000)
    opcode = 10
    while opcode == 10:  # pongs
        opcode, payload = await raw.read()
    assert (opcode, payload) == (CLOSE, struct.pack("!H", 1013) + b"Rate limited")
    assert len(connection.frames) <= 50
    raw.writer.transport.abort()
