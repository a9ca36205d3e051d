"""Real clients against a running cluster: messages between nodes, joins, resumes and refusals, until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from tests.cluster.support import hello, host, plain, receive

PAUSE_S = 0.25
"""A connection may send 200 messages in ten seconds."""


async def _pair(one: str, two: str, room: str, stop: asyncio.Event) -> None:
    """A host and a player on different nodes who talk, and a player who comes and goes."""
    desk, page = await host(one, room), await hello(two, room)
    while not stop.is_set():
        for _ in range(3):
            await page.sync(desk.id)
            await desk.get("sync")
            await desk.sync(page.id)
            await page.get("sync")
        guest = await hello(two, room)
        guest.socket.transport.abort()
        back = await hello(one, room, resume=guest.welcome["resume"])
        await back.leave()
        await asyncio.sleep(PAUSE_S)
    await page.leave()
    await desk.leave()


async def _plain(one: str, two: str, stop: asyncio.Event) -> None:
    """Two clients of the plain dialect on different nodes."""
    caller, called = await plain(one, "call"), await plain(two, "call")
    while not stop.is_set():
        await caller.send('{"type": "offer", "sdp": "v=0"}')
        await receive(called)
        await asyncio.sleep(PAUSE_S)
    await caller.close()
    await called.close()


async def _strangers(one: str, stop: asyncio.Event) -> None:
    """A credential that is none, again and again."""
    while not stop.is_set():
        stranger = await hello(one, "elsewhere", "host", token="not.a.token")
        with contextlib.suppress(Exception):
            await stranger.closed()
        await asyncio.sleep(1.0)


@contextlib.asynccontextmanager
async def load(one: str, two: str) -> AsyncIterator[None]:
    """Between these two nodes (ws://...) while the scope lasts."""
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_pair(one, two, "talk", stop))
        tasks.create_task(_plain(one, two, stop))
        tasks.create_task(_strangers(one, stop))
        try:
            yield
        finally:
            stop.set()
