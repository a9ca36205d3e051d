"""Fixtures of the cluster's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import redis
import uvloop

from tests.cluster import support


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], uvloop.Loop]]:
    """The loop that a node runs on: its transports raise where asyncio's do not."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    with support.valkey() as server:
        yield server.url


@pytest.fixture
def redis_url(valkey_url: str) -> str:
    redis.Redis.from_url(valkey_url).flushall()
    return valkey_url


@pytest.fixture
async def node(redis_url: str) -> AsyncIterator[support.RunningNode]:
    async with support.node(support.base_settings(redis_url)) as running:
        yield running


@pytest.fixture
async def open_node(redis_url: str) -> AsyncIterator[support.RunningNode]:
    """A node with --no-pairing."""
    async with support.node(support.base_settings(redis_url, pairing=False)) as running:
        yield running
