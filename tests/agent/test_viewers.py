"""A player and a slow viewer of one host, both real receivers, the slow one behind a path that carries too little."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from agent import ipc
from agent.input.guard import Role
from agent.media import SETTLE_S, Media
from tests.agent.root import Pipe, rung_of, session
from tests.browser.desktop import Noise
from tests.eventually import until
from tests.lossy_relay import LossyRelay
from tests.transport.viewer import Viewer
from tests.xserver import x_server

SIZE = (640, 480)
RATE_BPS = 3_000_000
SLOW_BPS = 1_200_000


@asynccontextmanager
async def watching(
    root: Media, number: int, role: Role, relay: LossyRelay | None = None
) -> AsyncIterator[Viewer]:
    """A stock aiortc client that watches, through the relay if there is one."""
    viewer = Viewer(audio=False)
    pipe = root._pipe
    assert isinstance(pipe, Pipe)
    try:
        offer = await viewer.offer()
        if relay is not None:
            offer = re.sub(r"a=candidate:.*\r\n", "", offer)
        root.on_message(ipc.OpenSession(number, role, offer, ()))
        await until(lambda: number in pipe.answers, "an answer")
        answer = pipe.answers[number]
        if relay is not None:
            root.on_message(ipc.RemoteCandidate(number, relay.candidate.candidate, None, 0))
            answer = relay.between(answer)
        await viewer.take(answer)
        await until(lambda: viewer.pictures, "a picture", 40)
        yield viewer
    finally:
        await viewer.close()


async def more(viewer: Viewer, count: int) -> None:
    after = viewer.pictures
    await until(lambda: viewer.pictures > after + count, "pictures", 60)


@pytest.mark.timeout(240)
async def test_a_slow_viewer_gets_a_living_picture_and_the_player_all_it_had(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with x_server(f"{SIZE[0]}x{SIZE[1]}") as server, Noise(server.name), LossyRelay() as relay:
        monkeypatch.setenv("DISPLAY", server.name)
        told = ipc.Configure("x11", None, None, 30, RATE_BPS, "delay", audio=False)
        root = Media(told, Pipe())
        try:
            async with (
                watching(root, 1, "player") as player,
                watching(root, 2, "viewer", relay) as slow,
            ):
                await more(slow, 30)
                assert rung_of(root, 2) == "main"
                relay.rate_bps = SLOW_BPS
                await until(lambda: rung_of(root, 2) == "lower", "the lower picture", 90)
                await until(lambda: session(root, 2).target_bps < 1.5 * SLOW_BPS, "its rate", 60)
                player.sizes.clear()
                before = player.pictures
                await more(slow, 60)
                assert player.pictures - before > 30
                assert player.sizes == {SIZE}
                run = root._shared.video._run
                assert run is not None
                rates = {i.tier: rung.rate.bitrate_bps for i, rung in run.encode._rungs()}
                # On a busy machine the player's own path loses packets, too, and some of its rate.
                assert rates["main"] > rates["lower"]
                assert rates["lower"] <= 1.5 * SLOW_BPS
                relay.rate_bps = None
                await until(lambda: rung_of(root, 2) == "main", "the main picture again", 90)
                await more(slow, 10)
        finally:
            await root.close()
            await asyncio.sleep(SETTLE_S)
