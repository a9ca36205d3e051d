"""ICE candidates and servers between the wire's form (docs/protocol.md) and aioice's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import aioice
from aiortc.rtcicetransport import parse_stun_turn_uri

from cluster.protocol.messages import Candidate

END_OF_CANDIDATES = ""


@dataclass(frozen=True, slots=True)
class IceServer:
    """One W3C RTCIceServer."""

    urls: tuple[str, ...]
    username: str | None = None
    credential: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """One STUN or TURN server that aioice can use."""

    kind: Literal["stun", "turn"]
    host: str
    port: int
    transport: Literal["udp", "tcp"] = "udp"
    tls: bool = False
    username: str | None = None
    credential: str | None = field(default=None, repr=False)


def ice_servers(values: Iterable[Mapping[str, Any]]) -> tuple[IceServer, ...]:
    """The `iceServers` of a `welcome`; entries that are none are left out."""
    servers = []
    for value in values:
        urls = value.get("urls", ())
        names = (urls,) if isinstance(urls, str) else tuple(urls)
        username, credential = value.get("username"), value.get("credential")
        if names and all(isinstance(url, str) for url in names):
            servers.append(
                IceServer(
                    names,
                    username if isinstance(username, str) else None,
                    credential if isinstance(credential, str) else None,
                )
            )
    return tuple(servers)


def addresses(servers: Iterable[IceServer]) -> tuple[ServerAddress, ...]:
    """What aioice can use of the servers, in order: UDP, TCP and TLS TURN, plain STUN."""
    usable = []
    for server in servers:
        for url in server.urls:
            address = _address(server, url)
            if address is not None:
                usable.append(address)
    return tuple(usable)


def _address(server: IceServer, url: str) -> ServerAddress | None:
    try:
        parsed = parse_stun_turn_uri(url)
    except ValueError:
        return None
    scheme, host, port = parsed["scheme"], parsed["host"], parsed["port"]
    if scheme == "stun":
        return ServerAddress("stun", host, port)
    transport, tls = parsed.get("transport"), scheme == "turns"
    if scheme not in ("turn", "turns") or transport not in ("udp", "tcp"):
        return None
    if tls and transport != "tcp":
        return None  # aioice has no DTLS towards the TURN server
    return ServerAddress("turn", host, port, transport, tls, server.username, server.credential)


def from_wire(candidate: Candidate) -> aioice.Candidate | None:
    """aioice's candidate; None for one that it cannot use (TCP, other components).

    Raise ValueError for text that is no candidate.
    """
    text = candidate.candidate.removeprefix("candidate:").strip()
    try:
        parsed = aioice.Candidate.from_sdp(text)
    except (ValueError, IndexError):
        raise ValueError(
            f"expected a candidate-attribute (RFC 8839 5.1), got {len(text)} characters"
        ) from None
    if parsed.transport.lower() != "udp" or parsed.component != 1:
        return None
    if not 0 < parsed.port < 65536:
        return None
    return parsed


def to_wire(candidate: aioice.Candidate, mid: str) -> Candidate:
    """The candidate as it goes out, for the first media section (all are bundled)."""
    return Candidate(f"candidate:{candidate.to_sdp()}", sdp_mid=mid, sdp_mline_index=0)
