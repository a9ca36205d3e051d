"""The edge over a transport that goes nowhere, and what `websockets` makes of the same bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import uvicorn
from uvicorn.server import ServerState
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol

from cluster.head import HttpConnection
from cluster.protocol.closes import NOT_UTF8
from cluster.session import is_utf8
from cluster.websocket import EXTENSION, Connection

REQUEST = (
    b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
Message = tuple[bytes, bool]
"""A payload, and whether it is text."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a server made of a stream: its messages, its pongs, and the code of its close, if one came."""

    messages: list[Message]
    pongs: list[bytes]
    close: int | None


class Wire(asyncio.Transport):
    """A transport that goes nowhere and keeps what was written."""

    def __init__(self) -> None:
        super().__init__()
        self.closing = False
        self.written = bytearray()
        self.protocol: asyncio.BaseProtocol | None = None

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def pause_reading(self) -> None:
        pass

    resume_reading = pause_reading

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def close(self) -> None:
        self.closing = True

    abort = close

    def is_closing(self) -> bool:
        return self.closing

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass


class Keeper:
    """A receiver that keeps what the edge hands over; as the sessions do, it closes for a text that is not UTF-8."""

    def __init__(self, connection: Connection, *, judges_text: bool = True) -> None:
        self._connection = connection
        self._judges_text = judges_text
        self.messages: list[Message] = []

    def on_frame(self, frame: bytes, *, is_text: bool) -> None:
        if is_text and self._judges_text and not is_utf8(frame):
            self._connection.refuse(NOT_UTF8)
        else:
            self.messages.append((frame, is_text))


async def _application(scope: Any, receive: Any, send: Any) -> None:
    connection: Connection = scope["extensions"][EXTENSION]
    connection.open()
    await connection.closed


async def connect(most_bytes: int) -> tuple[Connection, Wire]:
    """A connection after its handshake, which takes messages of this size."""
    config = uvicorn.Config(
        _application,
        http=HttpConnection,
        ws=Connection,
        lifespan="off",
        log_config=None,
        ws_max_size=most_bytes,
        ws_ping_interval=None,
    )
    config.load()
    http, wire = HttpConnection(config, ServerState(), {}), Wire()
    wire.set_protocol(http)
    http.connection_made(wire)
    http.data_received(REQUEST)
    connection = wire.protocol
    assert isinstance(connection, Connection)
    while not wire.written:  # noqa: ASYNC110
        await asyncio.sleep(0)
    wire.written.clear()
    return connection, wire


async def end(connection: Connection) -> None:
    connection.connection_lost(None)
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def outcome(
    pieces: Iterable[bytes], most_bytes: int, *, judges_text: bool = True
) -> tuple[Outcome, int]:
    """What the edge makes of a stream in these pieces, and how many bytes at its end it did not judge."""
    connection, wire = await connect(most_bytes)
    keeper = Keeper(connection, judges_text=judges_text)
    connection.attach(keeper)
    for piece in pieces:
        if not wire.closing:
            connection.data_received(piece)
    await end(connection)
    pongs, close = replies(bytes(wire.written))
    return Outcome(keeper.messages, pongs, close), len(connection.rest)


def replies(written: bytes) -> tuple[list[bytes], int | None]:
    """The pongs and the close among a server's small frames."""
    pongs, close = [], None
    while written:
        opcode, length = written[0] & 15, written[1]
        payload, written = written[2 : 2 + length], written[2 + length :]
        if opcode == Opcode.PONG:
            pongs.append(payload)
        elif opcode == Opcode.CLOSE:
            close = int.from_bytes(payload[:2], "big") if payload else 1005
    return pongs, close


def reference(pieces: Iterable[bytes], most_bytes: int, *, judges_text: bool = True) -> Outcome:
    """The same by `websockets`, which judges a text after the piece that completes it."""
    server = ServerProtocol(max_size=most_bytes)
    server.receive_data(REQUEST)
    (request,) = server.events_received()
    server.send_response(server.accept(request))  # type: ignore[arg-type]
    server.data_to_send()
    messages: list[Message] = []
    parts: list[Frame] = []
    written = b""
    for piece in pieces:
        server.receive_data(piece)
        for payload, is_text in _messages(server, parts):
            if is_text and judges_text and not is_utf8(payload):
                server.fail(1007)
                break
            messages.append((payload, is_text))
        written += b"".join(server.data_to_send())
    return Outcome(messages, *replies(written))


def _messages(server: ServerProtocol, parts: list[Frame]) -> Iterator[Message]:
    for event in server.events_received():
        assert isinstance(event, Frame)
        if event.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            continue
        parts.append(event)
        if event.fin:
            yield b"".join(bytes(part.data) for part in parts), parts[0].opcode is Opcode.TEXT
            parts.clear()
