"""Finds out how a NAT between us and the STUN servers maps and filters (RFC 5780 4.3, 4.4), over IPv4 and UDP.

Differs: without a server that has two addresses (OTHER-ADDRESS) the mapping is compared over all servers at hand.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal

from aioice import stun

from agent.transport.ports import PortRange, bind

Address = tuple[str, int]
Answer = tuple[Address, Address | None]
"""The address that the server saw, and its OTHER-ADDRESS."""

MappingBehaviour = Literal["none", "endpoint-independent", "address-dependent", "unknown"]
"""`none`: our own address is what the servers see; `address-dependent`: or of the port as well ("symmetric")."""
FilteringBehaviour = Literal[
    "endpoint-independent", "address-dependent", "address-and-port-dependent", "unknown"
]

RETRANSMISSIONS: Final = 2
"""After 0.5 s and 1 s more; given up after 3.5 s (RFC 8489 6.2.1, shortened)."""
CHANGE_ADDRESS_AND_PORT: Final = 0x06
CHANGE_PORT: Final = 0x02
"""RFC 5780 7.2."""


@dataclass(frozen=True, slots=True)
class Nat:
    """`answered`: what each server that answered saw as our address."""

    mapping: MappingBehaviour
    filtering: FilteringBehaviour
    answered: Mapping[Address, Address]


async def explore(servers: Sequence[Address], ports: PortRange | None = None) -> Nat:
    """Ask the servers, by IPv4 address, from any port or from those of a range; takes at most 15 s.

    Raises OSError where there is no IPv4, or no port of the range is free (agent/transport/ports.py).
    """
    async with _client(ports) as client:
        answers = dict(zip(servers, await client.ask_all(servers), strict=True))
        mapped = {server: found[0] for server, found in answers.items() if found is not None}
        primary, other = _pair(answers)
        if primary is not None and other is not None:
            more = [(other[0], primary[1]), other]
            for server, found in zip(more, await client.ask_all(more), strict=True):
                if found is not None:
                    mapped[server] = found[0]
        own = {(_own_address(server), client.port) for server in mapped}
        filtering: FilteringBehaviour = "unknown"
        if primary is not None:
            with contextlib.suppress(OSError):  # a range with one free port, which `client` has
                filtering = await _filtering(primary, ports)
    return Nat(classify(mapped, own), filtering, mapped)


def _pair(answers: Mapping[Address, Answer | None]) -> tuple[Address | None, Address | None]:
    """The first server that has a second IP address, and that address (RFC 5780 7.4), if there is one."""
    for server, answer in answers.items():
        if answer is not None and answer[1] is not None and answer[1][0] != server[0]:
            return server, answer[1]
    return None, None


def classify(mapped: Mapping[Address, Address], own: set[Address]) -> MappingBehaviour:
    """How a NAT maps one socket, from what each server saw of it (RFC 5780 4.3)."""
    seen = set(mapped.values())
    if not seen:
        return "unknown"
    if seen <= own:
        return "none"
    if len(seen) > 1:
        return "address-dependent"
    return "endpoint-independent" if len({host for host, _ in mapped}) > 1 else "unknown"


async def _filtering(server: Address, ports: PortRange | None) -> FilteringBehaviour:
    """From a new socket, on a port that has sent to nobody else (RFC 5780 4.4)."""
    async with _client(ports) as client:
        if await client.ask(server) is None:
            return "unknown"
        if await client.ask(server, CHANGE_ADDRESS_AND_PORT) is not None:
            return "endpoint-independent"
        if await client.ask(server, CHANGE_PORT) is not None:
            return "address-dependent"
        return "address-and-port-dependent"


class _Client(asyncio.DatagramProtocol):
    """One UDP socket that asks Binding requests; answers may come from anywhere."""

    def __init__(self) -> None:
        self._transactions: dict[bytes, stun.Transaction] = {}
        self._transport: Any = None  # asyncio's own are no DatagramTransport in all versions

    @property
    def port(self) -> int:
        return int(self._transport.get_extra_info("sockname")[1])

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        try:
            message = stun.parse_message(data)
        except ValueError:
            return
        transaction = self._transactions.get(message.transaction_id)
        if transaction is not None and message.message_class != stun.Class.REQUEST:
            transaction.response_received(message, addr)

    def send_stun(self, message: stun.Message, addr: Address) -> None:
        """Called by aioice's Transaction."""
        self._transport.sendto(bytes(message), addr)

    async def ask(self, server: Address, change: int = 0) -> Answer | None:
        """None without an answer."""
        request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
        if change:
            request.attributes["CHANGE-REQUEST"] = change
        transaction = stun.Transaction(request, server, self, retransmissions=RETRANSMISSIONS)
        self._transactions[request.transaction_id] = transaction
        try:
            answer, _ = await transaction.run()
        except stun.TransactionError:
            return None
        mapped = answer.attributes.get("XOR-MAPPED-ADDRESS")
        return None if mapped is None else (mapped, answer.attributes.get("OTHER-ADDRESS"))

    async def ask_all(self, servers: Sequence[Address]) -> list[Answer | None]:
        return list(await asyncio.gather(*(self.ask(server) for server in servers)))


@asynccontextmanager
async def _client(ports: PortRange | None) -> AsyncIterator[_Client]:
    transport, client = await bind(_Client, "0.0.0.0", ports)  # noqa: S104 - to see what a NAT does
    try:
        yield client
    finally:
        transport.close()
        await asyncio.sleep(0)  # only then is its port given back


def _own_address(server: Address) -> str:
    """Of the interface from which the system sends to `server`."""
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        try:
            probe.connect(server)
        except OSError:
            return ""
        return str(probe.getsockname()[0])
