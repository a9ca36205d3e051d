"""The edge's own parser against that of `websockets`, fed at random."""

from __future__ import annotations

import asyncio
import itertools
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cluster.edge import outcome, reference
from tests.cluster.frames import frame
from tests.fuzz import fuzz_cases

MOST_BYTES = 1000


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as running:
        yield running


PAYLOADS = st.binary(max_size=20) | st.integers(100, 1100).map(lambda size: b"x" * size)
OPCODES = st.sampled_from([1, 1, 1, 0, 0, 2, 9, 10, 8, 3])
FRAMES = st.one_of(
    PAYLOADS.map(frame),
    st.builds(frame, PAYLOADS, OPCODES, fin=st.booleans()),
    st.builds(frame, st.binary(max_size=9), OPCODES, fin=st.booleans(), masked=st.booleans()),
    st.sampled_from([1000, 1005, 3000]).map(lambda code: frame(struct.pack("!H", code), 8)),
    st.binary(min_size=1, max_size=16),
)


@fuzz_cases(1500)
@given(
    stream=st.lists(FRAMES, max_size=12).map(b"".join),
    cuts=st.lists(st.integers(0, 3000), max_size=8) | st.just(range(3000)),
)
def test_edge_takes_a_stream_as_websockets_does_however_it_is_cut(
    stream: bytes, cuts: list[int], runner: asyncio.Runner
) -> None:
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    pieces = [stream[start:end] for start, end in itertools.pairwise(edges)]
    made, rest = runner.run(outcome(pieces, MOST_BYTES, judges_text=False))
    judged = stream[: len(stream) - rest]  # a frame is judged once it is whole
    assert made == reference([judged], MOST_BYTES, judges_text=False)
