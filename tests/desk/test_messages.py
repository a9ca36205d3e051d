"""The messages of the `desk` channel: the vectors that the page runs too, and the document's examples."""

import re
from pathlib import Path
from typing import Any

import pytest

from agent.desk.messages import (
    MAX_NAME_BYTES,
    MAX_WORDS_BYTES,
    Choice,
    DeskError,
    Kind,
    State,
    decode,
    encode_desk,
    encode_said,
)
from tests import vectors

VECTORS = vectors.load("desk")
BY_NAME = {vector["name"]: vector["hex"] for vector in VECTORS["valid"]}
DOCUMENT = (Path(__file__).parents[2] / "docs/protocol.md").read_text(encoding="utf-8")


def named(vector: dict[str, Any]) -> str:
    return str(vector["name"])


def encoded(message: dict[str, Any]) -> bytes:
    if message["type"] == "said":
        return encode_said(message["words"])
    choices = [
        Choice(
            row["number"],
            Kind[row["kind"].upper().replace("-", "_")],
            State[row["state"].upper()],
            row["width"],
            row["height"],
            row["name"],
        )
        for row in message["choices"]
    ]
    return encode_desk(message["screen"], choices, may=message["may"])


@pytest.mark.parametrize("vector", VECTORS["valid"], ids=named)
def test_every_vector_is_said_or_understood(vector: dict[str, Any]) -> None:
    message, payload = vector["message"], bytes.fromhex(vector["hex"])
    if message["type"] in ("desk", "said"):
        assert encoded(message) == payload
    else:
        assert decode(payload) == ({"choose": 3, "end": 4}[message["type"]], message["number"])


@pytest.mark.parametrize(
    "vector", [row for row in VECTORS["invalid"] if row["from"] == "browser"], ids=named
)
def test_what_is_no_message_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(DeskError):
        decode(bytes.fromhex(vector["hex"]))


def test_long_names_and_words_are_cut_between_characters() -> None:
    message = encode_desk(1, [Choice(1, Kind.MONITOR, State.READY, 70_000, 5, "é" * 40)], may=True)
    assert message[-MAX_NAME_BYTES:].decode() == "é" * (MAX_NAME_BYTES // 2)
    assert encode_said("€" * 100)[3:].decode() == "€" * (MAX_WORDS_BYTES // 3)


def test_the_documents_examples_are_vectors() -> None:
    block = DOCUMENT.partition("```desk\n")[2].partition("```")[0]
    lines = re.findall(r"^(.+?): ([0-9a-f ]+)$", block, re.MULTILINE)
    assert {BY_NAME[name] for name, _ in lines} == {text.replace(" ", "") for _, text in lines}
    assert len(lines) == 5
