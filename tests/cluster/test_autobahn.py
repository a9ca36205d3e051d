"""Autobahn's sections 1 to 7 by name: on the edge, whole and byte by byte, by `websockets`, and on a real node."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from cluster.plain import SCHEMA_ERROR
from cluster.protocol.messages import MAX_MESSAGE_BYTES
from tests.cluster import support
from tests.cluster.autobahn import CASES, Case
from tests.cluster.edge import Outcome, outcome, reference
from tests.cluster.frames import CLOSE, PONG, TEXT, Raw

SECTIONS = sorted({case.name.split(".")[0] for case in CASES})
LONG_BYTES = 2000
CHOP_BYTES = 997  # Autobahn's own


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as running:
        yield running


def _cut(stream: bytes, size: int) -> list[bytes]:
    return [stream[at : at + size] for at in range(0, len(stream), size)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case, runner: asyncio.Runner) -> None:
    expected = Outcome(list(case.messages), list(case.pongs), case.close)
    assert reference(case.frames, MAX_MESSAGE_BYTES) == expected
    stream = b"".join(case.frames)
    for pieces in ([stream], case.frames, _cut(stream, 1)):
        assert runner.run(outcome(pieces, MAX_MESSAGE_BYTES))[0] == expected


@pytest.mark.parametrize("size", [1 << 20, 1], ids=["whole", "byte by byte"])
@pytest.mark.parametrize("section", SECTIONS)
async def test_section_on_a_real_node(node: support.RunningNode, section: str, size: int) -> None:
    for case in CASES:
        if case.name.split(".")[0] == section:
            expected = [*case.pongs, *(SCHEMA_ERROR for _ in case.messages)]
            assert await _play(node, case, size) == (sorted(expected), case.close), case.name


def _split(case: Case) -> tuple[bytes, bytes]:
    """The case until its first close frame, and what comes after that."""
    closes = [number for number, one in enumerate(case.frames, 1) if one[0] & 15 == CLOSE]
    end = closes[0] if closes else len(case.frames)
    return b"".join(case.frames[:end]), b"".join(case.frames[end:])


async def _play(node: support.RunningNode, case: Case, size: int) -> tuple[list[bytes], int]:
    """All that the node answers, and the code of its close. No case has a message of ours, so each is an error."""
    raw = await Raw.open(node, f"case-{case.name}")
    stream, after_close = _split(case)
    pieces = _cut(stream, CHOP_BYTES if size < len(stream) > LONG_BYTES else size)
    pieces[-1] += after_close  # in one piece, as the node closes at once
    for piece in pieces:
        raw.writer.write(piece)
        await asyncio.sleep(0)
    answers = []
    opcode, payload = await raw.read()
    while opcode != CLOSE:
        assert opcode in (TEXT, PONG)
        answers.append(payload)
        opcode, payload = await raw.read()
    raw.writer.transport.abort()
    return sorted(answers), int.from_bytes(payload[:2], "big") if payload else 1005
