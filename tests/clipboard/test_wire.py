"""The bytes of the `clipboard` channel: the golden vectors, long texts, and damage."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.clipboard.base import MAX_TEXT_BYTES
from agent.clipboard.wire import (
    PIECE_BYTES,
    ClipboardError,
    ClipboardReader,
    Text,
    Want,
    encode_offer,
    encode_policy,
    encode_taken,
    encode_text,
)
from tests import vectors
from tests.fuzz import fuzz_cases
from tests.mutate import damaged

VECTORS = vectors.load("clipboard")
DOCUMENT = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
PAGES = ("want", "text")


@pytest.mark.parametrize("row", VECTORS["valid"], ids=lambda row: row["name"])
def test_a_message_is_as_the_vector_says(row: dict[str, Any]) -> None:
    message = row["message"]
    made: list[bytes] = []
    match message:
        case {"type": "policy", "ways": ways}:
            made = [encode_policy(ways)]
        case {"type": "offer", "text": text}:
            made = [encode_offer(text=text)]
        case {"type": "taken", "number": number, "taken": taken}:
            made = [encode_taken(number, taken=taken)]
        case {"type": "text", "from": "host", "number": number, "text": text}:
            made = list(encode_text(number, text))
        case {"type": "text", "number": number, "text": text}:
            (payload,) = row["hex"]
            assert ClipboardReader().hear(bytes.fromhex(payload)) == Text(number, text)
            return
        case {"type": "want", "number": number}:
            (payload,) = row["hex"]
            assert ClipboardReader().hear(bytes.fromhex(payload)) == Want(number)
            return
    assert [payload.hex() for payload in made] == row["hex"]


@pytest.mark.parametrize(
    "row", [row for row in VECTORS["invalid"] if row["from"] == "page"], ids=lambda row: row["name"]
)
def test_an_invalid_message_is_refused_and_its_content_not_repeated(row: dict[str, Any]) -> None:
    with pytest.raises(ClipboardError) as refused:
        ClipboardReader().hear(bytes.fromhex(row["hex"]))
    assert "ab" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_the_documents_example_is_a_vector() -> None:
    block = DOCUMENT.partition("```clipboard\n")[2].partition("```")[0]
    lines = re.findall(r"^(.+?): ([0-9a-f ]+)$", block, re.MULTILINE)
    by_name = {row["name"]: "".join(row["hex"]) for row in VECTORS["valid"]}
    assert {by_name[name] for name, _ in lines} == {text.replace(" ", "") for _, text in lines}
    assert len(lines) == 6


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES, PIECE_BYTES + 1, MAX_TEXT_BYTES])
def test_a_text_of_any_size_goes_in_pieces_and_comes_out_whole(size: int) -> None:
    messages = list(encode_text(5, "z" * size))
    assert max(map(len, messages)) <= PIECE_BYTES + 11
    reader = ClipboardReader()
    for message in messages[:-1]:
        assert reader.hear(message) is None
    assert reader.hear(messages[-1]) == Text(5, "z" * size)


def test_a_text_that_is_begun_anew_replaces_the_one_before() -> None:
    reader = ClipboardReader()
    assert reader.hear(next(encode_text(1, "a" * 20_000))) is None
    assert reader.hear(b"\x01\x03\x00\x00\x00\x02") == Want(2)
    assert reader.hear(next(encode_text(3, "new"))) == Text(3, "new")
    with pytest.raises(ClipboardError):
        reader.hear(b"\x01\x05a")


@fuzz_cases(1000)
@given(st.binary(max_size=40) | st.binary(max_size=40).map(lambda tail: b"\x01\x04" + tail))
def test_random_bytes_are_a_message_or_the_one_error(payload: bytes) -> None:
    try:
        message = ClipboardReader().hear(payload)
    except ClipboardError:
        return
    assert message is None or isinstance(message, Want | Text)


def test_damaged_messages_one_after_the_other_never_hold_more_than_one_text() -> None:
    corpus = [bytes.fromhex(part) for row in VECTORS["valid"] for part in row["hex"]]
    corpus += list(encode_text(1, "a" * 20_000))
    reader = ClipboardReader()
    for payload in damaged(corpus, [b"\x01\x04", b"\x01\x05", b"\x00\x10\x00\x00"], 5000):
        try:
            reader.hear(payload)
        except ClipboardError:
            assert (reader._missing, reader._pieces) == (0, [])
        assert sum(map(len, reader._pieces)) + reader._missing <= MAX_TEXT_BYTES
