"""Several nodes on one Redis: addressed letters, resume elsewhere, dead nodes, Redis lost and found."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis

from cluster.store.valkey import EmbeddedValkey
from tests.cluster import support
from tests.cluster.processes import node_process, status_of
from tests.cluster.support import RunningNode, closing, hello, host, node, plain, receive, until

OFFER = {"type": "offer", "sdp": "v=0"}


@pytest.fixture
async def pair(redis_url: str) -> AsyncIterator[tuple[RunningNode, RunningNode]]:
    settings = support.base_settings(redis_url, pairing=False)
    async with node(settings) as one, node(settings) as two:
        yield one, two


async def test_letters_go_to_one_node(
    pair: tuple[RunningNode, RunningNode], redis_url: str
) -> None:
    one, two = pair
    desk, page = await host(one.url), await hello(two.url)
    client = redis.Redis.from_url(redis_url)
    await desk.get("peer-joined")
    watcher = client.pubsub()  # type: ignore[no-untyped-call]
    watcher.psubscribe("*:letters")
    watcher.get_message(timeout=5)
    sent = await page.sync(desk.id, "across")
    assert await support.within_limit(desk.socket.recv()) == sent
    await page.sync(page.id, "to oneself stays here")
    seen = watcher.get_message(timeout=5)
    assert seen is not None
    assert seen["channel"].decode() == f"{one.service.node.id}:letters"
    assert watcher.get_message(timeout=0.2) is None
    watcher.close()


async def test_relay_and_leave_across_nodes(pair: tuple[RunningNode, RunningNode]) -> None:
    one, two = pair
    desk, page = await host(one.url), await hello(two.url)
    assert (await page.get())["peer"] == desk.id
    assert (await desk.get())["peer"] == page.id
    for number in range(50):
        await page.sync(desk.id, str(number))
    got = [(await desk.get())["items"][0]["sdp"] for _ in range(50)]
    assert got == [str(number) for number in range(50)]
    await page.leave()
    assert await desk.get() == {"type": "peer-left", "peer": page.id, "reason": "bye"}


async def test_plain_rooms_across_nodes(pair: tuple[RunningNode, RunningNode]) -> None:
    one, two = pair
    left = await plain(one.url)
    await left.send(json.dumps(OFFER))
    right = await plain(two.url)
    assert await receive(right) == OFFER
    await right.send(json.dumps({"type": "answer", "sdp": "a"}))
    assert (await receive(left))["type"] == "answer"
    assert await closing(await plain(one.url)) == (1000, "Room is full")
    await right.close()
    assert await receive(left) == {"type": "peer-disconnected"}


async def test_resume_on_the_other_node_supersedes_and_nobody_is_told(
    pair: tuple[RunningNode, RunningNode],
) -> None:
    one, two = pair
    desk, page = await host(one.url), await hello(one.url)
    await desk.get("peer-joined")
    back = await hello(two.url, resume=page.welcome["resume"])
    assert (back.welcome["resumed"], back.id) == (True, page.id)
    assert await page.closed() == (1000, "superseded")
    await desk.sync(page.id, "found")
    assert (await back.get("sync"))["items"][0]["sdp"] == "found"
    await back.sync(desk.id, "answer")
    assert (await desk.get())["type"] == "sync"


async def test_room_is_whole_again_after_redis_came_back_empty(
    pair: tuple[RunningNode, RunningNode], redis_url: str
) -> None:
    one, two = pair
    desk, page = await host(one.url), await hello(two.url)
    await desk.get("peer-joined")
    await page.get("peer-joined")
    client = redis.Redis.from_url(redis_url)
    client.flushall()
    await until(lambda: client.hlen("tb:room:r") == 4)  # v, cap, two members
    await page.sync(desk.id, "still here")
    assert (await desk.get())["items"][0]["sdp"] == "still here"
    late = await hello(two.url)
    assert late.welcome["type"] == "welcome"
    heard = {(await late.get())["peer"], (await late.get())["peer"]}
    assert heard == {desk.id, page.id}
    assert (await desk.get())["peer"] == late.id
    assert (await page.get())["peer"] == late.id


async def test_redis_away_local_relay_goes_on_and_joins_are_told_to_wait() -> None:
    server = EmbeddedValkey()
    server.start()
    try:
        async with node(support.base_settings(server.url, pairing=False)) as here:
            desk, page = await host(here.url), await hello(here.url)
            await desk.get("peer-joined")
            server.stop()
            await until(lambda: not here.service.node.ready)
            await page.sync(desk.id, "local")
            assert (await desk.get())["type"] == "sync"
            status = await asyncio.to_thread(status_of, f"http://127.0.0.1:{here.port}/readyz")
            assert status == 503
            status = await asyncio.to_thread(
                status_of, f"http://127.0.0.1:{here.port}/readyz?local=1"
            )
            assert status == 200
            refused = await hello(here.url)
            assert refused.welcome["code"] == "unavailable"
            assert refused.welcome["retryAfterMs"] > 0
            assert await refused.closed() == (1013, "Service unavailable")
            assert await closing(await plain(here.url)) == (1013, "Service unavailable")
            await page.leave()
            assert await desk.get() == {"type": "peer-left", "peer": page.id, "reason": "bye"}
    finally:
        server.stop()


async def test_killed_node_leaves_no_ghost_and_its_peer_resumes_elsewhere(
    redis_url: str, tmp_path: Path
) -> None:
    async with node(support.base_settings(redis_url, pairing=False)) as here:
        with node_process(redis_url, tmp_path) as there:
            await until(there.ready)
            desk = await host(here.url)
            stays, goes = await hello(there.url), await hello(there.url)
            ghost = await plain(there.url, "plain-room")
            await desk.get("peer-joined")
            await desk.get("peer-joined")
            there.process.send_signal(signal.SIGKILL)
            back = await hello(here.url, resume=stays.welcome["resume"])
            assert (back.welcome["resumed"], back.id) == (True, stays.id)
            left = await _left(desk)
            assert left == {"type": "peer-left", "peer": goes.id, "reason": "lost"}
            one, two = await plain(here.url, "plain-room"), await plain(here.url, "plain-room")
            await one.send(json.dumps(OFFER))
            assert await receive(two) == OFFER
            assert (await closing(ghost))[0] == 1006


async def _left(desk: support.Peer) -> object:
    async with asyncio.timeout(30):  # the killed node's own life is 10 s
        return json.loads(await desk.socket.recv())


async def test_sigterm_drains_and_ends_with_success(redis_url: str, tmp_path: Path) -> None:
    with node_process(redis_url, tmp_path) as there:
        await until(there.ready)
        page = await hello(there.url)
        there.process.send_signal(signal.SIGTERM)
        assert (await page.get())["type"] == "reconnect"
        assert await page.closed() == (1012, "Server draining")
        assert await asyncio.to_thread(there.process.wait, 10) == 0
        log = there.log.read_text()
        assert "token" not in log
        assert page.welcome["resume"] not in log
