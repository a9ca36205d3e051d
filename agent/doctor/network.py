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
from agent.trial import JoinFailed, try_join

MAX_SERVERS: Final = 16
NO_NODE: Final = (
    "no node is configured: enrol this machine (`tightbeam-agent enroll --url ... --token -`); the"
    " node names the STUN and TURN servers to try"
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
    try:
        welcome = await try_join(joining)
    except JoinFailed as error:
        taken = error.failure == "host-present"
        words = f"{error.words}; so its STUN and TURN servers could not be asked for"
        return [
            Check("network", "node", "works" if taken else "fails", words if taken else error.words)
        ]
    took_ms = (time.monotonic() - began) * 1000
    servers = addresses(ice_servers(welcome.ice_servers))[:MAX_SERVERS]
    words = f"{masked(settings.url)} takes this host in room {settings.room}, in {took_ms:.0f} ms"
    node = Check("network", "node", "works", words, {"join_ms": round(took_ms)})
    if not servers:
        none = "the node names no STUN or TURN server (TURN_URLS): hosts behind a NAT stay out of reach"
        return [node, Check("network", "nat", "absent", none)]
    return [node, *await server_checks(servers)]


async def server_checks(servers: Sequence[ServerAddress]) -> list[Check]:
    """Each TURN server and way, each STUN server, and the NAT as all of them see it."""
    relays = [server for server in servers if server.kind == "turn"]
    relayed = asyncio.gather(*(_relay(server) for server in relays))
    seen = await _addresses(servers)
    try:
        found = await nat.explore(list(dict.fromkeys(seen.values())))
    except OSError as error:
        found = nat.Nat("unknown", "unknown", {})
        failed = [Check("network", "nat", "fails", f"there is no IPv4 here: {error}")]
    else:
        failed = []
    rows = await relayed
    for server in servers:
        if server.kind == "stun":
            rows.append(_stun(server, seen.get(_name(server)), found))
    return [*rows, *(failed or [_nat(found, relayed=any(r.state == "works" for r in rows))])]


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
