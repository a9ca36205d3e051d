"""Real clients against a running cluster: messages between nodes, joins, resumes and refusals, until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from cluster.protocol.telemetry import SessionFigures, Telemetry, encode
from cluster.telemetry import EVERY_S
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


GUEST: Final = SessionFigures(
    codec="H264",
    encoder="nvenc",
    path="relay",
    congestion="hold",
    width=1920,
    height=1080,
    encode_fps=60.0,
    target_bps=8e6,
    sent_bps=7e6,
    stages_s={},
    dropped={},
    freezes=1,
)
FULL: Final = Telemetry("9.9.9", "streaming", 60.0, (GUEST,), cpu=0.2, gpu=0.5, gpu_encoder=0.3)
"""Of a host that measures all that telemetry has a place for; there is no card here."""


async def _measures_all(url: str, stop: asyncio.Event) -> None:
    desk = await host(url, "full")
    while not stop.is_set():
        await desk.socket.send(encode(FULL))
        await asyncio.sleep(EVERY_S)
    await desk.leave()


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
        tasks.create_task(_measures_all(two, stop))
        try:
            yield
        finally:
            stop.set()
