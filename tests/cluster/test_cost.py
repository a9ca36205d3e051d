"""Work is addressed: a message costs the same whatever the number of nodes, and reaches nobody else."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import redis

from cluster.bus import redis as bus_module
from tests.cluster import support
from tests.cluster.support import RunningNode, hello, host, node

MESSAGES = 100
QUIET = replace(support.TIMING, beat_s=60.0)
"""No beat and no probe of a node falls into what is counted."""


@contextlib.asynccontextmanager
async def cluster(redis_url: str, size: int) -> AsyncIterator[list[RunningNode]]:
    settings = support.base_settings(
        redis_url, pairing=False, timing=QUIET, messages_per_10s=1 << 20
    )
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(node(settings)) for _ in range(size)]


async def talk(nodes: list[RunningNode], client: redis.Redis) -> tuple[int, list[int]]:
    """From a page on the second node to its host on the first: publishes, and bytes pushed to each node."""
    desk, page = await host(nodes[0].url), await hello(nodes[1].url)
    await desk.get("peer-joined")
    published, before = publishes(client), pushed(client)
    for _ in range(MESSAGES):
        sent = await page.sync(desk.id)
        assert await support.within_limit(desk.socket.recv()) == sent
    after = pushed(client)
    assert len(before) == len(after) == len(nodes)
    return publishes(client) - published, [b - a for a, b in zip(before, after, strict=True)]


def publishes(client: redis.Redis) -> int:
    return int(client.info("commandstats")["cmdstat_publish"]["calls"])


def pushed(client: redis.Redis) -> list[int]:
    """What the server has written to each subscription, by its own count, the oldest first."""
    rows = [row for row in client.client_list() if row["psub"] == "1"]
    return [int(row["tot-net-out"]) for row in sorted(rows, key=lambda row: int(row["id"]))]


async def test_each_node_has_one_pattern_and_a_dead_one_none(redis_url: str) -> None:
    client = redis.Redis.from_url(redis_url)
    async with cluster(redis_url, 2):
        async with cluster(redis_url, 3):
            assert client.pubsub_numpat() == 5
            assert client.pubsub_channels() == []
        await support.until(lambda: client.pubsub_numpat() == 2)


async def test_message_costs_the_same_whatever_the_number_of_nodes(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "PROBE_S", 60.0)
    client = redis.Redis.from_url(redis_url)
    costs = []
    for size in (2, 6):
        async with cluster(redis_url, size) as nodes:
            published, (received, *bystanders) = await talk(nodes, client)
            assert bystanders == [0] * (size - 1)
            costs.append((published, received))
        client.flushall()
    (few, few_bytes), (many, many_bytes) = costs
    assert few == many == MESSAGES
    assert abs(few_bytes - many_bytes) <= MESSAGES  # the clock's digits in each packet
