"""An upgrade's head, judged by RFC 6455 4.2.1. A core.

`websockets` is the judge. But a head in which nothing is unusual, as nearly every client sends it, is taken without:
to put it together again for `websockets` to parse costs more than all else at the opening of a socket. What is
taken here `websockets` takes too, with the same answer; a test holds the two together.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from websockets.http11 import Request
from websockets.server import ServerProtocol

Headers = Sequence[tuple[bytes, bytes]]
"""In order; the names in lower case."""

USUAL_BYTES: Final = 8000
"""`websockets` takes 8192 of one line."""
USUAL_LINES: Final = 100
"""`websockets` takes 128."""
GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
BAD_REQUEST: Final = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

_ONCE: Final = frozenset(
    (
        b"connection",
        b"content-length",
        b"origin",
        b"sec-websocket-key",
        b"sec-websocket-protocol",
        b"sec-websocket-version",
        b"transfer-encoding",
        b"upgrade",
    )
)
_KEY: Final = re.compile(rb"[A-Za-z0-9+/]{22}==")  # 16 bytes
_CONNECTION: Final = re.compile(rb"(keep-alive, ?)?upgrade", re.IGNORECASE)
_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # RFC 9110 5.6.2
_SUBPROTOCOLS: Final = re.compile(_TOKEN + rb"(?:, ?" + _TOKEN + rb")*")


@dataclass(frozen=True, slots=True)
class Upgrade:
    """One that can be accepted: the value of Sec-WebSocket-Accept, and what the client offers in its order."""

    accept: bytes
    subprotocols: list[str]


def judge(method: str, target: bytes, headers: Headers) -> Upgrade | bytes:
    """An upgrade by HTTP/1.1; or the answer that refuses it, after which the connection is closed."""
    return usual(method, target, headers) or _judged_by_websockets(method, target, headers)


def usual(method: str, target: bytes, headers: Headers) -> Upgrade | None:
    """The upgrade when nothing about its head is unusual; None says nothing."""
    size_bytes = len(target)
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        size_bytes += len(name) + len(value)
        if name in _ONCE:
            if name in found:
                return None
            found[name] = value
    key, offered = found.get(b"sec-websocket-key", b""), found.get(b"sec-websocket-protocol")
    if (
        size_bytes > USUAL_BYTES
        or len(headers) > USUAL_LINES
        or method != "GET"
        or not target.isascii()
        or b"content-length" in found
        or b"transfer-encoding" in found
        or found.get(b"upgrade", b"").lower() != b"websocket"
        or _CONNECTION.fullmatch(found.get(b"connection", b"")) is None
        or found.get(b"sec-websocket-version") != b"13"
        or _KEY.fullmatch(key) is None
        or (offered is not None and _SUBPROTOCOLS.fullmatch(offered) is None)
    ):
        return None
    digest = hashlib.sha1(key + GUID, usedforsecurity=False).digest()
    accept = binascii.b2a_base64(digest, newline=False)
    return Upgrade(accept, [] if offered is None else _names((offered.decode(),)))


def _judged_by_websockets(method: str, target: bytes, headers: Headers) -> Upgrade | bytes:
    lines = [method.encode() + b" " + target + b" HTTP/1.1"]
    lines += [name + b": " + value for name, value in headers]
    server = ServerProtocol()
    server.receive_data(b"\r\n".join(lines) + b"\r\n\r\n")
    for request in server.events_received():
        if not isinstance(request, Request):
            break
        response = server.accept(request)
        if response.status_code == 101:
            offered = request.headers.get_all("Sec-WebSocket-Protocol")
            return Upgrade(response.headers["Sec-WebSocket-Accept"].encode(), _names(offered))
        server.send_response(response)
    return b"".join(server.data_to_send()) or BAD_REQUEST


def _names(offered: Iterable[str]) -> list[str]:
    """An empty element of a list says nothing (RFC 9110 5.6.1)."""
    return [name for line in offered for part in line.split(",") if (name := part.strip())]
