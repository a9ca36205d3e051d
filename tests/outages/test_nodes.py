"""Nodes that die: killed under load, gone without a word, and their clients coming back all at once."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from agent.roster import Event
from agent.signaling import Signaling, SignalingSettings
from tests import eventually
from tests.cluster.support import token
from tests.outages.clients import Balancer
from tests.outages.cluster import Cluster
from tests.outages.crowd import Crowd
from tests.outages.network import NAMESPACES_NEED, Namespace, namespaces_work

OFFICE = "127.2.0.1"


def own_address(number: int) -> str:
    return f"127.1.{number // 250}.{number % 250 + 1}"


async def test_clients_of_a_killed_node_go_on_at_the_others() -> None:
    with Cluster() as cluster:
        cluster.start_nodes(3)
        async with Crowd(cluster.addresses) as crowd:
            crowd.world.source = own_address
            crowd.add(250)
            crowd.add_plain(20)
            await crowd.all_joined()
            await crowd.all_deliver()
            victim = cluster.nodes[0]
            orphans = [client for client in crowd.clients if client.node == victim.address]
            assert len(orphans) > 100
            victim.signal(signal.SIGKILL)
            killed_at = time.monotonic()
            crowd.balancer.nodes.remove(victim.address)
            took_s = await crowd.all_deliver(killed_at)
            print(f"kill -9: 99 % of 250 pairs deliver after {took_s:.2f} s")
            assert took_s < 3 * 1.5
            assert all(client.resumed == 1 for client in orphans)
            assert not any(client.began_anew for client in crowd.clients)
            took_s = await crowd.plain_deliver(killed_at)
            print(f"kill -9: all of 20 plain pairs deliver after {took_s:.2f} s")
            await crowd.nothing_is_lost()
            await crowd.records_are_true(cluster)


@pytest.mark.long
@pytest.mark.skipif(not namespaces_work(), reason=NAMESPACES_NEED)
async def test_clients_of_a_node_that_fell_silent_go_on_at_the_others() -> None:
    with (
        Namespace() as away,
        Cluster("--bind", "127.0.0.1", away.here, "--protected-mode", "no") as cluster,
    ):
        url = f"redis://{away.here}:{cluster.redis.port}"
        # All clients reach the namespace from one address.
        limits = dict.fromkeys(("RATE_LIMIT_CONN_PER_10S", "RATE_LIMIT_IP_MSGS_PER_10S"), "100000")
        victim = cluster.start_node(url, host=away.there, prefix=away.prefix, **limits)
        for _ in range(2):
            cluster.start_node(**limits)
        cluster.all_ready()
        async with Crowd(cluster.addresses) as crowd, agent_at(victim.url("")) as agent:
            crowd.world.source = lambda _: None
            crowd.add(100)
            await crowd.all_joined()
            await crowd.all_deliver()
            orphans = [client for client in crowd.clients if client.node == victim.address]
            assert len(orphans) > 30
            away.swallow()
            silent_at = time.monotonic()
            crowd.balancer.nodes.remove(victim.address)
            took_s = await crowd.all_deliver(silent_at)
            print(f"silent death: 99 % of 100 pairs deliver after {took_s:.2f} s")
            assert took_s < 2 * 7
            assert all(client.resumed == 1 for client in orphans)
            assert not any(client.began_anew for client in crowd.clients)
            await eventually.until(lambda: agent._socket is None, "the agent notices")
            await asyncio.sleep(silent_at + 14 - time.monotonic())  # it is given up by all
            away.heal()
            healed_at = time.monotonic()
            await eventually.until(lambda: agent._socket is not None, "the agent comes back")
            print(f"the agent is back {time.monotonic() - healed_at:.1f} s after its only node")
            await crowd.nothing_is_lost()
            await crowd.records_are_true(cluster)


class Deaf:
    """A listener for an agent whose room stays empty."""

    def on_signal(self, event: Event) -> None:
        """Nothing comes."""


@asynccontextmanager
async def agent_at(url: str) -> AsyncIterator[Signaling]:
    """The real agent's signaling, joined at one node."""
    agent = Signaling(SignalingSettings(url, "desk", token("host", "desk", "host")), Deaf())
    running = asyncio.create_task(agent.run())
    try:
        await eventually.until(lambda: agent._socket is not None, "the agent joins")
        yield agent
    finally:
        running.cancel()
        await asyncio.wait([running])


async def test_two_thousand_clients_come_back_at_once_five_hundred_from_one_address() -> None:
    with Cluster() as cluster:
        cluster.start_nodes(4)
        old, new = cluster.nodes[:2], cluster.nodes[2:]
        async with Crowd([node.address for node in old], say_every_s=3600) as crowd:
            crowd.world.source = own_address
            for _ in range(20):
                crowd.add(50)
                await crowd.all_joined()
            await crowd.settled()
            crowd.world.source = lambda number: OFFICE if number < 500 else own_address(number)
            for node in old:
                node.signal(signal.SIGKILL)
            killed_at = time.monotonic()
            crowd.say()
            crowd.balancer.nodes[:] = [node.address for node in new]
            took_s = await crowd.all_deliver(killed_at)
            print(f"2,000 at once: 99 % of 1,000 pairs deliver after {took_s:.2f} s")
            assert took_s < 3 * 5
            assert not any(client.began_anew for client in crowd.clients)
            refusals = [refusal for client in crowd.clients for refusal in client.refusals]
            assert not refusals
            await crowd.nothing_is_lost()
            await crowd.records_are_true(cluster)


@pytest.mark.long
async def test_page_that_reloads_in_mid_handshake_begins_anew_and_nothing_mixes() -> None:
    with Cluster() as cluster:
        cluster.start_nodes(2)
        async with Crowd(cluster.addresses, say_every_s=0.25) as crowd:
            crowd.world.source = own_address
            chance = random.Random(3)
            pairs = crowd.add(40)
            crowd.add_plain(10, Balancer(cluster.addresses[:1], chance))
            await crowd.all_joined()
            for _ in range(3):
                for pair in pairs:
                    await asyncio.sleep(chance.uniform(0, 0.05))
                    crowd.reload(pair, says_bye=chance.random() < 0.5)
                for peer, _ in crowd.plain:
                    peer.drop()
            reloaded_at = time.monotonic()
            await crowd.all_deliver(reloaded_at)
            await crowd.plain_deliver(reloaded_at)
            await crowd.nothing_is_lost(given_up=True)  # hosts spoke to pages that had just gone
            await crowd.records_are_true(cluster)  # which list the reloaded pages once each
