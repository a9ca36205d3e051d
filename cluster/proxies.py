"""Who a client is: its address and whether it came by TLS, from the socket and from configured proxies. A core.

Only a peer within the configured networks is believed about anybody else, and X-Forwarded-For is read from its
right end, where the nearest proxy writes: what a client has made up stands to the left of its own address.
Forwarded (RFC 7239) is not read: proxies that write one of the two headers pass the other on as it came.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final, NewType

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address
ClientAddress = NewType("ClientAddress", str)
"""What limits count by, safe within a key: an IPv4 address, an IPv6 network of 64 bits, or `UNKNOWN`."""

UNKNOWN: Final = ClientAddress("unknown")
"""A peer without an address: a unix socket."""
SITE_BITS: Final = 64
"""Of IPv6, what one site has at least, and can walk through at will (RFC 6177)."""
HOPS: Final = 16
"""More proxies in a row than anybody has."""
ENTRY_CHARACTERS: Final = 64
"""The longest address with brackets and port has 47."""


@dataclass(frozen=True, slots=True)
class Client:
    """Where a connection comes from."""

    address: ClientAddress
    came_by_tls: bool


def networks(text: str) -> tuple[Network, ...]:
    """A list by comma of addresses and networks, as `10.0.0.0/8, ::1`; raises ValueError in words."""
    return tuple(ip_network(entry.strip()) for entry in text.split(",") if entry.strip())


def client_address(address: Address | None) -> ClientAddress:
    """What stands for this address where clients are counted."""
    if address is None:
        return UNKNOWN
    if isinstance(address, IPv4Address):
        return ClientAddress(str(address))
    site = int(address) >> (128 - SITE_BITS) << (128 - SITE_BITS)
    return ClientAddress(str(IPv6Network((site, SITE_BITS))))


def parse_address(text: str) -> Address | None:
    """An address, perhaps with a port; IPv4 within IPv6 is IPv4. None for anything else."""
    text = text.strip()
    if len(text) > ENTRY_CHARACTERS:
        return None
    if text.startswith("["):
        text, _, port = text[1:].partition("]")
        if port and not (port[0] == ":" and port[1:].isdecimal()):
            return None
    elif text.count(":") == 1:
        text, _, port = text.partition(":")
        if not port.isdecimal():
            return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


class Proxies:
    """The networks that are believed; none: every header is ignored."""

    def __init__(self, trusted: Sequence[Network] = ()) -> None:
        self._trusted = tuple(trusted)

    def client(
        self, peer: str | None, headers: Iterable[tuple[bytes, bytes]], *, tls: bool
    ) -> Client:
        """The client of a socket from `peer`, which itself came by TLS or not; header names are lower case."""
        if not self._trusted and peer is not None and ":" not in peer:
            return Client(ClientAddress(peer), tls)  # IPv4, as the kernel writes it
        address = parse_address(peer) if peer is not None else None
        if not self._trusts(address):
            return Client(client_address(address), tls)
        forwarded_for, protocols = _entries(headers)
        hops = 0
        while hops < len(forwarded_for) and self._trusts(address):
            named = parse_address(forwarded_for[-1 - hops])
            if named is None:
                break
            address = named
            hops += 1
        if protocols:
            # Proxies append here too, or only the nearest one speaks.
            tls = protocols[-min(max(hops, 1), len(protocols))].lower() in ("https", "wss")
        return Client(client_address(address), tls)

    def _trusts(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self._trusted)


def _entries(headers: Iterable[tuple[bytes, bytes]]) -> tuple[list[str], list[str]]:
    """The last entries of X-Forwarded-For and of X-Forwarded-Proto, over all lines of each."""
    forwarded_for: list[str] = []
    protocols: list[str] = []
    for name, value in headers:
        if name == b"x-forwarded-for":
            forwarded_for += value.decode("latin-1").split(",")
        elif name == b"x-forwarded-proto":
            protocols += (entry.strip() for entry in value.decode("latin-1").split(","))
    return forwarded_for[-HOPS:], protocols[-HOPS:]
