"""A1's chirps are found where they are, in what a browser may make of them, and in nothing else."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.audio.pulse import PulseSource
from benchmarks.a1 import Player, recording
from benchmarks.a1_sound import (
    CHIRP_S,
    KINDS,
    LONGEST_S,
    NOISE,
    RATE_HZ,
    Block,
    Played,
    Samples,
    chirp,
    delays_ms,
    find,
    times_s,
)
from benchmarks.processes import Nursery, StartError
from tests.pulse import pulse_server

BLOCK_SAMPLES = 480
ORIGIN_S = 50.0


def sound(chirps: dict[int, int], seconds: float = 1.0, rate_hz: int = RATE_HZ) -> Samples:
    """Noise with a chirp of a kind at each position."""
    samples = (NOISE * np.random.default_rng(3).standard_normal(round(seconds * rate_hz))).astype(
        np.float32
    )
    for at, kind in chirps.items():
        one = chirp(kind, rate_hz)
        samples[at : at + len(one)] += 0.5 * one
    return samples


@pytest.mark.parametrize("kind", range(KINDS))
@pytest.mark.parametrize("rate_hz", [44_100, 48_000])
def test_each_kind_is_found_to_the_sample_and_no_other_kind_is(kind: int, rate_hz: int) -> None:
    heard = sound({9_001: kind, 30_000: kind}, rate_hz=rate_hz)
    assert find(heard, kind, rate_hz) == [9_001, 30_000]
    assert not [found for other in range(KINDS) if other != kind for found in find(heard, other)]


def test_loudness_does_not_matter_and_silence_has_nothing() -> None:
    assert find(sound({9_001: 0}) * 0.02, 0) == [9_001]
    assert find(np.zeros(RATE_HZ, np.float32), 0) == []
    assert find(np.zeros(10, np.float32), 0) == []


def test_a_chirp_of_which_a_loss_left_a_third_is_not_heard() -> None:
    heard = sound({9_001: 0})
    third = round(CHIRP_S * RATE_HZ / 3)
    heard[9_001 + third : 9_001 + 3 * third] = 0
    assert find(heard, 0) == []


def test_a_sample_is_heard_when_its_block_says() -> None:
    blocks = [Block(7.0, 480), Block(7.5, 480), Block(7.51, 480)]
    assert times_s(blocks, [0, 240, 480, 1439], 48_000) == pytest.approx([7.0, 7.005, 7.5, 7.51998])


def test_a_delay_is_to_the_next_of_the_kind_unless_that_is_too_late() -> None:
    played = [Played(0, 10.0), Played(1, 10.25), Played(2, 10.5)]
    heard = {0: [9.95, 10.04, 11.04], 1: [10.25 + LONGEST_S + 0.01]}
    assert delays_ms(played, heard) == [pytest.approx(40.0), None, None]


def taken(samples: Samples, *, first_s: float) -> dict[str, Any]:
    """As the page's probe gives it, stamped from 0 on; blocks are read 3 ms after they were played, or 2, or 1."""
    rows = []
    for index in range(len(samples) // BLOCK_SAMPLES):
        at_s = index * BLOCK_SAMPLES / RATE_HZ
        read_ms = (first_s + at_s - ORIGIN_S) * 1000 + 3 - index % 3
        rows.append([at_s * 1e6, read_ms, BLOCK_SAMPLES])
    raw = (samples * 32767).astype("<i2").tobytes()
    return {"blocks": rows, "rate": RATE_HZ, "samples": base64.b64encode(raw).decode()}


def test_what_the_page_kept_becomes_times_by_kind() -> None:
    kept = recording(taken(sound({4_800: 2, 24_000: 3}), first_s=60.0), ORIGIN_S)
    assert kept.heard_s == {0: [], 1: [], 2: [pytest.approx(60.101)], 3: [pytest.approx(60.501)]}


def test_a_chirp_that_may_be_heard_after_the_end_does_not_count() -> None:
    kept = recording(taken(sound({}, seconds=2), first_s=60.0), ORIGIN_S)
    assert [kept.covers(Played(0, at_s)) for at_s in (59.9, 60.1, 61.1, 61.3)] == [
        False, True, True, False,
    ]  # fmt: skip


def test_a_page_that_heard_nothing_is_said() -> None:
    with pytest.raises(StartError, match="heard nothing"):
        recording({"blocks": [], "rate": 0, "samples": ""}, ORIGIN_S)


def test_the_player_says_what_its_sink_plays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the agent records it; on a slow machine with holes, so it goes on until all kinds came through."""
    with pulse_server(tmp_path) as server, Nursery(tmp_path) as nursery:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        source, player = PulseSource(), Player(nursery, server.environment)
        said: list[Played] = []
        heard, found = np.zeros(0, np.float32), dict[int, list[int]]()
        while len(said) < KINDS or not all(found.values()):
            blocks = [source.read()[:, 0] for _ in range(50)]
            heard = np.concatenate([heard, *blocks]).astype(np.float32)
            said += player.take()
            found = {kind: find(heard / 32768, kind) for kind in range(KINDS)}
        source.close()
    assert [one.kind for one in said] == [(said[0].kind + n) % KINDS for n in range(len(said))]
    assert sum(map(len, found.values())) <= len(said) + 3  # one before, two that sound later
