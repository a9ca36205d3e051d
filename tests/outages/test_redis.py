"""Redis that is away, empty, frozen, slow or out of reach, while peers talk; and strangers who try their luck."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from tests import eventually
from tests.cluster.support import token
from tests.outages.clients import Balancer
from tests.outages.cluster import Cluster, Watch
from tests.outages.crowd import Crowd
from tests.outages.network import Relay
from tests.outages.stranger import Stranger, enter_plain, say_hello
from tests.redis_server import RedisServer

MOST_GROWTH_BYTES = 48 << 20
SILENCE_S = 3.0
"""Items come every half second; the machine may be busy."""
REFUSALS = {"Room is full", "Service unavailable", "host-present", "unavailable"}


@dataclass(slots=True)
class Scene:
    """Two nodes with pairs on each of them and across."""

    cluster: Cluster
    crowd: Crowd
    same_node: set[str]

    async def check_whole(self, *, given_up: bool = False) -> None:
        """Nothing was lost, nobody was told anything, no ghost, no intruder."""
        await self.crowd.nothing_is_lost(given_up=given_up)
        await self.crowd.records_are_true(self.cluster)
        first = self.crowd.plain[0][0].room
        assert await enter_plain(self.cluster.nodes[0].address, first) == (1000, "Room is full")


@asynccontextmanager
async def scene(cluster: Cluster) -> AsyncIterator[Scene]:
    """Everybody is there and delivers."""
    async with Crowd(cluster.addresses) as crowd:
        chance = random.Random(5)
        crowd.world.source = lambda number: f"127.3.0.{number + 1}"
        here, there = (Balancer([address], chance) for address in cluster.addresses)
        same_node = set()
        for balancer in (here, there):
            same_node |= {pair.room for pair in crowd.add(10, balancer)}
            same_node |= set(crowd.add_plain(3, balancer))
        crowd.add(10, here, there)
        crowd.add_plain(4, here, there)
        begun = time.monotonic()
        await crowd.all_joined()
        await crowd.all_deliver()
        await crowd.plain_deliver(begun)
        yield Scene(cluster, crowd, same_node)


@asynccontextmanager
async def watched(cluster: Cluster) -> AsyncIterator[Watch]:
    watch = Watch(cluster.nodes)
    task = asyncio.create_task(watch.run())
    try:
        yield watch
    finally:
        task.cancel()
        await asyncio.wait([task])


@asynccontextmanager
async def strangers(there: Scene) -> AsyncIterator[Stranger]:
    """Knock while the block runs; nobody may be let in."""
    plain = [pair[0].room for pair in there.crowd.plain]
    stranger = Stranger(
        there.cluster.addresses, plain, [pair.room for pair in there.crowd.pairs[:4]]
    )
    task = asyncio.create_task(stranger.run())
    try:
        yield stranger
    finally:
        task.cancel()
        await asyncio.wait([task])
    print(f"strangers were told: {dict(stranger.answers)}")
    assert set(stranger.answers) <= REFUSALS


async def refused_for_now(cluster: Cluster) -> None:
    """What a newcomer is told while Redis is away."""
    for node in cluster.nodes:
        assert await enter_plain(node.address, "new") == (1013, "Service unavailable")
        said = await say_hello(node.address, "new", session=token("session", "new", "player"))
        assert (said["code"], said["close"][0]) == ("unavailable", 1013)
        assert said["retryAfterMs"] > 0


@pytest.mark.parametrize(
    ("begin", "end", "seconds"),
    [
        pytest.param(
            RedisServer.stop, RedisServer.start, 30.0, id="stopped for 30 s", marks=pytest.mark.long
        ),
        pytest.param(RedisServer.stop, RedisServer.start, 0.0, id="back at once and empty"),
        pytest.param(
            RedisServer.pause,
            RedisServer.resume,
            15.0,
            id="frozen for 15 s",
            marks=pytest.mark.long,
        ),
    ],
)
async def test_redis_away(
    begin: Callable[[RedisServer], None], end: Callable[[RedisServer], None], seconds: float
) -> None:
    with Cluster() as cluster:
        cluster.start_nodes(2)
        async with scene(cluster) as there, watched(cluster) as watch:
            before = [node.process.resident_bytes() for node in cluster.nodes]
            begin(cluster.redis)
            away_at = time.monotonic()
            if seconds:
                await asyncio.sleep(5)
                await refused_for_now(cluster)
                await asyncio.sleep(seconds - 5)
                noticed_s = watch.last(200, away_at)
                print(f"readyz: 503 after {noticed_s:.1f} s, slowest {watch.slowest_s:.2f} s")
                assert noticed_s < (3 if begin is RedisServer.stop else 8)
                silence_s = there.crowd.silence_s(there.same_node, away_at)
                assert silence_s < SILENCE_S
            async with strangers(there):
                await asyncio.to_thread(end, cluster.redis)
                back_at = time.monotonic()
                took_s = await there.crowd.all_deliver(back_at)
                plain_s = await there.crowd.plain_deliver(back_at)
                await asyncio.sleep(max(0.0, back_at + 6 - time.monotonic()))  # settled
            print(f"99 % deliver {took_s:.2f} s after Redis, plain pairs {plain_s:.2f} s")
            assert took_s < 3 * 4
            assert watch.slowest_s < 3
            assert not any(client.resumed or client.began_anew for client in there.crowd.clients)
            assert not any(
                peer.closes or peer.told_gone for pair in there.crowd.plain for peer in pair
            )
            grown = [now - then for now, then in zip(rss(cluster), before, strict=True)]
            assert max(grown) < MOST_GROWTH_BYTES
            await there.check_whole()


def rss(cluster: Cluster) -> list[int]:
    return [node.process.resident_bytes() for node in cluster.nodes]


@pytest.mark.long
async def test_slow_redis_delays_joins_and_loses_nothing() -> None:
    with Cluster() as cluster:
        async with Relay(cluster.redis.port) as relay:
            for _ in range(2):
                cluster.start_node(relay.url)
            await asyncio.to_thread(cluster.all_ready)
            async with scene(cluster) as there, watched(cluster) as watch:
                relay.delay_s = 0.3
                slow_at = time.monotonic()
                there.crowd.add(5)
                await there.crowd.all_joined()
                await there.crowd.all_deliver(slow_at)
                assert not any(client.refusals for client in there.crowd.clients)
                assert watch.last(503, slow_at) == 0.0
                relay.delay_s = 3.0  # beyond what a node waits for an answer
                await eventually.until(lambda: watch.last(503, slow_at), "not ready")
                await asyncio.sleep(5)
                assert there.crowd.silence_s(there.same_node, slow_at) < SILENCE_S
                relay.delay_s = 0.0
                quick_at = time.monotonic()
                took_s = await there.crowd.all_deliver(quick_at)
                print(f"99 % deliver {took_s:.2f} s after Redis is quick again")
                assert took_s < 3 * 4
                assert watch.slowest_s < 3
                await there.check_whole()


@pytest.mark.parametrize(
    ("cut", "seconds"),
    [
        (Relay.cut, 5.0),
        pytest.param(Relay.cut, 20.0, marks=pytest.mark.long),
        pytest.param(Relay.swallow, 20.0, marks=pytest.mark.long),
    ],
)
async def test_node_cut_off_from_redis(cut: Callable[[Relay], None], seconds: float) -> None:
    with Cluster() as cluster:
        async with Relay(cluster.redis.port) as relay:
            cluster.start_node()
            cluster.start_node(relay.url)
            await asyncio.to_thread(cluster.all_ready)
            async with scene(cluster) as there:
                cut(relay)
                cut_at = time.monotonic()
                await asyncio.sleep(seconds)
                assert there.crowd.silence_s(there.same_node, cut_at) < SILENCE_S
                relay.heal()
                healed_at = time.monotonic()
                took_s = await there.crowd.all_deliver(healed_at)
                print(f"cut off for {seconds:.0f} s: 99 % deliver {took_s:.2f} s after")
                await there.crowd.plain_deliver(healed_at)
                assert not any(client.resumed for client in there.crowd.clients)
                if seconds < 10:
                    assert len(there.crowd.recorder.streams) == 2 * len(there.crowd.pairs)
                await there.check_whole(given_up=seconds > 10)
