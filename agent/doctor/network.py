"""Tries the network: the node, each STUN and TURN server that it names, and what a NAT does to us."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from agent.doctor.report import Check, State
from agent.settings import Settings, masked
from agent.signaling import SignalingSettings
from agent.transport import nat, reach
from agent.transport.candidates import ServerAddress, addresses, ice_servers
from agent.transport.ports import TAKEN, PortRange
from agent.trial import JoinFailed, Servers, try_join

MAX_SERVERS: Final = 16
NO_NODE: Final = (
    "no node is configured: enrol this machine (`tightbeam-agent enroll --url ... --token -`); the"
    " node names the STUN and TURN servers to try"
)
NO_SERVER: Final = (
    "the node names no STUN or TURN server (TURN_URLS): hosts behind a NAT stay out of reach"
)
FULL: Final = (
    "no UDP port from {0} to {1} is free: sessions that run have them, or another program; widen"
    " udp_ports, or new sessions are refused. The servers were asked from another port"
)
MAPPINGS: Final[dict[nat.MappingBehaviour, str]] = {
    "none": "no NAT on the way to these servers: they see this machine's own address",
    "endpoint-independent": "a NAT that keeps one public address for all: browsers can reach this host directly",
    "address-dependent": "a NAT with another public address for each destination (symmetric): only some"
    " browsers can reach this host directly, the others need a TURN server",
    "unknown": "a NAT, of an unknown kind: a STUN server with a second IP address tells (coturn with two)",
}


async def checks(settings: Settings, *, configured: bool) -> list[Check]:
    """At most half a minute. `configured`: a node was named, not only the default one of this machine."""
    if not configured:
        return [Check("network", "node", "absent", NO_NODE)]
    began = time.monotonic()
    joining = SignalingSettings(settings.url, settings.room, settings.token, settings.ca_file)
    named: Servers
    try:
        named = (await try_join(joining)).ice_servers
        words = f"{masked(settings.url)} takes this host in room {settings.room}"
    except JoinFailed as error:
        if error.failure != "host-present":
            return [Check("network", "node", "fails", error.words)]
        named, words = error.ice_servers, error.words
    took_ms = (time.monotonic() - began) * 1000
    node = Check(
        "network", "node", "works", f"{words}, in {took_ms:.0f} ms", {"join_ms": round(took_ms)}
    )
    servers = addresses(ice_servers(named))[:MAX_SERVERS]
    if not servers:
        return [node, Check("network", "nat", "absent", NO_SERVER)]
    return [node, *await server_checks(servers, settings.udp_ports)]


async def server_checks(
    servers: Sequence[ServerAddress], ports: PortRange | None = None
) -> list[Check]:
    """Each TURN server and way, each STUN server, and the NAT as all of them see a port of the range."""
    relays = [server for server in servers if server.kind == "turn"]
    relayed = asyncio.gather(*(_relay(server) for server in relays))
    seen = await _addresses(servers)
    found, failed = await _explored(list(dict.fromkeys(seen.values())), ports)
    rows = await relayed
    for server in servers:
        if server.kind == "stun":
            rows.append(_stun(server, seen.get(_name(server)), found))
    if all(row.name != "nat" for row in failed):
        failed.append(_nat(found, relayed=any(row.state == "works" for row in rows)))
    return [*rows, *failed]


async def _explored(
    asked: Sequence[nat.Address], ports: PortRange | None
) -> tuple[nat.Nat, list[Check]]:
    """What the servers saw, and the rows of what kept us from asking as sessions do."""
    failed: list[Check] = []
    for tried in dict.fromkeys((ports, None)):
        try:
            return await nat.explore(asked, tried), failed
        except OSError as error:
            if tried is None:
                words = f"there is no IPv4 here: {error}"
                failed.append(Check("network", "nat", "fails", words))
            elif error.errno in TAKEN:
                failed.append(Check("network", "udp_ports", "fails", FULL.format(*tried)))
    return nat.Nat("unknown", "unknown", {}), failed


async def _addresses(servers: Sequence[ServerAddress]) -> dict[str, nat.Address]:
    """The IPv4 address of each server that answers STUN by UDP: TURN servers do, too (RFC 8656 3)."""
    by_udp = [server for server in servers if server.transport == "udp"]

    async def found(server: ServerAddress) -> tuple[str, nat.Address] | None:
        try:
            return _name(server), (await reach.resolve(server), server.port)
        except reach.Unreachable:
            return None

    return dict(row for row in await asyncio.gather(*map(found, by_udp)) if row is not None)


async def _relay(server: ServerAddress) -> Check:
    began = time.monotonic()
    try:
        host, port = await reach.allocate(server)
    except reach.Unreachable as error:
        return Check("network", _name(server), "fails", str(error))
    took_ms = (time.monotonic() - began) * 1000
    words = f"relays for this host from {host}:{port}, allocated in {took_ms:.0f} ms"
    return Check("network", _name(server), "works", words, {"allocate_ms": round(took_ms)})


def _stun(server: ServerAddress, address: nat.Address | None, found: nat.Nat) -> Check:
    if address is None:
        words = f"the host name {server.host} is not known as IPv4: check DNS"
        return Check("network", _name(server), "fails", words)
    if (mapped := found.answered.get(address)) is None:
        words = f"no answer: a firewall may drop UDP to port {server.port}"
        return Check("network", _name(server), "fails", words)
    return Check("network", _name(server), "works", f"sees this host as {mapped[0]}:{mapped[1]}")


def _nat(found: nat.Nat, *, relayed: bool) -> Check:
    state: State = "works"
    words = MAPPINGS[found.mapping]
    if not found.answered:
        state = "fails"
        words = "no server answers by UDP: this network lets no UDP out" + (
            "; the relay by TCP or TLS works, with more delay" if relayed else ""
        )
    elif found.mapping == "address-dependent" and not relayed:
        state = "fails"
    if found.filtering != "unknown":
        words += f"; filtering is {found.filtering}"
    figures = {"mapping": found.mapping, "filtering": found.filtering}
    return Check("network", "nat", state, words, figures)


def _name(server: ServerAddress) -> str:
    """As a URL, without what is the default (RFC 7064, RFC 7065)."""
    scheme = f"{server.kind}s" if server.tls else server.kind
    by = "?transport=tcp" if server.transport == "tcp" else ""
    return f"{scheme}:{server.host}:{server.port}{by}"
