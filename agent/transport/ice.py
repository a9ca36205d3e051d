"""Our side of ICE: host candidates before the answer, reflexive and relayed ones while the viewer connects."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

import aioice
from aioice import ice, stun

from agent.transport.candidates import ServerAddress
from agent.transport.ports import PortRange, host_protocols
from agent.transport.relay import first_relay

LOOPBACK: Final = "127.0.0.1"
MAX_HOST_ADDRESSES: Final = 16
GATHER_TIMEOUT_S: Final = 5.0
"""aioice's own limit for STUN and TURN."""
CHECK_S: Final = 0.02
"""Between two checks, as in aioice; RFC 8445 14.2 asks for 5 ms at least, with 50 ms as the default."""

log = logging.getLogger(__name__)


def host_addresses() -> list[str]:
    """This machine's addresses, and loopback last: a viewer on the same machine may have no other.

    Differs: RFC 8445 5.1.1.1 leaves loopback out; a machine without a network must work, too.
    """
    found = ice.get_host_addresses(use_ipv4=True, use_ipv6=True)
    return [*found[: MAX_HOST_ADDRESSES - 1], LOOPBACK]


async def gather_host(connection: aioice.Connection, ports: PortRange | None = None) -> None:
    """Bind a socket on each address; takes no round trip. Raise NoPortFree (agent/transport/ports.py)."""
    state: Any = connection
    state._local_candidates_start = True
    protocols = await host_protocols(connection, host_addresses(), ports)
    state._protocols += protocols
    state._local_candidates += [protocol.local_candidate for protocol in protocols]
    state._local_candidates_end = True
    if state._closing:
        await connection.close()  # again: it did not know of the sockets that were just bound


async def gather_public(
    connection: aioice.Connection,
    servers: Sequence[ServerAddress],
    found: Callable[[aioice.Candidate], None],
) -> None:
    """Ask the STUN servers for our public address, and for one relay (agent/transport/relay.py)."""
    known = {(c.host, c.port) for c in connection.local_candidates}

    def report(candidate: aioice.Candidate) -> None:
        if (candidate.host, candidate.port) not in known:
            known.add((candidate.host, candidate.port))
            found(candidate)

    async with asyncio.TaskGroup() as group:
        for server in servers:
            if server.kind == "stun":
                for protocol in _public_sockets(connection):
                    group.create_task(_reflexive(protocol, server, report))
        relays = [server for server in servers if server.kind == "turn"]
        if relays:
            group.create_task(_relayed(connection, relays, report))


def _public_sockets(connection: aioice.Connection) -> list[Any]:
    state: Any = connection
    return [
        protocol
        for protocol in state._protocols
        if ":" not in protocol.local_candidate.host and protocol.local_candidate.host != LOOPBACK
    ]


async def _reflexive(
    protocol: ice.StunProtocol, server: ServerAddress, report: Callable[[aioice.Candidate], None]
) -> None:
    try:
        async with asyncio.timeout(GATHER_TIMEOUT_S):
            candidate, _ = await ice.server_reflexive_candidate(
                protocol, (server.host, server.port)
            )
    except (TimeoutError, OSError, KeyError, stun.TransactionError) as error:
        log.info("STUN server %s:%d: no answer (%s)", server.host, server.port, _why(error))
        return
    report(candidate)


async def _relayed(
    connection: aioice.Connection,
    servers: Sequence[ServerAddress],
    report: Callable[[aioice.Candidate], None],
) -> None:
    found = await first_relay(connection, servers)
    if found is not None:
        candidate, protocol = found
        await _add_relay(connection, candidate, protocol)
        report(candidate)


async def _add_relay(
    connection: aioice.Connection, candidate: aioice.Candidate, protocol: ice.StunProtocol
) -> None:
    state: Any = connection
    if state._check_list_done:  # connected without it, or closed
        await protocol.close()
        return
    state._protocols.append(protocol)
    state._local_candidates.append(candidate)
    for remote in state._remote_candidates:
        state._pair_remote_candidate(remote)
    connection.sort_check_list()


async def add_remote(connection: aioice.Connection, candidate: aioice.Candidate) -> None:
    """Take a candidate of the viewer. A `.local` name (mDNS) is resolved, or skipped where that fails."""
    with contextlib.suppress(ValueError):  # end-of-candidates was signalled: never by us
        try:
            async with asyncio.timeout(GATHER_TIMEOUT_S):
                await connection.add_remote_candidate(candidate)
        except (TimeoutError, OSError) as error:
            log.info("candidate with an mDNS name skipped (%s)", _why(error))


async def connect(connection: aioice.Connection) -> None:
    """Find a path, in the stead of aioice's own, which looks only each 20 ms, between two checks, whether it has one.

    Raises ConnectionError when there is none.
    """
    state: Any = connection
    for candidate in state._remote_candidates:
        state._pair_remote_candidate(candidate)
    connection.sort_check_list()
    state._unfreeze_initial()
    for early in state._early_checks:
        connection.check_incoming(*early)
    state._early_checks.clear()
    state._early_checks_done = True
    checks = asyncio.create_task(_check(state))
    try:
        result = await state._check_list_state.get()
    finally:
        checks.cancel()
    for pair in state._check_list:
        if pair.task is not None:
            pair.task.cancel()
    if result != ice.ICE_COMPLETED:
        raise ConnectionError("no path was found")
    state._query_consent_task = asyncio.create_task(connection.query_consent())


async def _check(state: Any) -> None:
    """Start what is to be checked, one pair after the other."""
    while state._check_periodic():  # noqa: ASYNC110 - a pace, and no wait for it
        await asyncio.sleep(CHECK_S)


async def end(connection: aioice.Connection) -> None:
    """After `close`: end `connect`, and the consent checks of one that has a result already."""
    state: Any = connection
    while not state._check_list_state.empty():
        state._check_list_state.get_nowait()
    state._check_list_state.put_nowait(ice.ICE_FAILED)
    await asyncio.sleep(0)  # let a `connect` that has its result already go on to its end
    task = state._query_consent_task
    if task is not None and not task.done():
        task.cancel()
        await asyncio.wait([task])


def _why(error: Exception) -> str:
    return str(error) or type(error).__name__
