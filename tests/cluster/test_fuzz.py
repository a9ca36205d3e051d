"""Handshake and codec under a flood of damaged input: each is answered or refused, and nothing of it is kept."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from uvicorn.server import ServerState

from cluster.app import Service
from cluster.head import HttpConnection
from cluster.protocol import messages
from cluster.protocol.messages import MessageError, PeerId, Sync
from cluster.protocol.negotiation import Answerer
from cluster.settings import Settings
from tests.cluster.edge import Wire
from tests.cluster.frames import frame
from tests.fuzz import FACTOR, LIMIT_S
from tests.mutate import damaged, pieces
from tests.vectors import load

HEADS = 20_000 * FACTOR
MESSAGES = 65_000 * FACTOR
GROWTH_BYTES = 32 << 20
"""Python keeps some MiB of any busy time; of a leak of 100 bytes for each input it would be 100 MiB in `make fuzz`."""
WARM_UP = 1000
TURNS = 12
"""Of the event loop, until a request is answered or waits for what will not come."""

LINES = (
    b"Host: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)
REQUESTS = [
    b"GET /?roomId=p HTTP/1.1\r\n" + LINES + b"\r\n",
    b"GET /ws?roomId=p&token=AAAAAAAAAAAAAAAAAAAAAA HTTP/1.1\r\n" + LINES + b"\r\n",
    b"GET /ws HTTP/1.1\r\n"
    + LINES
    + b"Sec-WebSocket-Protocol: tightbeam.v1\r\nOrigin: http://127.0.0.1\r\n\r\n",
    b"GET /ws HTTP/1.1\r\n"
    + LINES
    + b"Sec-WebSocket-Extensions: permessage-deflate\r\nX-Forwarded-For: ::1\r\n\r\n",
    b"POST /drain HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer a.b.c\r\nContent-Length: 2\r\n\r\n{}",
    b"GET /readyz?local=1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
]
HEAD_WORDS = [
    *(b"\r\n", b"\n", b"\r\n\r\n", b": ", b"\x00", b" ", b"\t", b"%00", b"%ff", b"?", b"&", b"="),
    *(b"#", b";", b",", b"HTTP/1.0", b"HTTP/2.0", b"\xff\xfe", "\u00e9".encode(), b"a" * 9000),
    *(
        b"Content-Length: 9\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Upgrade: h2c\r\n",
        b"Host: \r\n",
    ),
    *(b"Origin: null\r\n", b"Sec-WebSocket-Version: 8\r\n", b"a: b\r\n" * 150),
]
VECTORS = load("messages")
FRAMES = [json.dumps(vector["message"]).encode() for vector in VECTORS["valid"]]
FRAMES += [vector["text"].encode() for kind in ("tolerated", "invalid") for vector in VECTORS[kind]]
WORDS = [
    *(b"{", b"}", b"[", b"]", b'"', b",", b":", b"null", b"true", b"1e999", b"-0", b"NaN", b"\x00"),
    *(
        b"1" * 40,
        b"\\u0000",
        b"\\ud800",
        b"\xff",
        b"\xed\xa0\x80",
        "\U0001f600".encode(),
        b"[" * 500,
    ),
    *(
        b'{"a":' * 50,
        b'"type":"sync"',
        b'"items":[]',
        b'"hello"',
        b'"offer"',
        b'"from"',
        b'"at":257',
    ),
    *(b'"has":-1', b'"replaces":[""]', b"x" * 5000),
]


def _resident_bytes() -> int:
    gc.collect()
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


@contextlib.contextmanager
def _nothing_kept() -> Iterator[None]:
    before = _resident_bytes()
    yield
    assert _resident_bytes() - before < GROWTH_BYTES


def _read(text: bytes) -> None:
    """By the codec; what it takes, it writes so that it reads the same."""
    with contextlib.suppress(MessageError):
        message = messages.parse(text)
        assert messages.parse(messages.encode(message)) == message
        if isinstance(message, Sync):
            Answerer(PeerId("H" * 22), message.sender).receive(message, 0.0)
    with contextlib.suppress(MessageError):
        item = messages.parse_item(messages.decode_object(text))
        assert messages.parse_item(messages.item_object(item)) == item


@pytest.mark.fuzz
@pytest.mark.timeout(LIMIT_S)
def test_codec_reads_or_refuses_whatever_comes() -> None:
    for text in damaged(FRAMES, WORDS, WARM_UP, seed=1):
        _read(text)
    with _nothing_kept():
        for text in damaged(FRAMES, WORDS, MESSAGES):
            _read(text)


class Edge:
    """A node whose Redis is away, behind a transport that goes nowhere: everything up to the join is real."""

    def __init__(self) -> None:
        settings = Settings(redis_url="unix:///nowhere", secret="s" * 32)
        service = Service(settings)
        self.config = service.server().config
        self.config.load()
        self.state = ServerState()
        self.answers: dict[bytes, int] = {}

    async def take(self, head: bytes, frames: bytes, number: int) -> None:
        wire = Wire()
        http = HttpConnection(self.config, self.state, {})
        wire.set_protocol(http)
        http.connection_made(wire)
        for sent in (head, frames):
            for piece in pieces(sent, number):
                if piece and not wire.closing:
                    protocol: Any = wire.protocol
                    protocol.data_received(piece)
            for _ in range(TURNS):
                await asyncio.sleep(0)
        answer = bytes(wire.written[:12])
        assert answer[:9] in (b"", b"HTTP/1.1 ")
        self.answers[answer[9:]] = self.answers.get(answer[9:], 0) + 1
        protocol = wire.protocol
        wire.closing = True
        protocol.connection_lost(None)

    async def settle(self) -> None:
        while self.state.tasks:
            await asyncio.wait(self.state.tasks)
        assert not self.state.connections


async def _handshakes(edge: Edge, count: int, seed: int) -> None:
    heads = damaged(REQUESTS, HEAD_WORDS, count, seed)
    texts = damaged(FRAMES, WORDS, count, seed + 1)
    for number, (head, text) in enumerate(zip(heads, texts, strict=True)):
        frames = frame(text) if number % 2 else frame(text)[: number % 50] + text
        await edge.take(REQUESTS[number % 4] if number % 3 == 0 else head, frames, number)
        if number % 100 == 0:
            await edge.settle()
    await edge.settle()


@pytest.mark.fuzz
@pytest.mark.timeout(LIMIT_S)
async def test_handshake_is_answered_or_refused_whatever_comes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    logging.disable(logging.WARNING)
    try:
        edge = Edge()
        await _handshakes(edge, WARM_UP, seed=1)
        with _nothing_kept():
            await _handshakes(edge, HEADS, seed=3)
    finally:
        logging.disable(logging.NOTSET)
    assert not faults
    assert not caplog.records
    assert not [status for status in edge.answers if status.startswith(b"5") and status != b"503"]
    assert all(edge.answers[status] > WARM_UP // 10 for status in (b"101", b"400"))
