"""Decodes what the `input` data channel says of gamepads (docs/protocol.md 6.1) and encodes the answers: a core.

Flow: agent/transport hands the bytes in, agent/input/pad_guard.py takes the values.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from agent.input.events import MAX_SEQUENCE, VERSION, InputError

TYPE_PADS: Final = 4
TYPE_PADS_ACK: Final = 5
TYPE_RUMBLE: Final = 6
MAX_PADS: Final = 4
"""As many as XInput, and so most games, know."""
MAX_CHANGES: Final = 32
BUTTONS: Final = 17
"""Of the standard gamepad (W3C Gamepad): 0..16."""

_HEAD: Final = struct.Struct("!BBIIB")
_ENTRY: Final = struct.Struct("!BIBBhhhh")
_ACK: Final = struct.Struct("!BBI")
_RUMBLE: Final = struct.Struct("!BBIBHH")


@dataclass(frozen=True, slots=True)
class PadState:
    """Everything that a gamepad says at one moment."""

    buttons: int
    """Bit n: button n of the standard gamepad is pressed; the triggers (6, 7) too, beyond some point."""
    left_trigger: int
    """0 to 255; so is the right one."""
    right_trigger: int
    left_x: int
    """-32768 (left) to 32767; so are the other axes, y from up to down."""
    left_y: int
    right_x: int
    right_y: int


NEUTRAL: Final = PadState(0, 0, 0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Change:
    """What a pad said when one of its buttons changed."""

    pad: int
    state: PadState


@dataclass(frozen=True, slots=True)
class Pads:
    """Every change that the browser does not know to be applied, and the newest state of all its pads."""

    stamp: int
    first: int
    """Sequence number of the first change."""
    changes: tuple[Change, ...]
    newest: tuple[Change, ...]
    """Of each connected pad, in rising order of them; one that is not here is not connected any more."""


def is_pads(payload: bytes) -> bool:
    """Whether it is for `decode_pads` rather than for `events.decode`."""
    return payload[1:2] == bytes([TYPE_PADS])


def _entries(payload: bytes, at: int, count: int) -> tuple[Change, ...]:
    """The entries from byte `at` on. Raises InputError."""
    entries = []
    for index in range(count):
        place = at + index * _ENTRY.size
        if place + _ENTRY.size > len(payload):
            raise InputError(f"pad: expected {_ENTRY.size} bytes at {place}, got fewer")
        pad, *values = _ENTRY.unpack_from(payload, place)
        state = PadState(*values)
        if pad >= MAX_PADS:
            raise InputError(f"pad: expected 0 to {MAX_PADS - 1}, got {pad}")
        if state.buttons >> BUTTONS:
            raise InputError(f"buttons: expected bits 0 to {BUTTONS - 1}, got {state.buttons:#x}")
        entries.append(Change(pad, state))
    return tuple(entries)


def decode_pads(payload: bytes) -> Pads:
    """A PADS message; raise InputError when it is none."""
    if len(payload) <= _HEAD.size:
        raise InputError(f"pads: expected more than {_HEAD.size} bytes, got {len(payload)}")
    version, kind, stamp, first, count = _HEAD.unpack_from(payload)
    if version != VERSION:
        raise InputError(f"version: expected {VERSION}, got {version}")
    if kind != TYPE_PADS:
        raise InputError(f"type: expected {TYPE_PADS}, got {kind}")
    if count > MAX_CHANGES:
        raise InputError(f"count: expected at most {MAX_CHANGES} changes, got {count}")
    if not 1 <= first <= MAX_SEQUENCE + 1 - count:
        raise InputError(f"first: expected sequence numbers from 1 on in 32 bits, got {first}")
    changes = _entries(payload, _HEAD.size, count)
    at = _HEAD.size + count * _ENTRY.size
    if at >= len(payload):
        raise InputError(f"pads: expected a count at {at}, got the end")
    pads = payload[at]
    end = at + 1 + pads * _ENTRY.size
    newest = _entries(payload, at + 1, pads)
    if [entry.pad for entry in newest] != sorted({entry.pad for entry in newest}):
        raise InputError("pads: expected each pad once, in rising order")
    if end != len(payload):
        raise InputError(f"end: expected {end} bytes, got {len(payload)}")
    return Pads(stamp, first, changes, newest)


def encode_pads_ack(following: int) -> bytes:
    """PADS_ACK: every change before sequence number `following` has been applied."""
    return _ACK.pack(VERSION, TYPE_PADS_ACK, following)


def encode_rumble(stamp: int, pad: int, strong: int, weak: int) -> bytes:
    """RUMBLE: what both motors of a pad do from now on, each 0 to 65535."""
    return _RUMBLE.pack(VERSION, TYPE_RUMBLE, stamp, pad, strong, weak)
