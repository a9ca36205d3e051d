"""A1's sound: what the host plays, and how it is found again in what the page heard. A core: values in, values out.

Four kinds of chirps take turns over a quiet noise, so that the same kind comes again only after a second, and so that
there is never digital silence, which a host may choose not to send. They are found by normalised correlation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

RATE_HZ: Final = 48_000
CHIRP_S: Final = 0.03
SWEEPS_HZ: Final = ((500, 2500), (2500, 500), (3500, 7500), (7500, 3500))
"""From and to; no two of them look alike to a correlation."""
KINDS: Final = len(SWEEPS_HZ)
SPACING_S: Final = 0.25
JITTER_S: Final = 0.04
"""So that they come in step with nobody's blocks."""
LONGEST_S: Final = 0.8
"""A chirp later than this counts as not heard."""
LOUDNESS: Final = 0.5
NOISE: Final = 0.002
"""-54 dB of full scale."""
LIKENESS: Final = 0.5
"""Least correlation of a chirp; noise alone and the other kinds stay below 0.2."""

Samples = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Played:
    """A chirp and when its first sample sounds on the host, in seconds of CLOCK_MONOTONIC."""

    kind: int
    at_s: float


@dataclass(frozen=True, slots=True)
class Block:
    """Some samples that the page heard on end, the first at `at_s` of CLOCK_MONOTONIC."""

    at_s: float
    samples: int


def chirp(kind: int, rate_hz: int = RATE_HZ) -> Samples:
    """One of them, its loudest 1: a linear sweep under a Hann window."""
    begin_hz, end_hz = SWEEPS_HZ[kind]
    at_s = np.arange(round(CHIRP_S * rate_hz)) / rate_hz
    phase = 2 * np.pi * (begin_hz * at_s + (end_hz - begin_hz) / (2 * CHIRP_S) * at_s**2)
    return (np.sin(phase) * np.hanning(len(at_s))).astype(np.float32)


def likeness(heard: Samples, template: Samples) -> npt.NDArray[np.float64]:
    """How like the template the sound is from each sample on, 0 to 1, whatever its loudness."""
    size = 1 << (len(heard) + len(template) - 1).bit_length()
    spectrum = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(template, size))
    dots = np.fft.irfft(spectrum, size)[: len(heard) - len(template) + 1]
    powers = np.concatenate([[0.0], np.cumsum(np.square(heard, dtype=np.float64))])
    power = powers[len(template) :] - powers[: -len(template)]
    least = len(template) * NOISE**2 / 100  # below it there is nothing but rounding
    norms = np.sqrt(np.maximum(power, least) * float(np.sum(np.square(template, dtype=np.float64))))
    alike: npt.NDArray[np.float64] = np.maximum(dots / norms, 0.0)
    return alike


def find(heard: Samples, kind: int, rate_hz: int = RATE_HZ) -> list[int]:
    """Where chirps of that kind begin, in samples."""
    template = chirp(kind, rate_hz)
    if len(heard) < len(template):
        return []
    alike = likeness(heard, template)
    found: list[int] = []
    above = np.flatnonzero(alike >= LIKENESS)
    while len(above):
        near = above[above < above[0] + len(template)]
        found.append(int(near[np.argmax(alike[near])]))
        above = above[len(near) :]
    return found


def times_s(blocks: Sequence[Block], positions: Sequence[int], rate_hz: int) -> list[float]:
    """When samples were heard, by the block that each is in; positions count through all blocks."""
    ends = np.cumsum([block.samples for block in blocks])
    times: list[float] = []
    for position in positions:
        index = int(np.searchsorted(ends, position, side="right"))
        block = blocks[index]
        times.append(block.at_s + (position - (ends[index] - block.samples)) / rate_hz)
    return times


def delays_ms(
    played: Sequence[Played], heard_s: Mapping[int, Sequence[float]]
) -> list[float | None]:
    """Of each chirp until it was heard; None: it was not. `heard_s` by kind, in order."""
    delays: list[float | None] = []
    for one in played:
        times = np.asarray(heard_s.get(one.kind, ()))
        after = times[(times > one.at_s) & (times < one.at_s + LONGEST_S)]
        delays.append(1000 * (float(after[0]) - one.at_s) if len(after) else None)
    return delays
