"""The message codec: JSON text frames to frozen values and back, for both dialects (docs/protocol.md)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NewType

from cluster.protocol.checks import (
    Check,
    anything,
    boolean,
    expected,
    integer,
    one_of,
    pattern,
    text,
)
from cluster.protocol.checks import Json as Json  # noqa: PLC0414 - everybody has these from here
from cluster.protocol.checks import MessageError as MessageError  # noqa: PLC0414

PeerId = NewType("PeerId", str)
RoomId = NewType("RoomId", str)
Role = Literal["host", "player", "viewer"]
Dialect = Literal["tightbeam", "plain"]
LeaveReason = Literal["bye", "lost"]

SUBPROTOCOL: Final = "tightbeam.v1"
ROLES: Final[tuple[Role, ...]] = ("host", "player", "viewer")
ROOM_PATTERN: Final = re.compile(r"[A-Za-z0-9_\-:.]{1,64}")
ID_PATTERN: Final = re.compile(r"[A-Za-z0-9_\-]{22}")
MAX_MESSAGE_BYTES: Final = 256 * 1024
MAX_ITEM_BYTES: Final = 64 * 1024
MAX_ITEMS: Final = 256
MAX_REPLACES: Final = 16
MAX_TOKEN_BYTES: Final = 4096


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


def _ice_servers(key: str, value: Json) -> None:
    if not isinstance(value, list) or not all(isinstance(server, dict) for server in value):
        raise expected(key, "a list of objects", value)


def _limits(key: str, value: Json) -> None:
    if not isinstance(value, dict):
        raise expected(key, "an object", value)
    count = integer(1, 1 << 31)
    for name in ("messageBytes", "messagesPer10s"):
        count(f"{key}.{name}", value.get(name))


_sdp = text(MAX_ITEM_BYTES, least=1)
_token = text(MAX_TOKEN_BYTES, least=1)
_id = pattern(ID_PATTERN)
_room = pattern(ROOM_PATTERN)
_role = one_of(*ROLES)
_count = integer(0, MAX_ITEMS)
_milliseconds = integer(0, 3_600_000)


@dataclass(frozen=True, slots=True)
class Field:
    """How one key of a message is called in JSON and here, and what its value may be.

    `make` gives the value here of one that has been checked, where that is another one.
    """

    json: str
    name: str
    check: Check
    make: Callable[[Json], Json] | None = None
    required: bool = True
    nullable: bool = False


def _optional(json_name: str, name: str, check: Check, *, nullable: bool = False) -> Field:
    return Field(json_name, name, check, required=False, nullable=nullable)


def _check(obj: Mapping[str, Json], fields: tuple[Field, ...]) -> None:
    for row in fields:
        value = obj.get(row.json)
        if value is not None:
            row.check(row.json, value)
        elif row.json in obj:
            if not row.nullable:
                row.check(row.json, value)
        elif row.required:
            raise MessageError(f"{row.json}: missing")


def _values(obj: Mapping[str, Json], fields: tuple[Field, ...]) -> dict[str, Json]:
    return {
        row.name: value if row.make is None else row.make(value)
        for row in fields
        if (value := obj.get(row.json)) is not None
    }


ITEM_FIELDS: Final[dict[str, tuple[type[Item], tuple[Field, ...]]]] = {
    "offer": (Offer, (Field("sdp", "sdp", _sdp),)),
    "answer": (Answer, (Field("sdp", "sdp", _sdp),)),
    "candidate": (
        Candidate,
        (
            Field("candidate", "candidate", text(4096)),
            _optional("sdpMid", "sdp_mid", text(64), nullable=True),
            _optional("sdpMLineIndex", "sdp_mline_index", integer(0, 65535), nullable=True),
            _optional("usernameFragment", "username_fragment", text(256), nullable=True),
        ),
    ),
    "control": (
        Control,
        (
            Field("action", "action", text(64, least=1)),
            _optional("payload", "payload", anything, nullable=True),
        ),
    ),
}


def is_item(obj: Mapping[str, Json]) -> bool:
    """Whether its type is that of an item; anything may be in the place of a type."""
    kind = obj.get("type")
    return isinstance(kind, str) and kind in ITEM_FIELDS


def check_item(value: Json, where: str = "message") -> str:
    """The type of one item of a negotiation log, which is also one message of the plain dialect.

    Raises MessageError when it is none. A relay needs no more: to make the value costs more than to check it.
    """
    if not isinstance(value, dict):
        raise expected(where, "an object", value)
    if not is_item(value):
        raise MessageError(f"{where}.type: expected one of {', '.join(ITEM_FIELDS)}")
    kind: str = value["type"]
    try:
        _check(value, ITEM_FIELDS[kind][1])
    except MessageError as error:
        raise MessageError(f"{where}.{error}") from None
    return kind


def _make_item(value: Mapping[str, Json]) -> Item:
    shape, fields = ITEM_FIELDS[value["type"]]
    return shape(**_values(value, fields))


def parse_item(value: Json) -> Item:
    """One item as its frozen value; raise MessageError when it is none."""
    check_item(value)
    return _make_item(value)


def _items(key: str, value: Json) -> None:
    if not isinstance(value, list):
        raise expected(key, "a list", value)
    if len(value) > MAX_ITEMS:
        raise MessageError(f"{key}: expected at most {MAX_ITEMS} items, got {len(value)}")
    for index, item in enumerate(value):
        check_item(item, f"{key}[{index}]")


def _make_items(value: Json) -> tuple[Item, ...]:
    return tuple(map(_make_item, value))


def _make_limits(value: Json) -> Limits:
    return Limits(value["messageBytes"], value["messagesPer10s"])


def _replaces(key: str, value: Json) -> None:
    if not isinstance(value, list):
        raise expected(key, "a list", value)
    if len(value) > MAX_REPLACES:
        raise MessageError(f"{key}: expected at most {MAX_REPLACES} ids, got {len(value)}")
    for index, entry in enumerate(value):
        _id(f"{key}[{index}]", entry)


MESSAGE_FIELDS: Final[dict[str, tuple[type[Message], tuple[Field, ...]]]] = {
    "hello": (
        Hello,
        (
            Field("room", "room", _room),
            Field("role", "role", _role),
            _optional("token", "token", _token),
            _optional("session", "session", _token),
            _optional("resume", "resume", _token),
            _optional("capacity", "capacity", integer(2, 64)),
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
            Field("resumed", "resumed", boolean),
            Field("iceServers", "ice_servers", _ice_servers, tuple),
            Field("limits", "limits", _limits, _make_limits),
        ),
    ),
    "ice-servers": (IceServers, (Field("iceServers", "ice_servers", _ice_servers, tuple),)),
    "error": (
        Error,
        (
            Field("code", "code", text(64, least=1)),
            Field("message", "message", text(1024)),
            _optional("retryAfterMs", "retry_after_ms", _milliseconds),
        ),
    ),
    "peer-joined": (
        PeerJoined,
        (
            Field("peer", "peer", _id),
            Field("role", "role", _role),
            Field("dialect", "dialect", one_of("tightbeam", "plain")),
        ),
    ),
    "peer-left": (
        PeerLeft,
        (Field("peer", "peer", _id), Field("reason", "reason", one_of("bye", "lost"))),
    ),
    "reconnect": (Reconnect, (Field("afterMs", "after_ms", _milliseconds),)),
    "bye": (Bye, (Field("reason", "reason", text(64)),)),
    "sync": (
        Sync,
        (
            Field("to", "to", _id),
            Field("from", "sender", _id),
            Field("negotiation", "negotiation", _id),
            Field("at", "at", _count),
            Field("items", "items", _items, _make_items),
            Field("has", "has", _count),
            Field("replaces", "replaces", _replaces, tuple, required=False),
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
        raise expected("message", "a JSON object", value)
    return value


def check_object(obj: Mapping[str, Json]) -> str:
    """The type of a decoded Tightbeam message; raise MessageError when it is none."""
    kind = obj.get("type")
    if not isinstance(kind, str) or kind not in MESSAGE_FIELDS:
        raise MessageError(f"type: expected one of {', '.join(MESSAGE_FIELDS)}")
    _check(obj, MESSAGE_FIELDS[kind][1])
    if kind == "hello" and sum(key in obj for key in ("token", "session", "resume")) > 1:
        raise MessageError("hello: expected at most one of token, session, resume")
    return kind


def parse_object(obj: Mapping[str, Json]) -> Message:
    """A decoded Tightbeam message as its frozen value; raise MessageError when it is none."""
    shape, fields = MESSAGE_FIELDS[check_object(obj)]
    return shape(**_values(obj, fields))


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
