"""One raw WebSocket on websocket-client, whose blocking calls gevent makes waits of one greenlet."""

from __future__ import annotations

import random
import socket
import ssl
import struct
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_network
from typing import Final
from urllib.parse import urlsplit

import websocket

OPEN_WITHIN_S: Final = 4.0
"""As the page and the agent (docs/protocol.md 3.1)."""
SEND_WITHIN_S: Final = 10.0
LOST: Final = (1006, "")


class ConnectError(Exception):
    """There is no socket; the text is from a small set, for statistics."""


class Closed(Exception):
    """The socket has ended."""

    def __init__(self, code: int = LOST[0], reason: str = LOST[1]) -> None:
        super().__init__(f"{code} {reason}".strip())
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Target:
    """A cluster: its addresses, and where connections to it come from."""

    urls: tuple[str, ...]
    sources: IPv4Network | None = None
    tls: ssl.SSLContext | None = None

    def source(self, chance: random.Random) -> tuple[str, int] | None:
        """One client's own address, with any port; an address has 28,000 of them."""
        if self.sources is None:
            return None
        return str(self.sources[chance.randrange(1, self.sources.num_addresses - 1)]), 0


def parse_target(host: str, sources: str | None, ca_file: str | None) -> Target:
    """`host`: http(s) or ws(s) URLs by comma. Raises ValueError in words."""
    urls = []
    for text in host.split(","):
        parts = urlsplit(text.strip())
        scheme = {"http": "ws", "ws": "ws", "https": "wss", "wss": "wss"}.get(parts.scheme)
        if scheme is None or not parts.hostname:
            raise ValueError(
                f"--host: expected URLs by comma such as http://HOST:PORT, got {text!r}"
            )
        urls.append(f"{scheme}://{parts.netloc}")
    network = None if not sources else ip_network(sources)
    if network is not None and (network.version != 4 or network.num_addresses < 4):
        raise ValueError("--sources: expected an IPv4 network such as 127.1.0.0/16")
    secure = any(url.startswith("wss:") for url in urls)
    tls = ssl.create_default_context(cafile=ca_file or None) if secure else None
    return Target(tuple(urls), network if isinstance(network, IPv4Network) else None, tls)


class Connection:
    """An open socket, used by one greenlet; `drop` may be called from any."""

    def __init__(self, raw: websocket.WebSocket) -> None:
        self._raw = raw

    @classmethod
    def open(
        cls,
        url: str,
        subprotocol: str | None,
        source: tuple[str, int] | None,
        tls: ssl.SSLContext | None,
    ) -> Connection:
        """Connect and upgrade within the limit. Raises ConnectError."""
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "wss" else 80)
        # Its own check of UTF-8 is a quarter of a user's CPU; `receive` decodes, which checks too.
        raw = websocket.WebSocket(enable_multithread=False, skip_utf8_validation=True)
        try:
            plain = socket.create_connection((parts.hostname, port), OPEN_WITHIN_S, source)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if tls is not None and parts.scheme == "wss":
                plain = tls.wrap_socket(plain, server_hostname=parts.hostname)
            offered = None if subprotocol is None else [subprotocol]
            # A browser's Origin would have to be that of the page; a client without one is no browser.
            raw.connect(  # type: ignore[no-untyped-call]
                url,
                socket=plain,
                timeout=OPEN_WITHIN_S,
                subprotocols=offered,
                suppress_origin=True,
                redirect_limit=0,
            )
        except (OSError, websocket.WebSocketException) as error:
            raise ConnectError(_name(error)) from None
        return cls(raw)

    def send(self, text: str) -> None:
        """Send one text message. Raises Closed."""
        self._raw.settimeout(SEND_WITHIN_S)
        try:
            self._raw.send(text)
        except (OSError, websocket.WebSocketException):
            raise Closed from None

    def receive(self, within_s: float) -> str | None:
        """The next text message; None: there was none in this time. Raises Closed."""
        self._raw.settimeout(max(within_s, 0.001))
        try:
            opcode, content = self._raw.recv_data()
        except websocket.WebSocketTimeoutException:
            return None  # what has come of a frame so far is kept for the next call
        except (OSError, websocket.WebSocketException):
            raise Closed from None
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            code = struct.unpack("!H", content[:2])[0] if len(content) >= 2 else 1005
            raise Closed(code, content[2:].decode(errors="replace"))
        return content.decode() if isinstance(content, bytes) else str(content)

    def drop(self) -> None:
        """Lose it, as by a network that went; whoever waits for a message is told at once."""
        self._raw.abort()  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Close in order, without waiting for the answer."""
        try:
            self._raw.settimeout(SEND_WITHIN_S)
            self._raw.close(timeout=0)
        finally:
            self._raw.shutdown()  # type: ignore[no-untyped-call]


def _name(error: Exception) -> str:
    """What happened, without addresses and numbers, so that statistics have few rows."""
    status = getattr(error, "status_code", None)
    if status is not None:
        return f"HTTP status {status}"
    return type(error).__name__
