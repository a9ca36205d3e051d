"""A player's page and a slow viewer's in Chromium: the `delay` controllers of both, and the lower picture."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from agent import ipc
from agent.input.guard import Role
from agent.media import SETTLE_S, Media
from tests.agent.root import Pipe, rung_of, session
from tests.browser.browser import Browser, Page
from tests.browser.desktop import Noise
from tests.browser.receiver import OFFER, STATS
from tests.eventually import until
from tests.lossy_relay import LossyRelay
from tests.xserver import x_server

SIZE = (640, 480)
RATE_BPS = 6_000_000
SLOW_BPS = 1_500_000


class Watcher:
    """One page that is connected through a relay of its own."""

    def __init__(self, page: Page, relay: LossyRelay) -> None:
        self._page = page
        self.relay = relay

    async def join(self, root: Media, number: int, role: Role) -> None:
        pipe = root._pipe
        assert isinstance(pipe, Pipe)
        offer = await asyncio.to_thread(self._page.evaluate, OFFER)
        root.on_message(ipc.OpenSession(number, role, offer, ()))
        await until(lambda: number in pipe.answers, "an answer")
        candidate = self.relay.candidate
        root.on_message(ipc.RemoteCandidate(number, candidate.candidate, None, 0))
        answer = {"type": "answer", "sdp": self.relay.between(pipe.answers[number])}
        await asyncio.to_thread(
            self._page.evaluate, f"pc.setRemoteDescription({json.dumps(answer)})"
        )
        await self.more(10)

    async def stats(self) -> dict[str, Any]:
        found: dict[str, Any] = await asyncio.to_thread(
            self._page.evaluate, STATS % ("inbound-rtp", "video")
        )
        return found

    async def more(self, count: int) -> dict[str, Any]:
        """Until so many more frames are decoded."""
        goal = (await self.stats()).get("framesDecoded", 0) + count
        while True:
            stats = await self.stats()
            if stats.get("framesDecoded", 0) >= goal:
                return stats
            await asyncio.sleep(0.1)


@pytest.mark.browser
@pytest.mark.timeout(240)
async def test_a_slow_page_gets_the_lower_picture_and_the_players_page_keeps_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with (
        x_server(f"{SIZE[0]}x{SIZE[1]}") as server,
        Noise(server.name),
        LossyRelay() as free,
        LossyRelay() as narrow,
    ):
        monkeypatch.setenv("DISPLAY", server.name)
        root = Media(ipc.Configure("x11", None, None, 30, RATE_BPS, "delay", audio=False), Pipe())
        browser = await asyncio.to_thread(Browser)
        try:
            pages = [await asyncio.to_thread(browser.open, "about:blank") for _ in range(2)]
            player, slow = Watcher(pages[0], free), Watcher(pages[1], narrow)
            await player.join(root, 1, "player")
            await slow.join(root, 2, "viewer")
            await until(lambda: session(root, 1).target_bps == RATE_BPS, "the whole rate", 60)
            await until(lambda: session(root, 2).target_bps == RATE_BPS, "the whole rate", 60)
            assert rung_of(root, 2) == "main"
            narrow.rate_bps = SLOW_BPS
            await until(lambda: rung_of(root, 2) == "lower", "the lower picture", 60)
            await until(lambda: 0 < session(root, 2).target_bps < SLOW_BPS, "its rate", 60)
            before = await player.stats()
            await slow.more(60)
            after = await player.stats()
            assert after["framesDecoded"] - before["framesDecoded"] > 30
            assert (after["frameWidth"], after["frameHeight"]) == SIZE
            assert after["pliCount"] == before["pliCount"]
            run = root._shared.video._run
            assert run is not None
            rates = {i.tier: rung.rate.bitrate_bps for i, rung in run.encode._rungs()}
            assert rates["lower"] <= SLOW_BPS < RATE_BPS / 2 < rates["main"]
            narrow.rate_bps = None
            await until(lambda: rung_of(root, 2) == "main", "the main picture again", 90)
            await slow.more(10)
        finally:
            await root.close()
            await asyncio.to_thread(browser.close)
            await asyncio.sleep(SETTLE_S)
