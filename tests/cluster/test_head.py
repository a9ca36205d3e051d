"""The head of a request: it must come in time, be small, and is answered when it is neither."""

from __future__ import annotations

import asyncio
from socket import SO_RCVBUF, SOL_SOCKET, socket
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from cluster import head
from cluster.head import HttpConnection
from tests.cluster import support
from tests.cluster.edge import REQUEST as UPGRADE
from tests.cluster.edge import Wire
from tests.cluster.frames import Raw, frame
from tests.cluster.support import RunningNode

PAGE = b"GET /session.js HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
REQUEST = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


async def _rest(reader: asyncio.StreamReader) -> bytes:
    """Everything until the end of the connection, which must come."""
    try:
        return await support.within_limit(reader.read())
    except ConnectionError:
        return b""


@pytest.mark.parametrize("start", [b"", b"GET / HTT", b"GET / HTTP/1.1\r\nHost: a\r\nX"])
async def test_head_that_does_not_come_is_not_waited_for(
    node: RunningNode, monkeypatch: pytest.MonkeyPatch, start: bytes
) -> None:
    monkeypatch.setattr(head, "HEAD_LIMIT_S", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
    writer.write(start)
    assert await _rest(reader) == b""
    writer.close()


@pytest.mark.parametrize("start", [b"GET / HTT", b"\r\n"])
async def test_head_of_a_further_request_is_not_waited_for_either(
    node: RunningNode, monkeypatch: pytest.MonkeyPatch, start: bytes
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
    for _ in range(2):
        writer.write(REQUEST)
        assert await support.within_limit(reader.readuntil(b"ok\n"))
    monkeypatch.setattr(head, "HEAD_LIMIT_S", 0.2)
    writer.write(start)
    assert await _rest(reader) == b""
    writer.close()


async def test_client_that_speaks_before_the_answer_is_cut_off(
    node: RunningNode, caplog: pytest.LogCaptureFixture
) -> None:
    in_redis, go_on = support.hold_joins(node.service)
    raw = await Raw.request(node)
    await support.within_limit(in_redis.wait())
    raw.writer.write(b"no frame at all")
    assert await _rest(raw.reader) == b""
    go_on.set()
    await support.until(lambda: not node.service.node.sessions)
    await support.until(lambda: not node.server.server_state.tasks)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
    raw.writer.close()


@pytest.mark.parametrize(
    ("before", "behind"),
    [(b"", frame(b"{}")), (b"", b"\r\n"), (REQUEST, b"")],
    ids=["frame", "line", "another request's answer is due"],
)
async def test_upgrade_in_one_piece_with_more_is_refused_and_not_half_heard(
    node: RunningNode, before: bytes, behind: bytes
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
    writer.write(before + UPGRADE.replace(b"/ws", b"/?roomId=p") + behind)
    answer = await _rest(reader)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b" 101 " not in answer
    assert not node.service.node.sessions
    writer.close()


async def test_upgrade_after_an_answered_request_is_taken(node: RunningNode) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
    writer.write(REQUEST)
    await support.within_limit(reader.readuntil(b"ok\n"))
    writer.write(UPGRADE)
    assert b" 101 " in await support.within_limit(reader.readuntil(b"\r\n\r\n"))
    writer.close()


async def test_client_that_reads_no_answer_is_not_waited_for(
    node: RunningNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head, "READ_LIMIT_S", 0.2)
    small = socket()
    small.setsockopt(SOL_SOCKET, SO_RCVBUF, 2048)
    small.connect(("127.0.0.1", node.port))
    _, writer = await asyncio.open_connection(sock=small)
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    connections = node.server.server_state.connections
    await support.until(lambda: connections)
    while connections:
        writer.write(PAGE * 100)
        await asyncio.sleep(0.01)
    writer.transport.abort()


class Unread(Wire):
    """A transport whose last bytes nobody reads: closed, it stays."""

    aborted = False

    def abort(self) -> None:
        self.aborted = True


async def _answer(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize(
    "request_", [b"?\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n", REQUEST], ids=["refused", "last", "idle"]
)
async def test_closed_connection_whose_answer_is_not_read_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, request_: bytes
) -> None:
    monkeypatch.setattr(head, "READ_LIMIT_S", 0.1)
    config = uvicorn.Config(
        _answer, http=HttpConnection, lifespan="off", log_config=None, timeout_keep_alive=0
    )
    config.load()
    http, wire = HttpConnection(config, ServerState(), {}), Unread()
    http.connection_made(wire)
    http.data_received(request_)
    await support.until(lambda: wire.aborted)
    assert wire.closing
    http.connection_lost(None)


async def test_head_without_end_is_refused(node: RunningNode) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
    start = b"GET / HTTP/1.1\r\nHost: a\r\na: "
    writer.write(
        start + b"b" * (head.HEAD_BYTES + 1 - len(start))
    )  # not a byte too many: all are read
    assert (await _rest(reader)).startswith(b"HTTP/1.1 400 ")
    writer.close()


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ("Cookie: " + "x" * 9000 + "\r\n", b"431"),
        ("".join(f"a{n}: b\r\n" for n in range(200)), b"431"),
        ("Content-Length: 3\r\n", b"400"),
    ],
    ids=["long line", "many headers", "body"],
)
async def test_upgrade_that_websockets_refuses_is_answered(
    node: RunningNode, more: str, status: bytes
) -> None:
    raw = await Raw.request(node, more=more)
    assert (await _rest(raw.reader)).startswith(b"HTTP/1.1 " + status)
    raw.writer.close()
