"""A client that was written for the earlier Node.js servers works unchanged, in all three modes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import operator, support
from tests.cluster.processes import node_process

PROGRAM = Path(__file__).with_name("earlier_client.cjs")
LIMIT_S = 30.0
OFFER = {"type": "offer", "sdp": "v=0 offer"}
ANSWER = {"type": "answer", "sdp": "v=0 answer"}
MODES: dict[str, tuple[dict[str, str], str]] = {
    "pure": ({"TIGHTBEAM_MODE": "pure"}, ""),
    "scalable": ({}, "?roomId=desk"),
    "secure": (
        {"TIGHTBEAM_MODE": "secure", "TIGHTBEAM_PAIRING": "1", "JWT_SECRET": operator.SECRET},
        f"?roomId=desk&token={operator.token(rooms=['desk'])}",
    ),
}


class Client:
    """The program, and what it has said."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def hears(self, event: str) -> dict[str, Any]:
        """The next line of this event; others are passed over."""
        assert self.process.stdout is not None
        async with asyncio.timeout(LIMIT_S):
            while True:
                line: dict[str, Any] = json.loads(await self.process.stdout.readline())
                if line["event"] == event:
                    return line

    async def message(self, kind: str) -> dict[str, Any]:
        message: dict[str, Any] = (await self.hears(kind))["message"]
        return message

    def offer(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")


@contextlib.asynccontextmanager
async def client(role: str, *urls: str) -> AsyncIterator[Client]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        "node", str(PROGRAM), role, ",".join(urls), stdin=pipe, stdout=pipe
    )
    try:
        yield Client(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def negotiated(page: Client, desk: Client) -> None:
    """What one offered the other has answered, each item once and in order."""
    assert await desk.message("offer") == OFFER
    candidates = [await desk.message("candidate") for _ in range(2)]
    assert [one["candidate"] for one in candidates] == ["candidate:1", ""]
    assert candidates[1]["sdpMid"] is None
    assert await page.message("answer") == ANSWER
    assert (await page.message("candidate"))["usernameFragment"] == "u"
    assert await page.message("control") == {
        "type": "control",
        "action": "ready",
        "payload": {"fps": 60},
    }


@pytest.mark.parametrize("mode", MODES)
async def test_client_of_the_earlier_servers_works_unchanged(
    mode: str, redis_url: str, tmp_path: Path
) -> None:
    environment, query = MODES[mode]
    environment = environment | {"TIGHTBEAM_SINGLE_NODE": "0", "DRAIN_TIMEOUT_MS": "2000"}
    with (
        node_process(redis_url, tmp_path, **environment) as first,
        node_process(redis_url, tmp_path, **environment) as second,
    ):
        await support.until(first.ready, LIMIT_S)
        await support.until(second.ready, LIMIT_S)
        urls = [f"{node.url}/{query}" for node in (first, second)]
        async with client("client", *urls) as page, client("host", *urls) as desk:
            assert (await page.hears("open"))["protocol"] == ""
            await negotiated(page, desk)  # its offer was sent in `onopen`, to an empty room perhaps
            page.process.kill()
            await desk.hears("peer-disconnected")
            async with client("client", *urls) as again:
                await negotiated(again, desk)
                async with client("client", *urls) as third:
                    refused = await third.hears("close")
                    assert (refused["code"], refused["reason"]) == (1000, "Room is full")
                first.process.send_signal(signal.SIGTERM)
                for peer in (desk, again):
                    closed = await peer.hears("close")
                    assert (closed["code"], closed["reason"]) == (1012, "Server draining")
                    await peer.hears("open")
                assert await asyncio.to_thread(first.process.wait, LIMIT_S) == 0
                await until_met(again, desk)


async def until_met(page: Client, desk: Client) -> None:
    """Both are on the second node: an offer is answered there; earlier ones may still be on their way."""
    page.offer()
    assert await desk.message("offer") == OFFER
    assert await page.message("answer") == ANSWER


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("", "Invalid roomId"),
        ("?roomId=desk", "Unauthorized"),
        (f"?roomId=desk&token={operator.token(rooms=['other'])}", "Forbidden"),
    ],
)
async def test_refused_client_is_told_and_stays_away(
    query: str, reason: str, redis_url: str
) -> None:
    settings = support.base_settings(redis_url, enable_auth=True, jwt_secret=operator.SECRET)
    async with support.node(settings) as node, client("client", f"{node.url}/ws{query}") as page:
        closed = await page.hears("close")
        assert (closed["code"], closed["reason"]) == (1008, reason)
