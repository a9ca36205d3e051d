"""Our own relay by a real coturn, over each way, where the ones before it are dead."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from typing import Literal

import pytest
from aioice import Connection

from agent.transport import ice
from agent.transport.candidates import ServerAddress
from agent.transport.relay import ALLOCATE_LIMIT_S, by_way
from cluster import turn
from cluster.protocol.messages import PeerId
from tests.coturn import SECRET, Coturn, coturn

LOCAL = "127.0.0.1"


@pytest.fixture(scope="module")
def server() -> Iterator[Coturn]:
    with coturn() as running:
        yield running


@pytest.fixture
def dead() -> Iterator[int]:
    """A port that swallows UDP and takes TCP connections without a word."""
    with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        stream.bind((LOCAL, 0))
        stream.listen()
        datagrams.bind((LOCAL, stream.getsockname()[1]))
        yield stream.getsockname()[1]


def address(port: int, way: Literal["udp", "tcp"], *, tls: bool = False) -> ServerAddress:
    username, password = turn.credential(SECRET, PeerId("peer"), int(time.time()) + 600)
    return ServerAddress("turn", LOCAL, port, way, tls, username, password)


def test_ways_are_tried_by_what_they_cost() -> None:
    tls, tcp, udp = address(3, "tcp", tls=True), address(2, "tcp"), address(1, "udp")
    assert by_way([tls, tcp, udp]) == [udp, tcp, tls]


async def relays(servers: list[ServerAddress]) -> list[str]:
    """The candidates that a connection reports; it is closed again."""
    connection, found = Connection(ice_controlling=False), []
    try:
        await ice.gather_public(connection, servers, lambda one: found.append(one.type))
        return found
    finally:
        await connection.close()


@pytest.mark.parametrize("way", ["udp", "tcp", "tls"])
async def test_the_first_way_that_answers_relays(
    way: str, server: Coturn, dead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(server.authority))
    servers = [
        address(server.tls_port if way == "tls" else dead, "tcp", tls=True),
        address(server.port if way == "tcp" else dead, "tcp"),
        address(server.port if way == "udp" else dead, "udp"),
    ]
    tasks = asyncio.all_tasks()
    assert await relays(servers) == ["relay"]
    assert asyncio.all_tasks() == tasks


async def test_no_way_at_all_is_no_relay_and_takes_no_longer_than_the_last_one(dead: int) -> None:
    ways = [address(dead, "udp"), address(dead, "tcp"), address(dead, "tcp", tls=True)]
    began = time.monotonic()
    assert await relays(ways) == []
    one_after_the_other_s = len(ways) * ALLOCATE_LIMIT_S
    assert time.monotonic() - began < one_after_the_other_s
