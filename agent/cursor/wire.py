"""The bytes of the `cursor` data channel and what is said in which order (docs/protocol.md 6.5): a core.

Flow: agent/cursor/stage.py packs a shape once for all viewers, agent/cursor/teller.py sends what a writer has to say.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from agent.cursor.base import Cursor, Shape

VERSION: Final = 1
TYPE_SHAPE: Final = 1
TYPE_PIECE: Final = 2
TYPE_STATE: Final = 3
TYPE_PLACE: Final = 4
MAX_SIDE: Final = 256
"""Pixels; a page draws no larger ones, and Windows's own largest pointer has as many."""
SLOTS: Final = 32
"""Shapes that a page keeps: an animation, and what a desktop has beside it. 8 MiB of pixels at most."""
PIECE_BYTES: Final = 8192
"""Small enough that what the other channels have to say soon gets its turn."""
NO_SLOT: Final = 255

_SHAPE: Final = struct.Struct("!BBBHHHHI")
_PIECE: Final = struct.Struct("!BB")
_STATE: Final = struct.Struct("!BBBBBHH")
_PLACE: Final = struct.Struct("!BBHH")
_FULL: Final = 65_535


class Look(IntEnum):
    """What a STATE says of the pointer."""

    UNKNOWN = 0
    HIDDEN = 1
    SHOWN = 2


@dataclass(frozen=True, slots=True)
class Packed:
    """A shape ready to be sent, and a name for all that look like it."""

    key: bytes
    width: int
    height: int
    hot_x: int
    hot_y: int
    deflated: bytes


def pack(shape: Shape) -> Packed:
    """Deflate a shape; one that is larger than MAX_SIDE is made smaller by a whole number."""
    shape = _within(shape, MAX_SIDE)
    hot_x, hot_y = _clamped(shape.hot_x, shape.width), _clamped(shape.hot_y, shape.height)
    head = struct.pack("!HHHH", shape.width, shape.height, hot_x, hot_y)
    key = hashlib.blake2b(head + shape.pixels, digest_size=16).digest()
    return Packed(key, shape.width, shape.height, hot_x, hot_y, zlib.compress(shape.pixels))


def _clamped(hot: int, side: int) -> int:
    return min(max(hot, 0), side - 1)


def _within(shape: Shape, side: int) -> Shape:
    step = -(-max(shape.width, shape.height) // side)
    if step == 1:
        return shape
    row = 4 * shape.width
    pixels = b"".join(
        shape.pixels[start : start + 4]
        for top in range(0, shape.height, step)
        for start in range(top * row, (top + 1) * row, 4 * step)
    )
    width, height = -(-shape.width // step), -(-shape.height // step)
    return Shape(width, height, shape.hot_x // step, shape.hot_y // step, pixels)


def fraction(at: int, pixels: int) -> int:
    """A place on the screen as docs/protocol.md 6.1 has it, of the pixel's left upper corner."""
    return min(max(round(at / max(pixels, 1) * _FULL), 0), _FULL)


def encode_shape(slot: int, shape: Packed) -> Iterator[bytes]:
    """SHAPE and the PIECEs after it."""
    head = _SHAPE.pack(
        VERSION, TYPE_SHAPE, slot, shape.width, shape.height, shape.hot_x, shape.hot_y,
        len(shape.deflated),
    )  # fmt: skip
    yield head + shape.deflated[:PIECE_BYTES]
    for start in range(PIECE_BYTES, len(shape.deflated), PIECE_BYTES):
        piece = shape.deflated[start : start + PIECE_BYTES]
        yield _PIECE.pack(VERSION, TYPE_PIECE) + piece


def encode_state(look: Look, slot: int, screen: tuple[int, int], *, apart: bool) -> bytes:
    """STATE; `apart`: the page has no pointer of its own in the picture, and draws at each PLACE."""
    sides = [min(side, _FULL) for side in screen]
    return _STATE.pack(VERSION, TYPE_STATE, look, slot, int(apart), *sides)


def encode_place(cursor: Cursor) -> bytes:
    """PLACE."""
    (width, height), x, y = cursor.screen, cursor.x, cursor.y
    return _PLACE.pack(VERSION, TYPE_PLACE, fraction(x, width), fraction(y, height))


class CursorWriter:
    """What one page has still to be told; newest wins. Call `peek` until None, and `sent` after each that left."""

    def __init__(self, *, apart: bool) -> None:
        self._apart = apart
        self._slots: dict[bytes, int] = {}
        """By key of a shape that the page has whole, least recently used first."""
        self._cursor: Cursor | None = None
        self._packed: Packed | None = None
        self._sending: tuple[bytes, int, list[bytes]] | None = None
        """A shape on its way: its key, its slot, and the messages that have not left."""
        self._told_state: bytes = encode_state(Look.UNKNOWN, NO_SLOT, (0, 0), apart=False)
        """As every page begins."""
        self._told_place: bytes = b""
        self.follow = False
        """Whether the page is told where the pointer is."""

    def update(self, cursor: Cursor | None, packed: Packed | None) -> None:
        """The pointer now, and its shape packed; None: nothing is known of it (any more)."""
        self._cursor, self._packed = cursor, packed
        if self._sending is not None and (packed is None or packed.key != self._sending[0]):
            self._sending = None

    def peek(self) -> bytes | None:
        """The next message, or None: the page knows everything."""
        if self._packed is not None and self._packed.key not in self._slots:
            if self._sending is None:
                slot = self._free_slot()
                messages = list(encode_shape(slot, self._packed))
                self._sending = (self._packed.key, slot, messages)
            return self._sending[2][0]
        state = self._state()
        if state != self._told_state:
            return state
        place = self._place()
        return place if place != self._told_place else None

    def sent(self) -> None:
        """What `peek` returned has left."""
        message = self.peek()
        if message is None:
            raise RuntimeError("nothing was to be sent")
        if self._sending is not None:
            key, slot, messages = self._sending
            messages.pop(0)
            if not messages:
                self._slots[key] = slot
                self._sending = None
        elif message[1] == TYPE_STATE:
            self._told_state = message
        else:
            self._told_place = message

    def _free_slot(self) -> int:
        """One that no shape of the page is in; the least recently used one is given up for it."""
        if len(self._slots) == SLOTS:
            return self._slots.pop(next(iter(self._slots)))
        return next(slot for slot in range(SLOTS) if slot not in self._slots.values())

    def _state(self) -> bytes:
        cursor = self._cursor
        if cursor is None:
            return encode_state(Look.UNKNOWN, NO_SLOT, (0, 0), apart=False)
        if self._packed is None:
            return encode_state(Look.HIDDEN, NO_SLOT, cursor.screen, apart=self._apart)
        slot = self._slots.pop(self._packed.key)
        self._slots[self._packed.key] = slot  # the most recently used one
        return encode_state(Look.SHOWN, slot, cursor.screen, apart=self._apart)

    def _place(self) -> bytes:
        if not self.follow or self._cursor is None or self._packed is None:
            return self._told_place
        return encode_place(self._cursor)
