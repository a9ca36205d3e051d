"""The messages of the `desk` data channel (docs/protocol.md 6.6): a core."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

VERSION: Final = 1
TYPE_DESK: Final = 1
TYPE_SAID: Final = 2
TYPE_CHOOSE: Final = 3
TYPE_END: Final = 4
MAX_CHOICES: Final = 64
MAX_NAME_BYTES: Final = 64
MAX_WORDS_BYTES: Final = 255

_HEAD: Final = struct.Struct("!BBBBB")
_CHOICE: Final = struct.Struct("!HBBHHB")
_CHOOSE: Final = struct.Struct("!BBH")


class DeskError(ValueError):
    """A message that is not as docs/protocol.md 6.6 says, or asks for what is not there or not allowed."""


class Kind(IntEnum):
    """What can be shown."""

    MONITOR = 1
    EVERY_MONITOR = 2
    APP = 3


class State(IntEnum):
    """How it is with a choice."""

    READY = 0
    SHOWN = 1
    STARTING = 2
    RUNNING = 3
    """An app that is not shown."""
    ENDING = 4


@dataclass(frozen=True, slots=True)
class Choice:
    """Something that can be shown; `width` and `height` in pixels, 0: not known."""

    number: int
    kind: Kind
    state: State
    width: int
    height: int
    name: str


def encode_desk(screen: int, choices: Sequence[Choice], *, may: bool) -> bytes:
    """DESK: what is shown has this number, and these can be chosen, by this viewer if it `may`."""
    listed = choices[:MAX_CHOICES]
    parts = [_HEAD.pack(VERSION, TYPE_DESK, screen, may, len(listed))]
    for choice in listed:
        name = _cut(choice.name, MAX_NAME_BYTES)
        size = (min(choice.width, 0xFFFF), min(choice.height, 0xFFFF))
        parts.append(_CHOICE.pack(choice.number, choice.kind, choice.state, *size, len(name)))
        parts.append(name)
    return b"".join(parts)


def encode_said(words: str) -> bytes:
    """SAID: something that the user should know; cut where it is too long."""
    told = _cut(words, MAX_WORDS_BYTES)
    return bytes((VERSION, TYPE_SAID, len(told))) + told


def decode(payload: bytes) -> tuple[int, int]:
    """Of a CHOOSE or an END its type, and the number that it names. Raises DeskError."""
    if len(payload) != _CHOOSE.size:
        raise DeskError(f"CHOOSE: expected {_CHOOSE.size} bytes, got {len(payload)}")
    version, kind, number = _CHOOSE.unpack(payload)
    if version != VERSION or kind not in (TYPE_CHOOSE, TYPE_END):
        raise DeskError(f"expected version {VERSION}, type 3 or 4, got {version}, {kind}")
    return int(kind), int(number)


def _cut(text: str, most: int) -> bytes:
    """Its first bytes in UTF-8, cut between characters."""
    return text.encode("utf-8", "replace")[:most].decode("utf-8", "ignore").encode()
