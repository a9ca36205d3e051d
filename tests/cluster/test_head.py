"""The head of a request: it must come in time, be small, and is answered when it is neither."""

from __future__ import annotations

import asyncio

import pytest

from cluster import head
from tests.cluster import support
from tests.cluster.edge import REQUEST as UPGRADE
from tests.cluster.frames import Raw, frame
from tests.cluster.support import RunningNode

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
