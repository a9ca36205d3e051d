"""The bytes of the `clipboard` data channel (docs/protocol.md 6.7): a core. client/clipboard.js is the other side."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from agent.clipboard.base import MAX_TEXT_BYTES, Policy

VERSION: Final = 1
TYPE_POLICY: Final = 1
TYPE_OFFER: Final = 2
TYPE_WANT: Final = 3
TYPE_TEXT: Final = 4
TYPE_PIECE: Final = 5
TYPE_TAKEN: Final = 6
PIECE_BYTES: Final = 8192
"""Small enough that what the other channels have to say soon gets its turn."""
TO_HOST: Final = 1
TO_CLIENT: Final = 2
WAYS: Final[dict[Policy, int]] = {
    "both": TO_HOST | TO_CLIENT,
    "to-host": TO_HOST,
    "to-client": TO_CLIENT,
    "off": 0,
}

_HEAD: Final = struct.Struct("!BB")
_FLAG: Final = struct.Struct("!BBB")
_NUMBER: Final = struct.Struct("!BBI")
_ANSWER: Final = struct.Struct("!BBIB")
_TEXT: Final = struct.Struct("!BBIBI")


class ClipboardError(ValueError):
    """A message of the page that is not as docs/protocol.md 6.7 says; the text names the field, never the content."""


@dataclass(frozen=True, slots=True)
class Want:
    """The page asks for the host's text, by an act of its user."""

    number: int
    """Given back with the text."""


@dataclass(frozen=True, slots=True)
class Text:
    """The page's text for the host's clipboard."""

    number: int
    text: str = field(repr=False)


def encode_policy(ways: int) -> bytes:
    """POLICY: which of TO_HOST and TO_CLIENT are open to this page."""
    return _FLAG.pack(VERSION, TYPE_POLICY, ways)


def encode_offer(*, text: bool) -> bytes:
    """OFFER: the host's clipboard has changed, and whether there is text in it."""
    return _FLAG.pack(VERSION, TYPE_OFFER, int(text))


def encode_taken(number: int, *, taken: bool) -> bytes:
    """TAKEN: the text of this number is in the host's clipboard, or cannot be put there."""
    return _ANSWER.pack(VERSION, TYPE_TAKEN, number, int(taken))


def encode_text(number: int, text: str | None) -> Iterator[bytes]:
    """TEXT and its PIECEs: the answer to a WANT; None: there is no text (for the page)."""
    payload = b"" if text is None else text.encode()
    head = _TEXT.pack(VERSION, TYPE_TEXT, number, int(text is not None), len(payload))
    yield head + payload[:PIECE_BYTES]
    for start in range(PIECE_BYTES, len(payload), PIECE_BYTES):
        yield _HEAD.pack(VERSION, TYPE_PIECE) + payload[start : start + PIECE_BYTES]


class ClipboardReader:
    """Puts the page's messages together; keeps one text of at most MAX_TEXT_BYTES that is not whole yet."""

    def __init__(self) -> None:
        self._number = 0
        self._missing = 0
        self._pieces: list[bytes] = []

    def hear(self, payload: bytes) -> Want | Text | None:
        """What a message says; None: a text goes on. Raises ClipboardError, and forgets what was coming."""
        try:
            return self._hear(payload)
        except ClipboardError:
            self._missing, self._pieces = 0, []
            raise

    def _hear(self, payload: bytes) -> Want | Text | None:
        if len(payload) < _HEAD.size:
            raise ClipboardError(f"head: expected {_HEAD.size} bytes, got {len(payload)}")
        version, kind = _HEAD.unpack_from(payload)
        if version != VERSION:
            raise ClipboardError(f"version: expected {VERSION}, got {version}")
        match kind:
            case 3:  # TYPE_WANT
                if len(payload) != _NUMBER.size:
                    raise ClipboardError(f"WANT: expected {_NUMBER.size} bytes, got {len(payload)}")
                return Want(_NUMBER.unpack(payload)[2])
            case 4:  # TYPE_TEXT
                return self._begin(payload)
            case 5:  # TYPE_PIECE
                if not self._missing or len(payload) == _HEAD.size:
                    raise ClipboardError("PIECE: expected a text that goes on, and bytes")
                return self._take(payload[_HEAD.size :])
        raise ClipboardError(f"type: expected WANT, TEXT or PIECE, got {kind}")

    def _begin(self, payload: bytes) -> Text | None:
        if len(payload) < _TEXT.size:
            raise ClipboardError(f"TEXT: expected {_TEXT.size} bytes or more, got {len(payload)}")
        _, _, number, there, size = _TEXT.unpack_from(payload)
        if there != 1 or size > MAX_TEXT_BYTES:
            raise ClipboardError(f"TEXT: expected one of at most {MAX_TEXT_BYTES} bytes")
        if size and len(payload) == _TEXT.size:
            raise ClipboardError("TEXT: expected bytes of it")
        self._number, self._missing, self._pieces = number, size, []
        return self._take(payload[_TEXT.size :])

    def _take(self, piece: bytes) -> Text | None:
        if len(piece) > self._missing:
            raise ClipboardError(f"size: expected {self._missing} bytes more, got {len(piece)}")
        self._pieces.append(piece)
        self._missing -= len(piece)
        if self._missing:
            return None
        whole, self._pieces = b"".join(self._pieces), []
        try:
            return Text(self._number, whole.decode())
        except UnicodeDecodeError:
            raise ClipboardError("text: expected UTF-8") from None
