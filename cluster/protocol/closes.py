"""The close table: every WebSocket close that a node makes by itself, as docs/protocol.md 3.1 lists them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Close:
    """One row: a close code of RFC 6455 7.4 with its reason."""

    code: int
    reason: str


BYE: Final = Close(1000, "Bye")
SUPERSEDED: Final = Close(1000, "superseded")
PLAIN_ROOM_FULL: Final = Close(1000, "Room is full")

BROKEN: Final = Close(1002, "Protocol error")  # RFC 6455 5: a frame that is none
NOT_UTF8: Final = Close(1007, "Text is not UTF-8")  # RFC 6455 8.1

BAD_MESSAGE: Final = Close(1008, "Bad message")
HELLO_TIMEOUT: Final = Close(1008, "No hello in time")
UNAUTHORIZED: Final = Close(1008, "Unauthorized")
FORBIDDEN: Final = Close(1008, "Forbidden")
HOST_PRESENT: Final = Close(1008, "Host present")
ROOM_FULL: Final = Close(1008, "Room full")
INVALID_ROOM: Final = Close(1008, "Invalid roomId")
ORIGIN: Final = Close(1008, "Origin not allowed")
SUBPROTOCOL: Final = Close(1008, "Subprotocol required")
WSS: Final = Close(1008, "WSS required")
HOST_HEADER: Final = Close(1008, "Host not allowed")

TOO_LARGE: Final = Close(1009, "Message too large")
FRAGMENTED: Final = Close(1009, "Too many fragments")
INTERNAL: Final = Close(1011, "Internal error")
SILENT: Final = Close(1011, "No pong in time")
DRAINING: Final = Close(1012, "Server draining")
RATE_LIMITED: Final = Close(1013, "Rate limited")
UNAVAILABLE: Final = Close(1013, "Service unavailable")
OVERLOADED: Final = Close(1013, "Server overloaded")

CLOSE_OF_ERROR: Final[dict[str, Close]] = {
    "bad-message": BAD_MESSAGE,
    "hello-timeout": HELLO_TIMEOUT,
    "unauthorized": UNAUTHORIZED,
    "forbidden": FORBIDDEN,
    "host-present": HOST_PRESENT,
    "room-full": ROOM_FULL,
    "rate-limited": RATE_LIMITED,
    "unavailable": UNAVAILABLE,
}
"""The close that follows an `error` of this code, where one does (docs/protocol.md 3.1)."""
