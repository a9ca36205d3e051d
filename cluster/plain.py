"""One socket of the plain dialect: validated messages to every other member (docs/protocol.md 2).

The join comes before the 101, so that the first message of a client finds its room; what a lone member says
is kept, within bounds, for the first who comes.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final, NamedTuple

import orjson

from cluster import metrics
from cluster.auth import TokenRefused, is_pairing_token, new_id, pairing_digest
from cluster.credentials import Credentials
from cluster.node import Node
from cluster.protocol import closes
from cluster.protocol.closes import Close
from cluster.protocol.messages import (
    ITEM_FIELDS,
    LeaveReason,
    MessageError,
    PeerId,
    RoomId,
    check_item,
    item_object,
    parse_item,
)
from cluster.room import Member
from cluster.session import Socket, is_utf8
from cluster.settings import Settings
from cluster.store.base import JoinRefused, JoinRequest, StoreUnavailable
from cluster.translate import to_host

log = logging.getLogger(__name__)

PEER_DISCONNECTED: Final = b'{"type":"peer-disconnected"}'
SCHEMA_ERROR: Final = b'{"type":"control","action":"schema-error"}'
PURE_CAPACITY: Final = 2
KEPT_MESSAGES: Final = 64
KEPT_BYTES: Final = 256 * 1024
CLOSE_OF_REFUSAL: Final[dict[str, Close]] = {
    "room-full": closes.PLAIN_ROOM_FULL,
    "unauthorized": closes.UNAUTHORIZED,
    "forbidden": closes.FORBIDDEN,
    "rate-limited": closes.RATE_LIMITED,
    "unavailable": closes.UNAVAILABLE,
}


KEYS: Final = {
    kind: {"type", *(row.json for row in rows)} for kind, (_, rows) in ITEM_FIELDS.items()
}


def draining(settings: Settings) -> Close:
    """The close of a drain, with the code that the operator has chosen for the plain dialect."""
    return Close(settings.shutdown_close_code, closes.DRAINING.reason)


class Message(NamedTuple):
    """One relayed message: `frame` is as it came unless it had unknown keys."""

    kind: str
    frame: bytes


class PlainSession:
    """See the module; an Occupant of its room after `join`."""

    member: Member
    host_capacity: int | None = None

    def __init__(
        self,
        socket: Socket,
        room: RoomId,
        node: Node,
        credentials: Credentials,
        settings: Settings,
    ) -> None:
        self._socket = socket
        self.room = room
        self._node = node
        self._credentials = credentials
        self._settings = settings
        self._limit = socket.limit
        self._loop = asyncio.get_running_loop()
        self._kept: list[Message] = []
        self._kept_bytes = 0
        self._joined = False
        self._before_open: list[bytes] | None = []
        self.authorised = False

    async def join(self, token: str | None) -> Close | None:
        """Enter the room; the close to make when that is refused."""
        refusal = await self._try(token)
        if refusal is None and self._is_stranger():  # the host came while Redis was asked
            self._node.leave(self, "lost")
            refusal = closes.UNAUTHORIZED
        if refusal is None:
            self._joined = True
            self._limit.enter(self.room, self._loop.time())
            log.info("joined", extra=self._context() | {"role": "player"})
        else:
            log.info("refused: %s", refusal.reason, extra=self._context())
        return refusal

    async def _try(self, token: str | None) -> Close | None:
        try:
            request = await self._request(token)
            await self._node.join(self, request)
        except TokenRefused as refused:
            metrics.AUTH_FAILURES.labels("token").inc()
            log.info("credential refused: %s", refused, extra=self._context())
            return closes.UNAUTHORIZED
        except PermissionError:
            metrics.AUTH_FAILURES.labels("room").inc()
            return closes.FORBIDDEN
        except JoinRefused as refused:
            metrics.REFUSED.labels(refused.code).inc()
            if refused.code == "rate-limited":
                metrics.RATE_LIMITED.labels(refused.limit).inc()
            return CLOSE_OF_REFUSAL.get(refused.code, closes.FORBIDDEN)
        except StoreUnavailable as error:
            metrics.REFUSED.labels("unavailable").inc()
            log.warning("join failed: %s", error, extra=self._context())
            return closes.UNAVAILABLE
        except Exception:
            log.exception("join failed", extra=self._context())
            return closes.INTERNAL
        return None

    def _context(self) -> dict[str, object]:
        """For the log."""
        context: dict[str, object] = {"connection": self._socket.id, "room": self.room}
        return context | ({"peer": self.member.peer} if hasattr(self, "member") else {})

    async def _request(self, token: str | None) -> JoinRequest:
        """What the credential grants; raises TokenRefused, PermissionError or StoreUnavailable."""
        pairing: str | None = None
        settings = self._settings
        if token is None and settings.auth_required:
            raise TokenRefused("none given")
        self.authorised = not settings.pairing
        if token is not None and settings.pairing:
            if is_pairing_token(token):
                pairing = pairing_digest(token)
            else:
                await self._credentials.grant(token, "session", self.room, "player")
            self.authorised = True
        return JoinRequest(
            room=self.room,
            peer=PeerId(new_id()),
            role="player",
            dialect="plain",
            capacity=PURE_CAPACITY if settings.mode == "pure" else settings.room_capacity,
            authorised=self.authorised,
            pairing=pairing,
            address=self._limit.address,
            address_limit=self._settings.connections_per_10s,
        )

    def on_frame(self, frame: bytes, *, is_text: bool) -> None:
        """One message of the peer, relayed in order."""
        if not self._joined:
            return
        over = self._limit.take(self._loop.time())
        if over is not None:
            metrics.RATE_LIMITED.labels(over).inc()
            metrics.DROPPED.labels("rate").inc()
            self._socket.refuse(closes.RATE_LIMITED)
            return
        try:
            obj: Any = orjson.loads(frame) if is_text else None
            kind = check_item(obj)
        except (MessageError, orjson.JSONDecodeError):
            metrics.DROPPED.labels("invalid").inc()
            if is_text and not is_utf8(frame):
                self._socket.refuse(closes.NOT_UTF8)
            else:
                self._socket.send_frame(SCHEMA_ERROR)
            return
        if not obj.keys() <= KEYS[kind]:
            frame = orjson.dumps(item_object(parse_item(obj)))
        room = self._node.rooms.get(self.room)
        hearers = room.hears(self.member) if room is not None else []
        if not hearers:
            self._keep(Message(kind, frame))
        for hearer in hearers:
            self._say(kind, frame, hearer)

    def _say(self, kind: str, frame: bytes, hearer: Member) -> None:
        if hearer.role == "host":
            frame = to_host(frame, self.member.peer)
        self._node.forward(self, hearer.peer, frame, kind)

    def _keep(self, message: Message) -> None:
        size = self._kept_bytes + len(message.frame)
        if len(self._kept) >= KEPT_MESSAGES or size > KEPT_BYTES:
            metrics.DROPPED.labels("buffer").inc()  # the first ones matter: an offer comes first
            return
        self._kept.append(message)
        self._kept_bytes = size

    def opened(self) -> None:
        """The 101 is sent: what came since the join goes out."""
        waiting, self._before_open = self._before_open, None
        if self._is_stranger():
            self._send_away()
            return
        for payload in waiting or ():
            self._socket.send_frame(payload)

    def deliver(self, payload: bytes) -> None:
        """See Occupant."""
        if self._before_open is None:
            self._socket.send_frame(payload)
        elif len(self._before_open) <= KEPT_MESSAGES:
            self._before_open.append(payload)
        else:
            metrics.DROPPED.labels("buffer").inc()

    def peer_joined(self, member: Member) -> None:
        """See Occupant; a room that gets a host asks its members for their credential."""
        if self._is_stranger():
            if self._before_open is None:  # else it is looked at again when it can be closed
                self._send_away()
            return
        room = self._node.rooms.get(self.room)
        if room is None or member not in room.hears(self.member):
            return
        kept, self._kept, self._kept_bytes = self._kept, [], 0
        for message in kept:
            self._say(*message, member)

    def _is_stranger(self) -> bool:
        """Without a credential in a room that has a host."""
        room = self._node.rooms.get(self.room)
        return room is not None and room.has_host and not self.authorised

    def _send_away(self) -> None:
        self._socket.refuse(closes.UNAUTHORIZED)
        self._go()

    def peer_left(self, member: Member, reason: LeaveReason) -> None:
        """See Occupant; where there is a host, a plain peer has to do with the host only."""
        room = self._node.rooms.get(self.room)
        hosted = room is not None and room.has_host
        if member.is_host or (member.dialect == "plain" and not hosted):
            self.deliver(PEER_DISCONNECTED)

    def supersede(self) -> None:
        """Never happens to a plain peer: it cannot resume."""
        self._joined = False
        self._socket.refuse(closes.SUPERSEDED)

    def drain(self, after_ms: int) -> None:
        """A plain peer is closed at its turn of the drain."""
        self._loop.call_later(after_ms / 1000, self.finish)

    def finish(self) -> None:
        """Closed with 1012, or the operator's code, which its client takes as: connect again."""
        self._socket.refuse(draining(self._settings))

    def on_closed(self) -> None:
        """The socket is gone, whoever closed it."""
        self._go()

    def _go(self) -> None:
        if self._joined:
            self._joined = False
            log.info("left", extra=self._context())
            self._node.leave(self, "lost")
