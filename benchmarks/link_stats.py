"""What one stream over the emulated link came to. A core: values in, values out."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.m3_stats import Sample, Spread, age_ms

FREEZE_S = 0.15
"""A picture that stands this long is seen to stand, as in benchmarks/congestion/scenario.py."""
STEP_S = 0.5
"""Of figures over time."""


@dataclass(frozen=True, slots=True)
class Window:
    """What counts: from `start_s` to `end_s` of the link's time, whose 0 is at `zero_s` on CLOCK_MONOTONIC."""

    zero_s: float
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class LinkFigures:
    """Ages run from the drawing of the clock to the page's display tick or the frame's last packet."""

    window_s: float
    present: Spread | None
    receive: Spread | None
    peak_ms: float
    fps: float
    """New clock values a second."""
    frozen_s: float
    """Time in which a picture stood for more than 150 ms."""
    ages: list[tuple[float, float]]
    """Of each frame: when it was presented, in the link's time, and its age in ms."""


def link_figures(samples: Sequence[Sample], origin_s: float, window: Window) -> LinkFigures:
    """A clock value counts once, when it is first presented; a picture that stands at the end counts as frozen."""
    fresh: dict[int, Sample] = {}
    for sample in samples:
        fresh.setdefault(sample.clock_ticks, sample)
    rows = [
        (origin_s + sample.display_ms / 1e3 - window.zero_s, sample) for sample in fresh.values()
    ]
    counted = [row for row in rows if window.start_s <= row[0] < window.end_s]
    present = [age_ms(s.clock_ticks, s.display_ms, origin_s) for _, s in counted]
    receive = [
        age_ms(s.clock_ticks, s.receive_ms, origin_s)
        for _, s in counted
        if s.receive_ms is not None
    ]
    times = [window.start_s, *(at for at, _ in counted), window.end_s]
    gaps = [b - a for a, b in itertools.pairwise(times)]
    return LinkFigures(
        window_s=window.end_s - window.start_s,
        present=Spread.of(present),
        receive=Spread.of(receive),
        peak_ms=round(max(present, default=0.0), 1),
        fps=round(len(counted) / (window.end_s - window.start_s), 2),
        frozen_s=round(sum(gap for gap in gaps if gap > FREEZE_S), 3),
        ages=[
            (round(at, 3), round(age_ms(s.clock_ticks, s.display_ms, origin_s), 1))
            for at, s in rows
        ],
    )


def rates_over_time(
    slots: Sequence[int], slot_s: float, seconds: float
) -> list[tuple[float, float]]:
    """(when, bit/s) in steps of half a second, from bytes in slots."""
    each = round(STEP_S / slot_s)
    steps = []
    for index in range(int(seconds / STEP_S)):
        part = slots[index * each : (index + 1) * each]
        steps.append((index * STEP_S, sum(part) * 8 / STEP_S))
    return steps


def ages_over_time(
    ages: Sequence[tuple[float, float]], seconds: float
) -> list[tuple[float, float]]:
    """(when, 95th percentile of the ages) in steps of half a second; a step without frames is left out."""
    steps: dict[int, list[float]] = {}
    for at, age in ages:
        if 0 <= at < seconds:
            steps.setdefault(int(at / STEP_S), []).append(age)
    return [(index * STEP_S, float(np.percentile(steps[index], 95))) for index in sorted(steps)]
