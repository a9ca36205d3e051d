"""One socket of the Tightbeam dialect: hello, welcome, forwarding of logs, bye (docs/protocol.md 3)."""

from __future__ import annotations

import asyncio
import enum
import logging
import time
from collections.abc import Mapping
from functools import partial
from typing import Any, Final, Protocol

import orjson

from cluster import metrics, turn
from cluster.auth import LIFE_S, Grant, TokenRefused, is_pairing_token, new_id
from cluster.auth import pairing_digest as digest_of
from cluster.credentials import Credentials
from cluster.limits import Allowance, Kind
from cluster.node import Node
from cluster.protocol import closes, messages
from cluster.protocol.closes import Close
from cluster.protocol.messages import (
    MAX_MESSAGE_BYTES,
    LeaveReason,
    MessageError,
    PeerId,
    RoomId,
)
from cluster.protocol.telemetry import TelemetryError
from cluster.room import Member
from cluster.settings import Settings
from cluster.store.base import JoinLimit, JoinRefused, JoinRequest, StoreUnavailable
from cluster.telemetry import Intake
from cluster.translate import from_host

log = logging.getLogger(__name__)

BAD_MESSAGES: Final = 10
EARLY_FRAMES: Final = 16
"""Between hello and welcome, each of HELLO_BYTES at most: a quarter of a MiB."""
PING: Final = messages.encode(messages.Ping()).encode()
"""A page's heartbeat, which counts for its connection only: a hundred idle pages share an address."""
RETRY_AFTER_MS: Final = 1000
HELLO_BYTES: Final = 16 * 1024
"""A hello has a token of 4 KiB at most; who may be anybody is not let hold more memory than that."""
DRAIN_PATIENCE_S: Final = 2.0
"""A peer that has not gone this long after the time that a drain gave it is closed."""


class Socket(Protocol):
    """What a session needs of its connection."""

    id: str
    limit: Allowance

    def take_up_to(self, size_bytes: int) -> None:
        """The largest message from now on."""

    def send_frame(self, payload: bytes) -> None:
        """Send one text message."""

    def refuse(self, close: Close) -> None:
        """Close with this code and reason."""


class State(enum.Enum):
    """A session's life goes downwards only."""

    NEW = "before hello"
    JOINING = "hello seen"
    JOINED = "welcomed"
    CLOSED = "closed"


class Session:
    """See the module; an Occupant of its room once welcomed."""

    member: Member
    room: RoomId

    def __init__(
        self, socket: Socket, node: Node, credentials: Credentials, settings: Settings
    ) -> None:
        self._socket = socket
        self._node = node
        self._credentials = credentials
        self._settings = settings
        self._state = State.NEW
        self._early: list[bytes] = []
        self._limit = socket.limit
        socket.take_up_to(HELLO_BYTES)
        self._bad = 0
        self._said_bye = False
        self._loop = asyncio.get_running_loop()
        self._hello_timer = self._loop.call_later(settings.hello_timeout_s, self._no_hello)
        self._joining: asyncio.Task[None] | None = None
        self._turn_timer: asyncio.TimerHandle | None = None
        self._drain_ms: int | None = None
        self._intake: Intake | None = None
        self._ends: int | None = None  # when the credential's tokens end
        self.authorised = True
        self.host_capacity: int | None = None

    # Frames

    def on_frame(self, frame: bytes, *, is_text: bool) -> None:
        """One message of the peer."""
        if self._state is State.CLOSED:
            return
        now = self._loop.time()
        over = self._limit.take(now, alone=frame == PING)
        if over is not None:
            self._over_limit(over, now)
        elif not is_text:
            self._telemetry(frame)
        elif self._state is State.JOINING:
            if len(self._early) < EARLY_FRAMES:
                self._early.append(frame)
            else:
                self._answer_bad("too many messages before welcome")
        else:
            self._message(frame)

    def _telemetry(self, frame: bytes) -> None:
        if self._state is not State.JOINED or not self.member.is_host:
            self._answer_bad("binary frames are for a host's telemetry")
            return
        if self._intake is None:
            self._intake = Intake(partial(self._node.report, self))
        try:
            self._intake.take(frame)
        except TelemetryError as error:
            metrics.TELEMETRY.labels("invalid").inc()
            self._answer_bad(f"telemetry: {error}")

    def _over_limit(self, kind: Kind, now: float) -> None:
        metrics.RATE_LIMITED.labels(kind).inc()
        metrics.DROPPED.labels("rate").inc()
        self._error("rate-limited", _LIMIT_WORDS[kind], self._limit.retry_after_ms(now))
        if self._limit.patience_is_over:
            self._close(closes.RATE_LIMITED)

    def _message(self, frame: bytes) -> None:
        try:
            obj = _object(frame)
            if self._state is State.JOINED and obj.get("type") == "sync":
                self._sync(obj, frame)
                return
            if self._state is State.JOINED and messages.is_item(obj):
                self._to_plain(obj)
                return
            message = messages.parse_object(obj)
        except MessageError as error:
            self._answer_bad(str(error), frame)
            return
        if self._state is State.NEW:
            if isinstance(message, messages.Hello):
                self._hello(message)
            else:
                self._answer_bad("the first message must be hello")
            return
        match message:
            case messages.Ping():
                self._send(messages.Pong())
            case messages.Bye():
                self._said_bye = True
                self._close(closes.BYE)
            case _:
                self._answer_bad("not a message for a node at this point")

    def _sync(self, obj: dict[str, Any], frame: bytes) -> None:
        """Forwarded as it came, so it is checked only: to make its value would cost twice as much."""
        messages.check_object(obj)
        if obj["from"] != self.member.peer:
            raise MessageError("from: expected your own peer id")
        self._forward(obj["to"], frame, "sync")

    def _forward(self, to: PeerId, payload: bytes, kind: str) -> None:
        if self._node.forward(self, to, payload, kind) == "no-peer":
            self._error("no-such-peer", f"{to} is not in this room")

    def _to_plain(self, obj: dict[str, Any]) -> None:
        """A host's message for a plain peer of its room (docs/protocol.md 3.2, at the end)."""
        if not self.member.is_host:
            raise MessageError("type: only a host may send this, to a plain peer")
        to, payload = from_host(obj, self.member.peer)
        self._forward(to, payload, obj["type"])

    # Joining

    def _hello(self, hello: messages.Hello) -> None:
        self._hello_timer.cancel()
        self._state = State.JOINING
        self._joining = self._loop.create_task(self._join(hello))

    async def _join(self, hello: messages.Hello) -> None:
        self.room = hello.room
        try:
            request = await self._request(hello)
            self._signer = await self._credentials.signer()
            admission = await self._node.join(self, request)
        except TokenRefused as refused:
            metrics.AUTH_FAILURES.labels("token").inc()
            log.info("credential refused: %s", refused, extra=self._context())
            self._refuse("unauthorized", "no valid credential for this room: ask for a new link")
        except PermissionError as error:
            metrics.AUTH_FAILURES.labels("room").inc()
            self._refuse("forbidden", str(error))
        except JoinRefused as refused:
            text = _WORDS.get(refused.code, refused.code)
            if refused.code == "rate-limited":
                metrics.RATE_LIMITED.labels(refused.limit).inc()
                text = _JOIN_LIMIT_WORDS[refused.limit]
            if refused.code == "host-present":
                self._name_servers(request.peer)
            self._refuse(refused.code, text, refused.retry_after_ms)
        except StoreUnavailable as error:
            log.warning("join failed: %s", error, extra=self._context())
            self._refuse("unavailable", "the service is restarting", RETRY_AFTER_MS)
        except Exception:
            log.exception("join failed", extra=self._context())
            self._close(closes.INTERNAL)
        else:
            self._welcome(hello, resumed=admission.resumed)

    async def _request(self, hello: messages.Hello) -> JoinRequest:
        """What the credential grants; raises TokenRefused, PermissionError or StoreUnavailable."""
        grant, pairing = await self._grant(hello), None
        if grant is not None:
            self._ends = grant.ends
        elif self._settings.pairing:
            if hello.token is None:
                raise TokenRefused("none given")
            pairing = digest_of(hello.token)
        if hello.role == "host":
            self.host_capacity = hello.capacity or self._settings.host_room_capacity
        return JoinRequest(
            room=hello.room,
            peer=PeerId(new_id()),
            role=hello.role,
            dialect="tightbeam",
            capacity=self._settings.host_room_capacity,
            host_capacity=self.host_capacity,
            authorised=True,
            pairing=pairing,
            resume=grant.peer if grant is not None and grant.kind == "resume" else None,
            generation=grant.generation if grant is not None else 0,
            address=self._limit.address,
            address_limit=self._settings.connections_per_10s,
        )

    async def _grant(self, hello: messages.Hello) -> Grant | None:
        """What the hello's JWT grants; None: it has a pairing token, or needs none."""
        room, role = hello.room, hello.role
        if hello.resume is not None:
            return await self._credentials.own(hello.resume, "resume", room, role)
        if hello.session is not None:
            return await self._credentials.own(hello.session, "session", room, role)
        if role == "host":
            if hello.token is None:
                raise TokenRefused("a host needs a host token")
            return await self._credentials.grant(hello.token, "host", room, role)
        if hello.token is None or not self._settings.pairing or is_pairing_token(hello.token):
            return None
        return await self._credentials.grant(hello.token, "session", room, role)

    def _welcome(self, hello: messages.Hello, *, resumed: bool) -> None:
        member, now = self.member, int(time.time())
        if self._state is State.CLOSED:  # the socket went while Redis was asked
            self._node.leave(self, "bye" if self._said_bye else "lost")
            return
        self._state = State.JOINED
        self._limit.enter(hello.room, self._loop.time())
        self._socket.take_up_to(MAX_MESSAGE_BYTES)
        ends = now + LIFE_S["session"] if self._ends is None else self._ends
        grant = Grant("session", hello.room, member.role, ends=ends)
        resume = Grant("resume", hello.room, member.role, member.peer, member.generation, ends)
        settings = self._settings
        self._send(
            messages.Welcome(
                peer=member.peer,
                room=hello.room,
                role=member.role,
                session=self._signer.issue(grant, now),
                resume=self._signer.issue(resume, now),
                resumed=resumed,
                ice_servers=self._ice_servers(now),
                limits=messages.Limits(MAX_MESSAGE_BYTES, settings.messages_per_10s),
            )
        )
        log.info("joined", extra=self._context() | {"role": member.role, "resumed": resumed})
        room = self._node.rooms[hello.room]
        for other in list(room.members.values()):
            self.peer_joined(other)
        early, self._early = self._early, []
        for frame in early:
            if self._state is State.JOINED:
                self._message(frame)
        if self._drain_ms is not None:
            self.drain(self._drain_ms)

    def _ice_servers(self, now: int) -> tuple[Mapping[str, Any], ...]:
        """With a credential that outlives the next one's coming by far: a negotiation may begin at any time."""
        settings = self._settings
        if any(turn.needs_credential(url) for url in settings.turn_urls):
            self._turn_timer = self._loop.call_later(settings.turn_life_s / 2, self._renew_turn)
        return self._fresh_servers(self.member.peer, now)

    def _fresh_servers(self, peer: PeerId, now: int) -> tuple[Mapping[str, Any], ...]:
        settings = self._settings
        if any(turn.needs_credential(url) for url in settings.turn_urls):
            metrics.TURN_CREDENTIALS.inc()
        ends = now + settings.turn_life_s
        return turn.ice_servers(settings.turn_urls, settings.turn_secret, peer, ends)

    def _name_servers(self, peer: PeerId) -> None:
        """To a host that is let in but for another one, so that it can be found out whether they work for it."""
        servers = self._fresh_servers(peer, int(time.time()))
        if servers:
            self._send(messages.IceServers(servers))

    def _renew_turn(self) -> None:
        if self._state is State.JOINED:
            self._send(messages.IceServers(self._ice_servers(int(time.time()))))

    # What the node tells us

    def deliver(self, payload: bytes) -> None:
        """See Occupant."""
        self._socket.send_frame(payload)

    def peer_joined(self, member: Member) -> None:
        """See Occupant."""
        if self._state is State.JOINED and self._sees(member):
            self._send(messages.PeerJoined(member.peer, member.role, member.dialect))

    def peer_left(self, member: Member, reason: LeaveReason) -> None:
        """See Occupant."""
        if self._state is State.JOINED and self._sees(member):
            self._send(messages.PeerLeft(member.peer, reason))

    def _sees(self, other: Member) -> bool:
        mine = self.member
        return mine.peer != other.peer and (mine.is_host or other.dialect == "tightbeam")

    def supersede(self) -> None:
        """See Occupant."""
        self._state = State.CLOSED
        self._socket.refuse(closes.SUPERSEDED)

    # The end

    def drain(self, after_ms: int) -> None:
        """Ask the peer to come back on another node; its place is kept."""
        match self._state:
            case State.NEW:
                self.finish()
            case State.JOINING:  # its link may be used up already: it hears of this after welcome
                self._drain_ms = after_ms
            case State.JOINED:
                self._send(messages.Reconnect(after_ms))
                self._loop.call_later(after_ms / 1000 + DRAIN_PATIENCE_S, self.finish)

    def finish(self) -> None:
        """The drain is over."""
        self._close(closes.DRAINING)

    def on_closed(self) -> None:
        """The socket is gone, whoever closed it."""
        self._hello_timer.cancel()
        if self._turn_timer is not None:
            self._turn_timer.cancel()
        if self._intake is not None:
            self._intake.close()
        was_joined = self._state is State.JOINED or hasattr(self, "member")
        self._state = State.CLOSED
        self._early.clear()
        if was_joined:
            log.info("left", extra=self._context())
            self._node.leave(self, "bye" if self._said_bye else "lost")

    def _close(self, close: Close) -> None:
        joined = self._state is State.JOINED
        self._state = State.CLOSED
        self._socket.refuse(close)
        if joined and self._said_bye:
            self._node.leave(self, "bye")

    def _no_hello(self) -> None:
        self._refuse("hello-timeout", f"no hello within {self._settings.hello_timeout_s:g} s")

    def _refuse(self, code: str, text: str, retry_after_ms: int | None = None) -> None:
        metrics.REFUSED.labels(code).inc()
        log.info("refused: %s", code, extra=self._context())
        self._error(code, text, retry_after_ms)
        self._close(closes.CLOSE_OF_ERROR[code])

    def _answer_bad(self, text: str, frame: bytes = b"") -> None:
        metrics.DROPPED.labels("invalid").inc()
        if not is_utf8(frame):
            self._close(closes.NOT_UTF8)
            return
        log.debug("bad message: %s", text[:512], extra=self._context())
        self._error("bad-message", text[:512])
        self._bad += 1
        if self._state is State.NEW or self._bad >= BAD_MESSAGES:
            self._close(closes.BAD_MESSAGE)

    def _error(self, code: str, text: str, retry_after_ms: int | None = None) -> None:
        self._send(messages.Error(code, text, retry_after_ms))

    def _send(self, message: messages.Message) -> None:
        self._socket.send_frame(orjson.dumps(messages.message_object(message)))

    def _context(self) -> dict[str, str]:
        context = {"connection": self._socket.id}
        if hasattr(self, "room"):
            context["room"] = self.room
        if hasattr(self, "member"):
            context["peer"] = self.member.peer
        return context


def is_utf8(frame: bytes) -> bool:
    """Asked of a text that does not parse, which all that is not UTF-8 does not."""
    try:
        frame.decode()
    except UnicodeDecodeError:
        return False
    return True


def _object(frame: bytes) -> dict[str, Any]:
    """Decode one JSON object; orjson is 4 times as fast as the codec's own decoder."""
    try:
        obj = orjson.loads(frame)
    except orjson.JSONDecodeError:
        raise MessageError("expected a JSON object") from None
    if type(obj) is not dict:
        raise MessageError("expected a JSON object")
    return obj


_LIMIT_WORDS: Final[dict[Kind, str]] = {
    "messages": "too many messages",
    "ip-messages": "too many messages from this address",
    "room-messages": "too many messages in this room",
}
_WORDS: Final = {
    "unauthorized": "this link was used already or is too old: ask for a new one",
    "forbidden": "the credential does not grant this room and role",
    "host-present": "this room has a host already",
    "room-full": "this room is full",
}
_JOIN_LIMIT_WORDS: Final[dict[JoinLimit, str]] = {
    "connections": "too many connections from this address",
    "resumes": "this peer comes back too often",
}
