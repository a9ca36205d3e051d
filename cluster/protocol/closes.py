"""The close table: every WebSocket close that a node or a peer makes, and whether coming back helps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Close:
    """One row: a close code of RFC 6455 7.4 with its reason, and whether the client should reconnect."""

    code: int
    reason: str
    reconnect: bool


BYE: Final = Close(1000, "Bye", reconnect=False)
SUPERSEDED: Final = Close(1000, "superseded", reconnect=False)
PLAIN_ROOM_FULL: Final = Close(1000, "Room is full", reconnect=False)

BAD_MESSAGE: Final = Close(1008, "Bad message", reconnect=False)
HELLO_TIMEOUT: Final = Close(1008, "No hello in time", reconnect=True)
UNAUTHORIZED: Final = Close(1008, "Unauthorized", reconnect=False)
FORBIDDEN: Final = Close(1008, "Forbidden", reconnect=False)
HOST_PRESENT: Final = Close(1008, "Host present", reconnect=False)
ROOM_FULL: Final = Close(1008, "Room full", reconnect=False)
INVALID_ROOM: Final = Close(1008, "Invalid roomId", reconnect=False)
ORIGIN: Final = Close(1008, "Origin not allowed", reconnect=False)
HOST_HEADER: Final = Close(1008, "Host not allowed", reconnect=False)
SUBPROTOCOL: Final = Close(1008, "Subprotocol required", reconnect=False)
WSS_REQUIRED: Final = Close(1008, "WSS required", reconnect=False)

TOO_LARGE: Final = Close(1009, "Message too large", reconnect=False)
INTERNAL: Final = Close(1011, "Internal error", reconnect=True)
DRAINING: Final = Close(1012, "Server draining", reconnect=True)
RATE_LIMITED: Final = Close(1013, "Rate limited", reconnect=True)
UNAVAILABLE: Final = Close(1013, "Service unavailable", reconnect=True)
OVERLOADED: Final = Close(1013, "Server overloaded", reconnect=True)

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
