"""One look at every host's telemetry in Redis: SCAN in pages, MGET in batches, at the exporter's own pace."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from cluster.exporter.fleet import Fleet
from cluster.resp import RedisRefused, RedisUnavailable, RespConnection
from cluster.store.redis import HOST_PREFIX

PAGE_KEYS: Final = 500
"""SCAN goes through all keys, rooms too: 500 take Redis 0.1 ms."""
BATCH_KEYS: Final = 250
"""Of MGET: at most 10 MiB, as a frame has 40 KiB at most."""
LIMIT_S: Final = 60.0
"""For one look: more than a million keys take."""


Clock = Callable[[], float]
"""The wall clock, in seconds."""


class SweepFailed(Exception):
    """Redis did not let us look at everything; the text says why."""


async def sweep(connection: RespConnection, fleet: Fleet, clock: Clock) -> None:
    """Note every host that is there, and complete the look; raises SweepFailed with the look incomplete."""
    try:
        async with asyncio.timeout(LIMIT_S):
            await _pages(connection, fleet, clock)
    except TimeoutError:
        raise SweepFailed(f"Redis did not show all keys within {LIMIT_S:g} s") from None
    except (RedisUnavailable, RedisRefused) as error:
        raise SweepFailed(str(error)) from None
    fleet.complete(clock())


async def _pages(connection: RespConnection, fleet: Fleet, clock: Clock) -> None:
    cursor = b"0"
    while True:
        pattern = f"{HOST_PREFIX}*"
        cursor, keys = await connection.call("SCAN", cursor, "MATCH", pattern, "COUNT", PAGE_KEYS)
        for first in range(0, len(keys), BATCH_KEYS):
            batch = keys[first : first + BATCH_KEYS]
            frames = await connection.call("MGET", *batch)
            now = clock()
            for key, frame in zip(batch, frames, strict=True):
                if frame is not None:
                    name = key.removeprefix(HOST_PREFIX.encode()).decode("latin-1")
                    fleet.note(name, frame, now)
        if cursor == b"0":
            return
