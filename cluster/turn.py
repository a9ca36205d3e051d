"""TURN REST credentials for `welcome` and `ice-servers`: which servers a peer may use, and until when. A core.

The scheme is that of draft-uberti-behave-turn-rest-00, as coturn's `use-auth-secret` checks it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from typing import Final

from cluster.protocol.messages import Json, PeerId

MAX_URLS: Final = 8
MIN_SECRET: Final = 32
"""A peer holds an HMAC of this secret over a text that it knows: a short one could be guessed at home."""
NAME_BYTES: Final = 12
NAME_PURPOSE: Final = b"tightbeam turn name:"

# RFC 7064 3.1 and RFC 7065 3.1; the host as RFC 3986 3.2.2 has it, less the forms that nobody uses.
_URL: Final = re.compile(
    r"(?P<scheme>stuns?|turns?):(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9.\-]{1,253})"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<transport>\?transport=(?:udp|tcp))?"
)


def check_url(url: str) -> str:
    """The URL as it came; raises ValueError for one that no browser would take."""
    match = _URL.fullmatch(url)
    stun = match is not None and match["scheme"].startswith("stun")
    if match is None or (stun and match["transport"]) or not 0 < int(match["port"] or 1) < 65536:
        raise ValueError(
            f"expected stun:HOST[:PORT] or turn(s):HOST[:PORT][?transport=udp|tcp], got {url[:80]!r}"
        )
    return url


def needs_credential(url: str) -> bool:
    """A relay is for those who may use it; a STUN server tells everybody their address."""
    return url.startswith("turn")


def credential(secret: str, peer: PeerId, expires: int) -> tuple[str, str]:
    """Username and credential that are good until `expires` (Unix seconds).

    coturn counts `user-quota` by what follows the colon, so that the name is one peer's for its whole life;
    it is a keyed digest, so that neither coturn's log nor its owner's statistics name a peer or a room.
    """
    digest = hmac.digest(secret.encode(), NAME_PURPOSE + peer.encode(), hashlib.sha256)
    username = f"{expires}:{base64.urlsafe_b64encode(digest[:NAME_BYTES]).decode()}"
    password = hmac.digest(secret.encode(), username.encode(), hashlib.sha1)
    return username, base64.b64encode(password).decode()


def ice_servers(
    urls: Sequence[str], secret: str | None, peer: PeerId, expires: int
) -> tuple[Mapping[str, Json], ...]:
    """The W3C RTCIceServer list of a peer that has been let in."""
    free = [url for url in urls if not needs_credential(url)]
    relays = [url for url in urls if needs_credential(url)]
    servers: list[Mapping[str, Json]] = []
    if free:
        servers.append({"urls": free})
    if relays and secret is not None:
        username, password = credential(secret, peer, expires)
        servers.append({"urls": relays, "username": username, "credential": password})
    return tuple(servers)
