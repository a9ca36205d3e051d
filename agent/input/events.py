"""Decodes the messages of the `input` data channel (docs/protocol.md 6.1) and encodes its ACK: a core.

Flow: agent/transport hands the bytes in, agent/input/guard.py takes the values.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

VERSION: Final = 1
TYPE_EVENTS: Final = 1
TYPE_HELD: Final = 2
TYPE_ACK: Final = 3
TYPE_CARRIED: Final = 7
MAX_EVENTS: Final = 64
MAX_HELD_KEYS: Final = 32
MAX_BUTTON: Final = 4
MAX_TEXT_BYTES: Final = 64
MAX_SEQUENCE: Final = 0xFFFF_FFFF

_MOTION: Final = struct.Struct("!BBBii")
_STAMP: Final = struct.Struct("!I")
_FIRST_AND_COUNT: Final = struct.Struct("!IB")
_LAST_BUTTONS_COUNT: Final = struct.Struct("!IBB")
_KEY: Final = struct.Struct("!BH")
_BUTTON: Final = struct.Struct("!BB")
_WHEEL: Final = struct.Struct("!hh")
_USAGE: Final = struct.Struct("!H")
_CARRIED: Final = struct.Struct("!IIH")
_ACK: Final = struct.Struct("!BBI")


class InputError(ValueError):
    """An `input` message that is not as docs/protocol.md 6.1 says; the text names the field."""


class Mode(IntEnum):
    """What the two numbers of a motion are."""

    NONE = 0
    ABSOLUTE = 1
    RELATIVE = 2


@dataclass(frozen=True, slots=True)
class Motion:
    """Where the pointer is (0..65535 of the picture), or the sums of its way in 1/16 CSS pixel."""

    mode: Mode
    screen: int
    x: int
    y: int


@dataclass(frozen=True, slots=True)
class Key:
    down: bool
    usage: int
    """USB HID usage of page 0x07."""


@dataclass(frozen=True, slots=True)
class Button:
    down: bool
    button: int
    """W3C MouseEvent.button, 0..4."""
    motion: Motion


@dataclass(frozen=True, slots=True)
class Wheel:
    dx: int
    dy: int
    """In 1/120 notch; positive is right and down."""


@dataclass(frozen=True, slots=True)
class ReleaseAll:
    pass


@dataclass(frozen=True, slots=True)
class Text:
    """Characters that no key of the browser's keyboard stands for: from an input method, or a phone."""

    text: str


Event = Key | Button | Wheel | ReleaseAll | Text


@dataclass(frozen=True, slots=True)
class Carried:
    """Events that were said on the former connection already, and perhaps heard there."""

    former: int
    """Sequence number of the first one there."""
    first: int
    """And here."""
    count: int


@dataclass(frozen=True, slots=True)
class Events:
    """Every event that the browser does not know to be applied, the first with sequence number `first`."""

    stamp: int
    motion: Motion
    first: int
    events: tuple[Event, ...]
    carried: Carried | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """What is down in the browser after the event with sequence number `last`."""

    stamp: int
    motion: Motion
    last: int
    buttons: frozenset[int]
    usages: frozenset[int]


class _Reader:
    """A cursor over one message; reading past its end raises InputError."""

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self._at = 0

    def take(self, shape: struct.Struct, what: str) -> tuple[int, ...]:
        end = self._at + shape.size
        if end > len(self._payload):
            raise InputError(f"{what}: expected {shape.size} bytes at {self._at}, got fewer")
        values: tuple[int, ...] = shape.unpack_from(self._payload, self._at)
        self._at = end
        return values

    def byte(self, what: str) -> int:
        if self._at >= len(self._payload):
            raise InputError(f"{what}: expected a byte at {self._at}, got the end")
        self._at += 1
        return self._payload[self._at - 1]

    def text(self, what: str) -> str:
        """A length in one byte, and so many bytes of UTF-8."""
        size = self.byte(what)
        if not 1 <= size <= MAX_TEXT_BYTES:
            raise InputError(f"{what}: expected 1 to {MAX_TEXT_BYTES} bytes, got {size}")
        data = self._payload[self._at : self._at + size]
        if len(data) < size:
            raise InputError(f"{what}: expected {size} bytes at {self._at}, got fewer")
        self._at += size
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise InputError(f"{what}: expected UTF-8") from None

    def end(self) -> None:
        if self._at != len(self._payload):
            raise InputError(f"end: expected {self._at} bytes, got {len(self._payload)}")


def _flag(value: int) -> bool:
    if value > 1:
        raise InputError(f"down: expected 0 or 1, got {value}")
    return value == 1


def _motion(reader: _Reader) -> Motion:
    mode, screen, reserved, x, y = reader.take(_MOTION, "motion")
    if mode > Mode.RELATIVE:
        raise InputError(f"motion.mode: expected 0 to 2, got {mode}")
    if reserved:
        raise InputError(f"motion.reserved: expected 0, got {reserved}")
    return Motion(Mode(mode), screen, x, y)


def _event(reader: _Reader) -> Event:
    match reader.byte("kind"):
        case 1:
            down, usage = reader.take(_KEY, "key")
            return Key(_flag(down), usage)
        case 2:
            down, button = reader.take(_BUTTON, "button")
            if button > MAX_BUTTON:
                raise InputError(f"button: expected 0 to {MAX_BUTTON}, got {button}")
            return Button(_flag(down), button, _motion(reader))
        case 3:
            dx, dy = reader.take(_WHEEL, "wheel")
            return Wheel(dx, dy)
        case 4:
            return ReleaseAll()
        case 5:
            return Text(reader.text("text"))
        case kind:
            raise InputError(f"kind: expected 1 to 5, got {kind}")


def _carried(reader: _Reader) -> Carried:
    former, first, count = reader.take(_CARRIED, "carried")
    if former < 1 or first < 1:
        raise InputError(f"carried: expected sequence numbers from 1 on, got {former}, {first}")
    return Carried(former, first, count)


def _events(reader: _Reader, carried: Carried | None = None) -> Events:
    (stamp,) = reader.take(_STAMP, "stamp")
    motion = _motion(reader)
    first, count = reader.take(_FIRST_AND_COUNT, "first")
    if count > MAX_EVENTS:
        raise InputError(f"count: expected at most {MAX_EVENTS} events, got {count}")
    if count and not 1 <= first <= MAX_SEQUENCE + 1 - count:
        raise InputError(f"first: expected sequence numbers from 1 on in 32 bits, got {first}")
    return Events(stamp, motion, first, tuple(_event(reader) for _ in range(count)), carried)


def _held(reader: _Reader) -> Held:
    (stamp,) = reader.take(_STAMP, "stamp")
    motion = _motion(reader)
    last, mask, count = reader.take(_LAST_BUTTONS_COUNT, "held")
    if mask >> (MAX_BUTTON + 1):
        raise InputError(f"buttons: expected bits 0 to {MAX_BUTTON}, got {mask:#04x}")
    if count > MAX_HELD_KEYS:
        raise InputError(f"count: expected at most {MAX_HELD_KEYS} keys, got {count}")
    buttons = frozenset(bit for bit in range(MAX_BUTTON + 1) if mask >> bit & 1)
    usages = frozenset(reader.take(_USAGE, "usage")[0] for _ in range(count))
    return Held(stamp, motion, last, buttons, usages)


def decode(payload: bytes) -> Events | Held:
    """One message of the `input` channel; raise InputError when it is none. Ranges are the guard's."""
    reader = _Reader(payload)
    version = reader.byte("version")
    if version != VERSION:
        raise InputError(f"version: expected {VERSION}, got {version}")
    message: Events | Held
    match reader.byte("type"):
        case 1:
            message = _events(reader)
        case 2:
            message = _held(reader)
        case 7:
            message = _events(reader, _carried(reader))
        case kind:
            raise InputError(
                f"type: expected {TYPE_EVENTS}, {TYPE_HELD} or {TYPE_CARRIED}, got {kind}"
            )
    reader.end()
    return message


def encode_ack(following: int) -> bytes:
    """ACK: every event before sequence number `following` has been applied."""
    return _ACK.pack(VERSION, TYPE_ACK, following)
