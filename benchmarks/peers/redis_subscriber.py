"""The subscribers of S5, all on uvloop: `python redis_subscriber.py ours|redis-py|coredis SOCKET`.

Each holds the pattern `node:*` as one of our nodes would, prints "0" when it is subscribed, counts what comes, and
prints the number when "end" has come.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

PATTERN = "node:*"


async def count(messages: AsyncIterator[bytes]) -> None:
    """Print how many came before each "end"."""
    number = 0
    async for body in messages:
        if body == b"end":
            print(number, flush=True)
            number = 0
        else:
            number += 1


async def ours(path: str) -> None:
    """The node's own connection."""
    from cluster.link import Link
    from cluster.redis_url import RedisUrl
    from cluster.resp import RespConnection

    number = 0

    def pushed(push: list[Any]) -> None:
        nonlocal number
        if push[3] == b"end":
            print(number, flush=True)
            number = 0
        else:
            number += 1

    async def subscribe(connection: RespConnection) -> None:
        await connection.call("PSUBSCRIBE", PATTERN)
        print(0, flush=True)

    await Link(RedisUrl.parse(f"unix://{path}"), subscribe, pushed).run()


async def redis_py(path: str) -> None:
    """As redis-py's documentation shows it."""
    from redis.asyncio import Redis

    async with Redis(unix_socket_path=path) as client, client.pubsub() as pubsub:
        await pubsub.psubscribe(PATTERN)
        print(0, flush=True)

        async def bodies() -> AsyncIterator[bytes]:
            async for message in pubsub.listen():
                if message["type"] == "pmessage":
                    yield message["data"]

        await count(bodies())


async def coredis(path: str) -> None:
    """As coredis' documentation shows it."""
    import coredis as library

    async with (
        library.Redis.from_url(f"unix://{path}") as client,
        client.pubsub(ignore_subscribe_messages=True) as pubsub,
    ):
        await pubsub.psubscribe(PATTERN)
        print(0, flush=True)

        async def bodies() -> AsyncIterator[bytes]:
            async for message in pubsub:
                yield message["data"]

        await count(bodies())


def main(kind: str, path: str) -> None:
    """Until a signal."""
    import uvloop

    uvloop.run({"ours": ours, "redis-py": redis_py, "coredis": coredis}[kind](path))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(0)
