"""A WebSocket relay before a node that changes what goes up through it: the fault that a load test must find."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import websockets
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

Edit = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]
"""The candidates of one client that are on their way, and what comes out."""


def drop(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return items[:2] + items[3:]


def double(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return items[:3] + items[2:]


def swap(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [*items[:2], items[3], items[2], *items[4:]]


class Upward:
    """One client's way up: the first whole batch of candidates is changed, once."""

    def __init__(self, edit: Edit, candidates: int) -> None:
        self._edit = edit
        self._candidates = candidates
        self._held: list[dict[str, Any]] = []
        self._edited = False

    def pass_on(self, text: str) -> list[str]:
        """The frames that go on in the place of this one."""
        message = json.loads(text)
        if self._edited:
            return [text]
        if message["type"] == "sync" and len(message["items"]) > self._candidates:
            self._edited = True
            items = message["items"]
            message["items"] = [items[0], *self._edit(items[1:])]
            return [json.dumps(message)]
        if message["type"] == "candidate":
            self._held.append(message)
            if len(self._held) < self._candidates:
                return []
            self._edited = True
            return [json.dumps(held) for held in self._edit(self._held)]
        return [text]


@asynccontextmanager
async def editor(node: str, edit: Edit, candidates: int) -> AsyncIterator[str]:
    """Its URL; `node` is that of the node behind it."""

    async def relay(client: ServerConnection) -> None:
        assert client.request is not None
        offered = client.request.headers.get("Sec-WebSocket-Protocol")
        subprotocols: Any = None if offered is None else [offered]
        upward = Upward(edit, candidates)
        async with connect(
            node + client.request.path, subprotocols=subprotocols, compression=None
        ) as upstream:

            async def down() -> None:
                async for text in upstream:
                    await client.send(text)

            task = asyncio.create_task(down())
            try:
                async for text in client:
                    for frame in upward.pass_on(str(text)):
                        await upstream.send(frame)
            except websockets.ConnectionClosed:
                pass
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    def choose(_: ServerConnection, offered: Any) -> Any:
        return offered[0] if offered else None

    async with serve(relay, "127.0.0.1", 0, select_subprotocol=choose, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield f"http://127.0.0.1:{port}"
