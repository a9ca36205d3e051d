"""Which browsers may talk to this node: the Origin and Host rules, as plain functions. A core.

Any web page can open a WebSocket to 127.0.0.1, and a name that an attacker owns can be made to resolve to
it (DNS rebinding). So a browser's Origin must be the origin of the page that this node serves, and the name it
used must be one of ours. A client without Origin is no browser and is not asked.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

Verdict = Literal["ok", "origin", "host"]

DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Authority:
    """Host and port of a Host header or an origin; the name in lower case."""

    name: str
    port: int | None


def parse_authority(text: str) -> Authority | None:
    """`name`, `name:port`, `1.2.3.4:port`, `[::1]:port` (RFC 3986 3.2); None when it is none."""
    name, port_text = text.strip().lower(), ""
    if name.startswith("["):
        name, bracket, port_text = name[1:].partition("]")
        if not bracket or (port_text and not port_text.startswith(":")):
            return None
        port_text = port_text[1:]
        if not _address(name):
            return None
    elif ":" in name:
        name, _, port_text = name.partition(":")
    name = name.rstrip(".")
    if not name or any(char.isspace() or char in "/@?#\\" for char in name):
        return None
    if port_text and not (port_text.isascii() and port_text.isdigit() and len(port_text) <= 5):
        return None
    return Authority(name, int(port_text) if port_text else None)


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class AccessRule:
    """The names of this node. `any_address`: bound beyond loopback, so every IP literal is fine.

    An IP literal in Host cannot have been rebound: rebinding needs a name.
    """

    names: frozenset[str]
    any_address: bool
    origins: frozenset[str]

    @classmethod
    def make(
        cls, host: str, names: Iterable[str], origins: Iterable[str], *, loopback: bool
    ) -> AccessRule:
        """`host` is what `--host` names; names and origins are configured."""
        return cls(
            frozenset({host.lower(), *(name.lower() for name in names)}),
            not loopback,
            frozenset(origin.lower().rstrip("/") for origin in origins),
        )

    def host_allowed(self, header: str | None) -> bool:
        """The Host header of a page request or of a browser's WebSocket."""
        authority = parse_authority(header) if header is not None else None
        if authority is None:
            return False
        if authority.name in self.names or authority.name == "localhost":
            return True
        address = _address(authority.name)
        return address is not None and (self.any_address or address.is_loopback)

    def scrape_allowed(self, header: str | None) -> bool:
        """The Host header of a request for the metrics: Prometheus knows a pod by its address, whatever that is."""
        if header is None:  # HTTP/1.0, so no browser
            return True
        authority = parse_authority(header)
        return self.host_allowed(header) or (
            authority is not None and _address(authority.name) is not None
        )

    def judge(self, origin: str | None, host: str | None) -> Verdict:
        """A WebSocket's Origin and Host."""
        if origin is None:
            return "ok"
        if origin.lower() in self.origins:
            return "ok"
        if host is None or not self.host_allowed(host):
            return "host"
        if "*" in self.origins or same_origin(origin, host):
            return "ok"
        return "origin"


def same_origin(origin: str, host: str) -> bool:
    """Whether the page at `origin` came from `host`; the scheme may differ behind a TLS proxy."""
    scheme, _, rest = origin.lower().partition("://")
    if scheme not in DEFAULT_PORTS:
        return False
    ours, theirs = parse_authority(host), parse_authority(rest)
    if ours is None or theirs is None:
        return False
    default = DEFAULT_PORTS[scheme]
    return (ours.name, ours.port or default) == (theirs.name, theirs.port or default)
