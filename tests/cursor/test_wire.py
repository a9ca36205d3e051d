"""The bytes of the `cursor` channel: the golden vectors, which shape is sent when, and that the newest wins."""

from __future__ import annotations

import random
import re
import zlib
from pathlib import Path
from typing import Any

import pytest

from agent.cursor.base import Cursor, Shape
from agent.cursor.wire import (
    MAX_SIDE,
    PIECE_BYTES,
    SLOTS,
    TYPE_PIECE,
    TYPE_PLACE,
    TYPE_SHAPE,
    TYPE_STATE,
    CursorWriter,
    Look,
    Packed,
    encode_place,
    encode_shape,
    encode_state,
    pack,
)
from tests import vectors
from tests.cursor.fake import square

VECTORS = vectors.load("cursor")
DOCUMENT = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
SCREEN = (1280, 720)


@pytest.mark.parametrize("row", VECTORS["valid"], ids=lambda row: row["name"])
def test_a_message_encodes_as_the_vector_says(row: dict[str, Any]) -> None:
    message = row["message"]
    match message["type"]:
        case "shape":
            width, height, hot_x, hot_y = message["size"] + message["hot"]
            deflated = bytes.fromhex(message["deflated"])
            assert zlib.decompress(deflated).hex() == message["pixels"]
            packed = Packed(b"", width, height, hot_x, hot_y, deflated)
            (made,) = encode_shape(message["slot"], packed)
        case "state":
            look = Look[message["look"].upper()]
            width, height = message["screen"]
            made = encode_state(look, message["slot"], (width, height), apart=message["apart"])
        case "place":
            x, y = message["at"]
            made = encode_place(Cursor(None, x, y, SCREEN))
    assert made.hex() == row["hex"]


def test_the_documents_example_is_a_vector() -> None:
    block = DOCUMENT.partition("```cursor\n")[2].partition("```")[0]
    lines = re.findall(r"^(.+?): ([0-9a-f ]+)$", block, re.MULTILINE)
    by_name = {row["name"]: row["hex"] for row in VECTORS["valid"]}
    assert {by_name[name] for name, _ in lines} == {text.replace(" ", "") for _, text in lines}
    assert len(lines) == 4


def shape_of(number: int) -> Shape:
    return square(number.to_bytes(3, "big") + b"\xff", 4, (0, 0))


def at(x: int, shape: Shape | None) -> tuple[Cursor, Packed | None]:
    return Cursor(shape, x, 0, SCREEN), None if shape is None else pack(shape)


def drained(writer: CursorWriter) -> list[bytes]:
    messages = []
    while (message := writer.peek()) is not None:
        messages.append(message)
        writer.sent()
    return messages


def kinds(messages: list[bytes]) -> list[int]:
    return [message[1] for message in messages]


def test_a_shape_is_sent_once_and_then_named_in_nine_bytes() -> None:
    writer = CursorWriter(apart=False)
    assert writer.peek() is None
    writer.update(*at(0, shape_of(1)))
    assert kinds(drained(writer)) == [TYPE_SHAPE, TYPE_STATE]
    writer.update(*at(0, None))
    (hidden,) = drained(writer)
    assert hidden[2] == Look.HIDDEN
    writer.update(*at(5, shape_of(1)))
    (again,) = drained(writer)
    assert (again[1], len(again)) == (TYPE_STATE, 9)
    writer.update(None, None)
    assert kinds(drained(writer)) == [TYPE_STATE]


def test_more_shapes_than_slots_give_up_the_one_that_was_not_used_for_longest() -> None:
    writer = CursorWriter(apart=False)
    for number in range(SLOTS):
        writer.update(*at(0, shape_of(number)))
        assert kinds(drained(writer)) == [TYPE_SHAPE, TYPE_STATE]
    writer.update(*at(0, shape_of(0)))
    assert kinds(drained(writer)) == [TYPE_STATE]
    writer.update(*at(0, shape_of(99)))
    shape, state = drained(writer)
    assert shape[2] == state[3] == 1, "the slot of the second shape"
    writer.update(*at(0, shape_of(1)))
    assert drained(writer)[0][1:3] == bytes([TYPE_SHAPE, 2])


def test_a_large_shape_goes_in_pieces_and_is_given_up_for_a_newer_one() -> None:
    noise = random.Random(1).randbytes(4 * MAX_SIDE * MAX_SIDE)
    writer = CursorWriter(apart=False)
    writer.update(*at(0, Shape(MAX_SIDE, MAX_SIDE, 0, 0, noise)))
    messages = drained(writer)
    assert kinds(messages) == [TYPE_SHAPE] + [TYPE_PIECE] * (len(messages) - 2) + [TYPE_STATE]
    assert max(map(len, messages)) <= PIECE_BYTES + 15
    whole = messages[0][15:] + b"".join(message[2:] for message in messages[1:-1])
    assert zlib.decompress(whole) == noise
    writer.update(*at(0, Shape(MAX_SIDE, MAX_SIDE, 1, 1, noise)))
    for _ in range(3):
        assert writer.peek() is not None
        writer.sent()
    writer.update(*at(0, shape_of(2)))
    assert kinds(drained(writer)) == [TYPE_SHAPE, TYPE_STATE]


def test_places_are_told_while_they_are_followed_and_something_shows() -> None:
    writer = CursorWriter(apart=True)
    writer.update(*at(1, shape_of(1)))
    drained(writer)
    writer.update(*at(2, shape_of(1)))
    assert drained(writer) == []
    writer.follow = True
    assert kinds(drained(writer)) == [TYPE_PLACE]
    writer.update(*at(3, None))
    assert kinds(drained(writer)) == [TYPE_STATE]


@pytest.mark.parametrize("side", [MAX_SIDE, MAX_SIDE + 1, 3 * MAX_SIDE])
def test_a_shape_that_is_too_large_is_made_smaller(side: int) -> None:
    packed = pack(square(b"\x01\x02\x03\x04", side, (side, side - 1)))
    assert packed.width == packed.height <= MAX_SIDE
    assert max(packed.hot_x, packed.hot_y) < packed.width
    pixels = zlib.decompress(packed.deflated)
    assert pixels == b"\x01\x02\x03\x04" * (packed.width * packed.height)
