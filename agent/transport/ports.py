"""Binds UDP sockets, those of host candidates first: on any port, or on one of a range that a firewall lets through."""

from __future__ import annotations

import asyncio
import errno
import logging
import random
import socket
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

import aioice
from aioice import ice
from aioice.candidate import candidate_foundation, candidate_priority

COMPONENT: Final = 1
RECEIVE_BUFFER_BYTES: Final = 262_144
"""aioice's own."""
DATAGRAM_BYTES: Final = 65_536
"""No datagram is longer. asyncio makes room for 256 KiB for each that comes, which the system maps and unmaps."""
TAKEN: Final = {errno.EADDRINUSE, errno.EACCES}
"""EACCES: below 1024, or reserved by Windows."""

PortRange = tuple[int, int]
"""The first and the last UDP port, both included."""

P = TypeVar("P", bound=asyncio.DatagramProtocol)

log = logging.getLogger(__name__)


class NoPortFree(ValueError):
    """The text says which range, and what to do."""


async def host_protocols(
    connection: aioice.Connection, addresses: Iterable[str], ports: PortRange | None
) -> list[ice.StunProtocol]:
    """A socket on each address that lets itself be bound, with its candidate.

    Raise NoPortFree when every address has one of the range's ports in use and none free.
    """
    bound, full = [], []
    for address in addresses:
        protocol, why = await _bind(connection, address, ports)
        if protocol is not None:
            bound.append(protocol)
        elif why in TAKEN:
            full.append(address)
        else:
            log.info("no candidate of %s: it cannot be bound", address)
    if ports is not None and full:
        words = f"no UDP port from {ports[0]} to {ports[1]} is free on {', '.join(full)}"
        if not bound:
            raise NoPortFree(
                f"{words}: a session takes one, and another one while it changes its connection;"
                " end a session, or widen udp_ports"
            )
        log.warning("%s", words)
    return bound


async def _bind(
    connection: aioice.Connection, address: str, ports: PortRange | None
) -> tuple[ice.StunProtocol | None, int | None]:
    """The socket, or the last errno."""
    try:
        transport, protocol = await bind(lambda: ice.StunProtocol(connection), address, ports)
    except OSError as error:
        return None, error.errno
    protocol.local_candidate = _made_ready(transport)
    return protocol, None


async def bind(make: Callable[[], P], address: str, ports: PortRange | None) -> tuple[Any, P]:
    """A socket with its protocol. Raises OSError, with an errno of `TAKEN` where no port of the range is free."""
    problem = OSError()
    transport: Any
    for port in _order(ports):
        try:
            transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
                make, local_addr=(address, port)
            )
        except OSError as error:
            problem = error
            if error.errno not in TAKEN:
                break
        else:
            transport.max_size = DATAGRAM_BYTES
            return transport, protocol
    raise problem


def _order(ports: PortRange | None) -> Iterable[int]:
    """Beginning anywhere: a port that was just given back may still be sent to."""
    if ports is None:
        return (0,)
    first, last = ports
    begin = random.randint(first, last)  # noqa: S311 - no secret
    return (*range(begin, last + 1), *range(first, begin))


def _made_ready(transport: Any) -> aioice.Candidate:
    """The candidate of a bound socket (RFC 8445 5.1.1.1)."""
    bound: socket.socket = transport.get_extra_info("socket")
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    host, port = transport.get_extra_info("sockname")[:2]
    return aioice.Candidate(
        foundation=candidate_foundation("host", "udp", host),
        component=COMPONENT,
        transport="udp",
        priority=candidate_priority(COMPONENT, "host"),
        host=host,
        port=port,
        type="host",
    )
