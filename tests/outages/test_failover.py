"""Sentinel makes a replica the primary that lags behind and whose clock is an hour off."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from cluster.up import links
from tests import eventually
from tests.outages.cluster import Cluster
from tests.outages.network import Relay
from tests.outages.stranger import say_hello
from tests.outages.test_redis import Scene, scene, strangers, watched
from tests.redis_server import RedisServer, Sentinel, ValkeyServer, stopping

HOUR_S = 3600


def faketime() -> str | None:
    """The library of Debian's package `faketime`."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    return str(found[0]) if found else None


def clock_off_by(seconds: int) -> dict[str, str]:
    """The environment of a process whose wall clock is wrong."""
    return {
        "PATH": os.environ["PATH"],
        "LD_PRELOAD": faketime() or "",
        "FAKETIME": f"{seconds:+d}s",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def is_off_by(server: RedisServer, seconds: int) -> bool:
    return abs(server.client.time()[0] - time.time() - seconds) < 60


async def happens_unseen(there: Scene, pairing: str) -> None:
    """What the replica does not hear of: a link is used, peers move, come and go."""
    crowd, cluster = there.crowd, there.cluster
    said = await say_hello(cluster.nodes[0].address, "paired", token=pairing)
    assert said["type"] == "welcome"
    movers = [client for pair in crowd.pairs[-5:] for client in pair.clients]
    for client in movers:
        client.drop()
    crowd.add(3)
    crowd.leave(crowd.pairs[0])
    await eventually.until(lambda: all(client.resumed for client in movers), "they move")
    await crowd.all_joined()


@pytest.mark.skipif(faketime() is None, reason="needs Debian's package faketime")
@pytest.mark.parametrize("off_s", [HOUR_S, pytest.param(-HOUR_S, marks=pytest.mark.long)])
async def test_failover_to_a_replica_that_lags(tmp_path: Path, off_s: int) -> None:
    primary = ValkeyServer(tmp_path)
    behind = ("--replicaof", "127.0.0.1", str(primary.port))
    replica = ValkeyServer(tmp_path, *behind, env=clock_off_by(off_s))
    sentinel = Sentinel(tmp_path, primary)
    with stopping(sentinel, replica, primary), Cluster(redis_url=sentinel.primary_url) as cluster:
        assert is_off_by(replica, off_s)
        await eventually.until(
            lambda: sentinel.command("SENTINEL", "REPLICAS", "desks"), "the sentinel knows"
        )
        cluster.start_nodes(2)
        async with Relay(primary.port) as relay, scene(cluster) as there, watched(cluster) as watch:
            pairing = links.make_pairing(primary.client, "paired", "player")
            replica.command("REPLICAOF", "127.0.0.1", str(relay.port))
            await eventually.until(
                lambda: replica.client.info()["master_link_status"] == "up", "the replica follows"
            )
            relay.cut()
            await happens_unseen(there, pairing)
            primary.process.send_signal(signal.SIGKILL)
            killed_at = time.monotonic()
            async with strangers(there):
                await eventually.until(
                    lambda: replica.client.role()[0] == b"master", "failover", 60, poll_s=0.05
                )
                new_at = time.monotonic()
                took_s = await there.crowd.all_deliver(new_at)
                await there.crowd.plain_deliver(new_at)
                await asyncio.sleep(max(0.0, new_at + 6 - time.monotonic()))
            print(f"failover {new_at - killed_at:.1f} s, then 99 % deliver in {took_s:.2f} s")
            assert took_s < 3 * 4
            assert watch.slowest_s < 3
            said = await say_hello(cluster.nodes[1].address, "paired", token=pairing)
            assert said["code"] == "unauthorized"
            assert not any(client.began_anew for client in there.crowd.clients)
            cluster.redis = replica
            await there.check_whole()
