"""The edge's own parser against that of `websockets`, fed at random; and the private names it leans on."""

from __future__ import annotations

import asyncio
import itertools
import struct
from collections.abc import Iterator
from types import FunctionType
from typing import Any

import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol

from cluster.websocket import ATTRIBUTES, OVERRIDDEN, Connection
from tests.cluster.test_websocket import frame
from tests.fuzz import fuzz_cases

MOST_BYTES = 1000
REQUEST = (
    b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
Messages = list[tuple[bytes, bool]]


class Wire(asyncio.Transport):
    """A transport that goes nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.closing = False

    def write(self, data: object) -> None:
        pass

    def close(self) -> None:
        self.closing = True

    abort = close

    def is_closing(self) -> bool:
        return self.closing

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass


class Keeper:
    """Keeps what the edge hands over."""

    def __init__(self) -> None:
        self.messages: Messages = []

    def on_frame(self, frame: bytes, *, is_text: bool) -> None:
        self.messages.append((frame, is_text))


async def _application(_scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (await receive())["type"] != "websocket.disconnect":
        pass


async def _connection() -> Connection:
    config = uvicorn.Config(
        _application,
        ws=Connection,
        lifespan="off",
        log_config=None,
        ws_max_size=MOST_BYTES,
        ws_ping_interval=None,
        ws_per_message_deflate=False,
    )
    config.load()
    connection = Connection(config, ServerState(), {})
    connection.connection_made(Wire())
    connection.data_received(REQUEST)
    while not connection.handshake_complete:  # noqa: ASYNC110
        await asyncio.sleep(0)
    return connection


async def _end(connection: Connection) -> None:
    connection.connection_lost(None)
    await asyncio.gather(*connection.tasks)


def _reference(stream: bytes) -> tuple[Messages, int | None]:
    """What `websockets` makes of the stream: messages, and the code of the close, if one comes."""
    server = ServerProtocol(max_size=MOST_BYTES)
    server.receive_data(REQUEST)
    (request,) = server.events_received()
    server.send_response(server.accept(request))  # type: ignore[arg-type]
    server.receive_data(stream)
    messages: Messages = []
    parts: list[Frame] = []
    for event in server.events_received():
        assert isinstance(event, Frame)
        if event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            parts.append(event)
            if event.fin:
                whole = b"".join(bytes(part.data) for part in parts)
                messages.append((whole, parts[0].opcode is Opcode.TEXT))
                parts = []
    return messages, None if server.close_sent is None else server.close_sent.code


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as running:
        yield running


PAYLOADS = st.binary(max_size=20) | st.integers(100, 1100).map(lambda size: b"x" * size)
OPCODES = st.sampled_from([1, 1, 1, 0, 0, 2, 9, 10, 8, 3])
FRAMES = st.one_of(
    PAYLOADS.map(frame),
    st.builds(frame, PAYLOADS, OPCODES, fin=st.booleans()),
    st.builds(frame, st.binary(max_size=9), OPCODES, fin=st.booleans(), masked=st.booleans()),
    st.sampled_from([1000, 1005, 3000]).map(lambda code: frame(struct.pack("!H", code), 8)),
    st.binary(min_size=1, max_size=16),
)


@fuzz_cases(1500)
@given(
    stream=st.lists(FRAMES, max_size=12).map(b"".join),
    cuts=st.lists(st.integers(0, 3000), max_size=8) | st.just(range(3000)),
)
def test_edge_takes_a_stream_as_websockets_does_however_it_is_cut(
    stream: bytes, cuts: list[int], runner: asyncio.Runner
) -> None:
    async def run() -> tuple[Messages, int | None, int]:
        connection, keeper = await _connection(), Keeper()
        connection.attach(keeper)
        edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
        for start, end in itertools.pairwise(edges):
            if not connection.transport.is_closing():
                connection.data_received(stream[start:end])
        close = connection.conn.close_sent
        await _end(connection)
        return keeper.messages, None if close is None else close.code, len(connection.rest)

    messages, code, rest = runner.run(run())  # a frame is judged once it is whole
    assert (messages, code) == _reference(stream[: len(stream) - rest])


def test_uvicorn_still_has_what_the_edge_overrides() -> None:
    own = {
        name
        for name, value in vars(Connection).items()
        if isinstance(value, FunctionType) and hasattr(WebSocketsSansIOProtocol, name)
    }
    assert own == set(OVERRIDDEN)


def test_uvicorn_and_websockets_still_have_what_the_edge_reads(runner: asyncio.Runner) -> None:
    async def run() -> None:
        connection = await _connection()
        for name in ATTRIBUTES:
            value: Any = connection
            for part in name.split("."):
                assert hasattr(value, part), name
                value = getattr(value, part)
        await _end(connection)

    runner.run(run())
