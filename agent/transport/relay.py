"""A relay of our own, from the first TURN server that gives one: by UDP, else by TCP, else by TLS.

aioice knows one TURN server; firewalls drop UDP, or all but port 443. A way that says nothing holds the next one up
for a second only, as connection attempts do in RFC 8305.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import Final

import aioice
from aioice import ice, stun

from agent.transport.candidates import ServerAddress

ALLOCATE_LIMIT_S: Final = 5.0
"""aioice's own limit for STUN and TURN."""
NEXT_AFTER_S: Final = 1.0
"""Two retransmissions (RFC 8489 6.2.1); a way with a round trip that long is none to play over."""

Relay = tuple[aioice.Candidate, ice.StunProtocol]

log = logging.getLogger(__name__)


def by_way(servers: Sequence[ServerAddress]) -> list[ServerAddress]:
    """UDP first, which delays nothing; TLS last, which delays most and passes nearly everywhere."""
    return sorted(servers, key=lambda server: (server.tls, server.transport != "udp"))


async def first_relay(
    connection: aioice.Connection, servers: Sequence[ServerAddress]
) -> Relay | None:
    """The relay that answered first, in the order of `by_way`; None where none did."""
    waiting = deque(by_way(servers))
    running: set[asyncio.Task[Relay | None]] = set()
    try:
        while waiting or running:
            if waiting:
                running.add(asyncio.create_task(_allocate(connection, waiting.popleft())))
            done, running = await asyncio.wait(
                running,
                timeout=NEXT_AFTER_S if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            relays = [relay for task in done if (relay := task.result()) is not None]
            for _, late in relays[1:]:
                await late.close()
            if relays:
                return relays[0]
        return None
    finally:
        await _end(running)


async def _end(running: set[asyncio.Task[Relay | None]]) -> None:
    """Nobody wants these any more."""
    for task in running:
        task.cancel()
    if running:
        await asyncio.wait(running)
    for task in running:
        if not task.cancelled() and (relay := task.result()) is not None:
            await relay[1].close()


async def _allocate(connection: aioice.Connection, server: ServerAddress) -> Relay | None:
    try:
        async with asyncio.timeout(ALLOCATE_LIMIT_S):
            return await ice.relayed_candidate(
                component=1,
                hide_related_address=False,
                protocol_factory=lambda: ice.StunProtocol(connection),
                turn_server=(server.host, server.port),
                turn_username=server.username,
                turn_password=server.credential,
                turn_ssl=server.tls,
                turn_transport=server.transport,
            )
    except (TimeoutError, OSError, KeyError, ValueError, stun.TransactionError) as error:
        words = str(error) or type(error).__name__
        way = "TLS" if server.tls else server.transport.upper()
        log.info("TURN server %s:%d by %s: no relay (%s)", server.host, server.port, way, words)
        return None
