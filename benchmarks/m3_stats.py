"""From the probe's samples to the figures of one trial. A core: values in, values out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.m3_scene import CLOCK_MODULUS, TICKS_PER_MS

FREEZE_EXTRA_S = 0.150  # W3C webrtc-stats freezeCount: max(3 x mean interval, mean + 150 ms)
FREEZE_FACTOR = 3
PAGE_TICK_MS = 1000 / 60  # headless Chromium composes at 60 Hz


@dataclass(frozen=True, slots=True)
class Sample:
    """One presented frame; times in ms of the page's clock, `None` where the browser gave none.

    `tick_ms` is a tick of the page's frame clock, the one whose callbacks reported this frame;
    `submit_ms` is when the frame was handed to the compositor (`presentationTime`).
    """

    clock_ticks: int
    tick_ms: float
    submit_ms: float
    receive_ms: float | None
    processing_s: float | None
    presented_frames: int
    rtp_timestamp: int | None = None

    @classmethod
    def of(cls, row: Sequence[Any]) -> Sample:
        """From the probe's array."""
        return cls(
            clock_ticks=int(row[0]),
            tick_ms=row[1],
            submit_ms=row[2],
            receive_ms=row[3],
            processing_s=row[4],
            presented_frames=int(row[5]),
            rtp_timestamp=row[6],
        )

    @property
    def display_ms(self) -> float:
        """The first tick of the page's frame clock at or after the frame was handed over.

        Differs: not the callback's `expectedDisplayTime`, which for a stream without playout delay is the tick
        before in a third of the frames, up to 12 ms before the frame's last packet was received.
        """
        ticks = math.ceil((self.submit_ms - self.tick_ms) / PAGE_TICK_MS)
        return self.tick_ms + ticks * PAGE_TICK_MS


@dataclass(frozen=True, slots=True)
class Spread:
    """Percentiles in milliseconds."""

    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        """None when there is nothing to describe."""
        if not values:
            return None
        p50, p95, p99 = (round(float(q), 2) for q in np.percentile(values, [50, 95, 99]))
        return cls(p50, p95, p99)


@dataclass(frozen=True, slots=True)
class Slope:
    """How fast the age rises, in ms per minute, with its standard error."""

    ms_per_min: float
    standard_error: float


@dataclass(frozen=True, slots=True)
class StreamFigures:
    """What the page saw of one stream during one window.

    `present` is the age of the drawn clock at the page's display tick, `submit` its age when the frame was handed
    to the compositor, `receive` when the frame's last packet was received, `processing` the time from there until
    the frame was decoded. The slopes are those of `submit`: of every frame, and of its floor.
    """

    present: Spread | None
    submit: Spread | None
    receive: Spread | None
    processing: Spread | None
    presented_fps: float
    fresh_fps: float
    freezes: int
    frozen_s: float
    age_slope: Slope | None
    floor_slope: Slope | None


def age_ms(clock_ticks: int, page_ms: float, origin_s: float) -> float:
    """How old the drawn clock is at a time of the page's clock; exact across the clock's wrap."""
    at_ticks = (origin_s * 1000 + page_ms) * TICKS_PER_MS
    difference = (at_ticks - clock_ticks + CLOCK_MODULUS / 2) % CLOCK_MODULUS - CLOCK_MODULUS / 2
    return difference / TICKS_PER_MS


def slope_per_min(times_ms: Sequence[float], ages_ms: Sequence[float]) -> Slope | None:
    """Least-squares line through the ages; None below ten samples."""
    count = len(times_ms)
    if count < 10:
        return None
    minutes = np.asarray(times_ms) / 60_000
    ages = np.asarray(ages_ms)
    centred = minutes - minutes.mean()
    spread = float(centred @ centred)
    slope = float(centred @ ages) / spread
    residuals = ages - ages.mean() - slope * centred
    error = math.sqrt(float(residuals @ residuals) / (count - 2) / spread)
    return Slope(round(slope, 3), round(error, 3))


def floor_of(
    times_ms: Sequence[float], ages_ms: Sequence[float]
) -> tuple[list[float], list[float]]:
    """The tenth percentile of the ages in each second: a growing queue raises it, a busy moment does not."""
    seconds: dict[int, list[float]] = {}
    for at_ms, age in zip(times_ms, ages_ms, strict=True):
        seconds.setdefault(int(at_ms // 1000), []).append(age)
    floors = [float(np.percentile(ages, 10)) for ages in seconds.values()]
    return [second * 1000.0 for second in seconds], floors


def freezes(times_ms: Sequence[float]) -> tuple[int, float]:
    """Number of freezes and the seconds in them, by the rule of W3C webrtc-stats over the whole window."""
    if len(times_ms) < 2:
        return 0, 0.0
    gaps_s = np.diff(np.asarray(times_ms)) / 1000
    mean_s = float(gaps_s.mean())
    frozen = gaps_s[gaps_s > max(FREEZE_FACTOR * mean_s, mean_s + FREEZE_EXTRA_S)]
    return int(frozen.size), float(frozen.sum())


def figures(samples: Sequence[Sample], origin_s: float, window_s: float) -> StreamFigures:
    """The figures of one window; a clock value counts once, when it is first presented."""
    fresh: list[Sample] = []
    seen: set[int] = set()
    for sample in samples:
        if sample.clock_ticks not in seen:
            seen.add(sample.clock_ticks)
            fresh.append(sample)
    present = [age_ms(s.clock_ticks, s.display_ms, origin_s) for s in fresh]
    submit = [age_ms(s.clock_ticks, s.submit_ms, origin_s) for s in fresh]
    receive = [
        age_ms(s.clock_ticks, s.receive_ms, origin_s) for s in fresh if s.receive_ms is not None
    ]
    times = [s.display_ms for s in fresh]
    count, frozen_s = freezes(times)
    presented = samples[-1].presented_frames - samples[0].presented_frames if samples else 0
    return StreamFigures(
        present=Spread.of(present),
        submit=Spread.of(submit),
        receive=Spread.of(receive),
        processing=Spread.of([s.processing_s * 1000 for s in fresh if s.processing_s is not None]),
        presented_fps=round(presented / window_s, 2),
        fresh_fps=round(len(fresh) / window_s, 2),
        freezes=count,
        frozen_s=round(frozen_s, 3),
        age_slope=slope_per_min([s.submit_ms for s in fresh], submit),
        floor_slope=slope_per_min(*floor_of([s.submit_ms for s in fresh], submit)),
    )
