"""The message codec: JSON text frames to frozen values and back, for both dialects (docs/protocol.md)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NewType

PeerId = NewType("PeerId", str)
RoomId = NewType("RoomId", str)
Role = Literal["host", "player", "viewer"]
Dialect = Literal["tightbeam", "plain"]
LeaveReason = Literal["bye", "lost"]
Json = Any
"""A decoded JSON value; the only `Any` of the protocol."""

SUBPROTOCOL: Final = "tightbeam.v1"
ROLES: Final[tuple[Role, ...]] = ("host", "player", "viewer")
ROOM_PATTERN: Final = re.compile(r"[A-Za-z0-9_\-:.]{1,64}")
ID_PATTERN: Final = re.compile(r"[A-Za-z0-9_\-]{22}")
MAX_MESSAGE_BYTES: Final = 256 * 1024
MAX_ITEM_BYTES: Final = 64 * 1024
MAX_ITEMS: Final = 256
MAX_REPLACES: Final = 16
MAX_TOKEN_BYTES: Final = 4096
MAX_DEPTH: Final = 32


class MessageError(ValueError):
    """A frame that is not as docs/protocol.md says; the text names the key and what was expected."""


@dataclass(frozen=True, slots=True)
class Offer:
    sdp: str


@dataclass(frozen=True, slots=True)
class Answer:
    sdp: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """One ICE candidate, as W3C RTCIceCandidateInit; `candidate` "" means that no more will come."""

    candidate: str
    sdp_mid: str | None = None
    sdp_mline_index: int | None = None
    username_fragment: str | None = None


@dataclass(frozen=True, slots=True)
class Control:
    action: str
    payload: Json = None


Item = Offer | Answer | Candidate | Control


@dataclass(frozen=True, slots=True)
class Hello:
    room: RoomId
    role: Role
    token: str | None = field(default=None, repr=False)
    session: str | None = field(default=None, repr=False)
    resume: str | None = field(default=None, repr=False)
    capacity: int | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    message_bytes: int
    messages_per_10s: int


@dataclass(frozen=True, slots=True)
class Welcome:
    peer: PeerId
    room: RoomId
    role: Role
    session: str = field(repr=False)
    resume: str = field(repr=False)
    resumed: bool
    ice_servers: tuple[Mapping[str, Json], ...] = field(repr=False)
    limits: Limits


@dataclass(frozen=True, slots=True)
class IceServers:
    """Replaces those of `welcome`, whose credentials end."""

    ice_servers: tuple[Mapping[str, Json], ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Error:
    code: str
    message: str
    retry_after_ms: int | None = None


@dataclass(frozen=True, slots=True)
class PeerJoined:
    peer: PeerId
    role: Role
    dialect: Dialect


@dataclass(frozen=True, slots=True)
class PeerLeft:
    peer: PeerId
    reason: LeaveReason


@dataclass(frozen=True, slots=True)
class Reconnect:
    after_ms: int


@dataclass(frozen=True, slots=True)
class Bye:
    reason: str


@dataclass(frozen=True, slots=True)
class Sync:
    """A piece of a negotiation log; see `cluster.protocol.negotiation`."""

    to: PeerId
    sender: PeerId
    negotiation: str
    at: int
    items: tuple[Item, ...]
    has: int
    replaces: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Ping:
    pass


@dataclass(frozen=True, slots=True)
class Pong:
    pass


Message = (
    Hello
    | Welcome
    | IceServers
    | Error
    | PeerJoined
    | PeerLeft
    | Reconnect
    | Bye
    | Sync
    | Ping
    | Pong
)

Check = Callable[[str, Json], Json]


def _expected(key: str, what: str, got: Json) -> MessageError:
    return MessageError(f"{key}: expected {what}, got {type(got).__name__}")


def _text(limit: int, *, least: int = 0) -> Check:
    def check(key: str, value: Json) -> str:
        if not isinstance(value, str):
            raise _expected(key, "a string", value)
        if not least <= len(value) <= limit:
            raise MessageError(f"{key}: expected {least} to {limit} characters, got {len(value)}")
        return value

    return check


def _pattern(pattern: re.Pattern[str]) -> Check:
    def check(key: str, value: Json) -> str:
        if not isinstance(value, str):
            raise _expected(key, "a string", value)
        if not pattern.fullmatch(value):
            raise MessageError(f"{key}: does not match {pattern.pattern}")
        return value

    return check


def _integer(least: int, most: int) -> Check:
    def check(key: str, value: Json) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise _expected(key, "an integer", value)
        if not least <= value <= most:
            raise MessageError(f"{key}: expected {least} to {most}")
        return value

    return check


def _one_of(*choices: str) -> Check:
    def check(key: str, value: Json) -> str:
        if not isinstance(value, str) or value not in choices:
            raise MessageError(f"{key}: expected one of {', '.join(choices)}")
        return value

    return check


def _boolean(key: str, value: Json) -> bool:
    if not isinstance(value, bool):
        raise _expected(key, "a boolean", value)
    return value


def _anything(key: str, value: Json) -> Json:
    """Any JSON of bounded depth, so that no later walk over it can exhaust the stack."""
    level, depth = [value], 0
    while level:
        if depth > MAX_DEPTH:
            raise MessageError(f"{key}: nested deeper than {MAX_DEPTH}")
        level = [
            child
            for node in level
            if isinstance(node, list | dict)
            for child in (node.values() if isinstance(node, dict) else node)
        ]
        depth += 1
    return value


def _ice_servers(key: str, value: Json) -> tuple[Mapping[str, Json], ...]:
    if not isinstance(value, list) or not all(isinstance(server, dict) for server in value):
        raise _expected(key, "a list of objects", value)
    return tuple(value)


def _limits(key: str, value: Json) -> Limits:
    if not isinstance(value, dict):
        raise _expected(key, "an object", value)
    count = _integer(1, 1 << 31)
    return Limits(
        message_bytes=count(f"{key}.messageBytes", value.get("messageBytes")),
        messages_per_10s=count(f"{key}.messagesPer10s", value.get("messagesPer10s")),
    )


_sdp = _text(MAX_ITEM_BYTES, least=1)
_token = _text(MAX_TOKEN_BYTES, least=1)
_id = _pattern(ID_PATTERN)
_room = _pattern(ROOM_PATTERN)
_role = _one_of(*ROLES)
_count = _integer(0, MAX_ITEMS)
_milliseconds = _integer(0, 3_600_000)


@dataclass(frozen=True, slots=True)
class Field:
    """How one key of a message is called in JSON and here, and what its value may be."""

    json: str
    name: str
    check: Check
    required: bool = True
    nullable: bool = False


def _optional(json_name: str, name: str, check: Check, *, nullable: bool = False) -> Field:
    return Field(json_name, name, check, required=False, nullable=nullable)


ITEM_FIELDS: Final[dict[str, tuple[type[Item], tuple[Field, ...]]]] = {
    "offer": (Offer, (Field("sdp", "sdp", _sdp),)),
    "answer": (Answer, (Field("sdp", "sdp", _sdp),)),
    "candidate": (
        Candidate,
        (
            Field("candidate", "candidate", _text(4096)),
            _optional("sdpMid", "sdp_mid", _text(64), nullable=True),
            _optional("sdpMLineIndex", "sdp_mline_index", _integer(0, 65535), nullable=True),
            _optional("usernameFragment", "username_fragment", _text(256), nullable=True),
        ),
    ),
    "control": (
        Control,
        (
            Field("action", "action", _text(64, least=1)),
            _optional("payload", "payload", _anything, nullable=True),
        ),
    ),
}


def _items(key: str, value: Json) -> tuple[Item, ...]:
    if not isinstance(value, list):
        raise _expected(key, "a list", value)
    if len(value) > MAX_ITEMS:
        raise MessageError(f"{key}: expected at most {MAX_ITEMS} items, got {len(value)}")
    return tuple(parse_item(item, f"{key}[{index}]") for index, item in enumerate(value))


def _replaces(key: str, value: Json) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise _expected(key, "a list", value)
    if len(value) > MAX_REPLACES:
        raise MessageError(f"{key}: expected at most {MAX_REPLACES} ids, got {len(value)}")
    return tuple(_id(f"{key}[{index}]", entry) for index, entry in enumerate(value))


MESSAGE_FIELDS: Final[dict[str, tuple[type[Message], tuple[Field, ...]]]] = {
    "hello": (
        Hello,
        (
            Field("room", "room", _room),
            Field("role", "role", _role),
            _optional("token", "token", _token),
            _optional("session", "session", _token),
            _optional("resume", "resume", _token),
            _optional("capacity", "capacity", _integer(2, 64)),
        ),
    ),
    "welcome": (
        Welcome,
        (
            Field("peer", "peer", _id),
            Field("room", "room", _room),
            Field("role", "role", _role),
            Field("session", "session", _token),
            Field("resume", "resume", _token),
            Field("resumed", "resumed", _boolean),
            Field("iceServers", "ice_servers", _ice_servers),
            Field("limits", "limits", _limits),
        ),
    ),
    "ice-servers": (IceServers, (Field("iceServers", "ice_servers", _ice_servers),)),
    "error": (
        Error,
        (
            Field("code", "code", _text(64, least=1)),
            Field("message", "message", _text(1024)),
            _optional("retryAfterMs", "retry_after_ms", _milliseconds),
        ),
    ),
    "peer-joined": (
        PeerJoined,
        (
            Field("peer", "peer", _id),
            Field("role", "role", _role),
            Field("dialect", "dialect", _one_of("tightbeam", "plain")),
        ),
    ),
    "peer-left": (
        PeerLeft,
        (Field("peer", "peer", _id), Field("reason", "reason", _one_of("bye", "lost"))),
    ),
    "reconnect": (Reconnect, (Field("afterMs", "after_ms", _milliseconds),)),
    "bye": (Bye, (Field("reason", "reason", _text(64)),)),
    "sync": (
        Sync,
        (
            Field("to", "to", _id),
            Field("from", "sender", _id),
            Field("negotiation", "negotiation", _id),
            Field("at", "at", _count),
            Field("items", "items", _items),
            Field("has", "has", _count),
            _optional("replaces", "replaces", _replaces),
        ),
    ),
    "ping": (Ping, ()),
    "pong": (Pong, ()),
}

_TYPE_OF: Final = {
    shape: name for name, (shape, _) in [*ITEM_FIELDS.items(), *MESSAGE_FIELDS.items()]
}


def _no_constant(name: str) -> Json:
    raise ValueError(f"{name} is not JSON")  # RFC 8259 6 has no NaN and no infinities


def decode_object(text: str | bytes) -> dict[str, Json]:
    """Decode one JSON object; raise MessageError for anything else."""
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise MessageError("expected a JSON object") from None
    if not isinstance(value, dict):
        raise _expected("message", "a JSON object", value)
    return value


def _values(obj: Mapping[str, Json], fields: tuple[Field, ...], where: str) -> dict[str, Json]:
    values: dict[str, Json] = {}
    for row in fields:
        if row.json not in obj:
            if row.required:
                raise MessageError(f"{where}{row.json}: missing")
            continue
        value = obj[row.json]
        if value is None and row.nullable:
            continue
        values[row.name] = row.check(f"{where}{row.json}", value)
    return values


def parse_item(value: Json, where: str = "message") -> Item:
    """One item of a negotiation log, which is also one message of the plain dialect."""
    if not isinstance(value, dict):
        raise _expected(where, "an object", value)
    kind = value.get("type")
    if not isinstance(kind, str) or kind not in ITEM_FIELDS:
        raise MessageError(f"{where}.type: expected one of {', '.join(ITEM_FIELDS)}")
    shape, fields = ITEM_FIELDS[kind]
    return shape(**_values(value, fields, f"{where}."))


def parse_object(obj: Mapping[str, Json]) -> Message:
    """A decoded Tightbeam message as its frozen value; raise MessageError when it is none."""
    kind = obj.get("type")
    if not isinstance(kind, str) or kind not in MESSAGE_FIELDS:
        raise MessageError(f"type: expected one of {', '.join(MESSAGE_FIELDS)}")
    shape, fields = MESSAGE_FIELDS[kind]
    message = shape(**_values(obj, fields, ""))
    if isinstance(message, Hello):
        credentials = (message.token, message.session, message.resume)
        if sum(value is not None for value in credentials) > 1:
            raise MessageError("hello: expected at most one of token, session, resume")
    return message


def parse(text: str | bytes) -> Message:
    """One Tightbeam text frame as its frozen value; raise MessageError when it is none."""
    return parse_object(decode_object(text))


def _plain(value: Json) -> Json:
    match value:
        case Limits():
            return {
                "messageBytes": value.message_bytes,
                "messagesPer10s": value.messages_per_10s,
            }
        case Offer() | Answer() | Candidate() | Control():
            return item_object(value)
        case tuple():
            return [_plain(entry) for entry in value]
        case _:
            return value


def _object(kind: str, fields: tuple[Field, ...], value: Message | Item) -> dict[str, Json]:
    obj: dict[str, Json] = {"type": kind}
    for row in fields:
        entry = getattr(value, row.name)
        if entry is not None or row.required:
            obj[row.json] = _plain(entry)
    return obj


def item_object(item: Item) -> dict[str, Json]:
    """The JSON object of one item; optional keys without a value are left out."""
    kind = _TYPE_OF[type(item)]
    return _object(kind, ITEM_FIELDS[kind][1], item)


def message_object(message: Message) -> dict[str, Json]:
    """The JSON object of one message; optional keys without a value are left out."""
    kind = _TYPE_OF[type(message)]
    return _object(kind, MESSAGE_FIELDS[kind][1], message)


def encode(message: Message | Item) -> str:
    """The text frame of a message, or of an item for the plain dialect."""
    obj = item_object(message) if isinstance(message, Item) else message_object(message)
    return json.dumps(obj, separators=(",", ":"))
