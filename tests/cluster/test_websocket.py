"""The edge's own framing: whole, byte by byte, fragmented, and wrong frames (RFC 6455 5)."""

from __future__ import annotations

import asyncio
import itertools
import json
import struct
from socket import SO_RCVBUF, SOL_SOCKET, socket

import pytest

from cluster import websocket
from cluster.websocket import FRAGMENTS, Connection
from tests.cluster.edge import REQUEST
from tests.cluster.frames import CLOSE, CONTINUATION, MASK, PING, TEXT, Raw, frame
from tests.cluster.support import (
    RunningNode,
    closing,
    hello,
    host,
    open_socket,
    plain,
    receive,
    sample,
    until,
    within_limit,
)

OFFER = {"type": "offer", "sdp": "v=0 é"}


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


@pytest.mark.parametrize("bad", [b"\x88\x00", b"\x89\x00", b"\x81\x02{}"])
async def test_short_frame_without_a_mask_is_refused_before_more_comes(
    node: RunningNode, bad: bytes
) -> None:
    raw = await Raw.open(node)
    raw.writer.write(bad)
    opcode, payload = await raw.read()
    assert (opcode, payload[:2]) == (CLOSE, struct.pack("!H", 1002))
    raw.writer.transport.abort()


NOT_UTF8 = [
    frame(b'{"type":"offer","sdp":"\xff"}'),
    frame(b"\xff", TEXT, fin=False) + frame(b"", CONTINUATION),
]


@pytest.mark.parametrize("bad", NOT_UTF8, ids=["one frame", "fragments"])
async def test_text_that_is_not_utf8_closes_with_1007(node: RunningNode, bad: bytes) -> None:
    raw, other = await Raw.open(node), await plain(node.url)
    raw.writer.write(bad + frame(json.dumps(OFFER).encode()))
    assert await raw.read() == (CLOSE, struct.pack("!H", 1007) + b"Text is not UTF-8")
    assert await receive(other) == {"type": "peer-disconnected"}
    raw.writer.transport.abort()


async def test_text_that_is_not_utf8_closes_a_tightbeam_socket_too(open_node: RunningNode) -> None:
    early, desk = await open_socket(open_node.url), await host(open_node.url)
    page = await hello(open_node.url)
    await desk.get("peer-joined")
    for one in (early, page.socket):
        await one.send(b'{"type":"ping\xff"}', text=True)
        assert await closing(one) == (1007, "Text is not UTF-8")


async def test_close_reaches_a_peer_that_goes_on_sending(node: RunningNode) -> None:
    raw, other = await Raw.open(node), await plain(node.url)
    raw.writer.write(frame(b"{}", 3))
    assert await receive(other) == {"type": "peer-disconnected"}  # at once, however long it goes on
    for _ in range(20):
        raw.writer.write(frame(json.dumps(OFFER).encode()) * 20)
        await raw.writer.drain()
    assert (await raw.read())[1][:2] == struct.pack("!H", 1002)
    raw.writer.write(frame(struct.pack("!H", 1002), CLOSE))
    assert await within_limit(raw.reader.read()) == b""


async def test_peer_that_says_close_and_reads_nothing_is_gone_at_once(node: RunningNode) -> None:
    unread = socket()
    unread.setsockopt(SOL_SOCKET, SO_RCVBUF, 2048)
    unread.connect(("127.0.0.1", node.port))
    raw, other = Raw(*await asyncio.open_connection(sock=unread)), await plain(node.url)
    raw.writer.write(REQUEST.replace(b"/ws", b"/?roomId=p"))
    connections = node.server.server_state.connections
    await until(lambda: len(node.service.node.sessions) == 2)
    raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
    big = json.dumps({"type": "control", "action": "a", "payload": "x" * 200_000})
    while not any(one.transport.get_write_buffer_size() for one in connections):
        await other.send(big)
        await asyncio.sleep(0.01)
    raw.writer.write(frame(struct.pack("!H", 1000), CLOSE))
    assert await receive(other) == {"type": "peer-disconnected"}
    await until(lambda: len(connections) == 1)
    raw.writer.transport.abort()


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
    before = sample("tightbeam_rate_limited_total", kind="frames")
    raw.writer.write(frame(b"", fin=False) + flood * 200_000)
    opcode = 10
    while opcode == 10:  # pongs
        opcode, payload = await raw.read()
    assert (opcode, payload) == (CLOSE, struct.pack("!H", 1013) + b"Rate limited")
    assert len(connection.parts) <= 50
    assert sample("tightbeam_rate_limited_total", kind="frames") == before + 1
    raw.writer.transport.abort()
