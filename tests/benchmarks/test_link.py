"""What the benchmark over the emulated link makes of samples, and its pictures."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from benchmarks.link_charts import Axis, Line, document, panel, steps
from benchmarks.link_stats import Window, ages_over_time, link_figures, rates_over_time
from benchmarks.link_trial import Route, names
from benchmarks.m3_scene import TICKS_PER_MS
from benchmarks.m3_stats import Sample

FRAME_MS = 20.0
ORIGIN_S = 100.0


def sample(number: int, age_ms: float) -> Sample:
    """Shown at a tick of the page, drawn `age_ms` before it."""
    shown_ms = number * FRAME_MS
    ticks = round((ORIGIN_S * 1000 + shown_ms - age_ms) * TICKS_PER_MS)
    return Sample(ticks, shown_ms, shown_ms, shown_ms - 5, 0.001, number)


def test_a_frame_counts_once_and_gaps_are_freezes_also_at_the_end() -> None:
    shown = [sample(n, 30) for n in range(100) if not 20 <= n < 40]  # 0.4 s without a picture
    window = Window(zero_s=ORIGIN_S, start_s=0.0, end_s=2.5)
    figures = link_figures([*shown, shown[-1]], ORIGIN_S, window)
    assert figures.present is not None
    assert (figures.present.p50, figures.peak_ms) == (30, 30)
    assert figures.fps == pytest.approx(80 / 2.5)
    assert figures.frozen_s == pytest.approx(0.42 + 0.52, abs=0.001)


def test_nothing_shown_is_frozen_all_the_time() -> None:
    figures = link_figures([], ORIGIN_S, Window(ORIGIN_S, 3.0, 20.0))
    assert (figures.present, figures.fps, figures.frozen_s) == (None, 0, 17.0)


def test_figures_over_time_are_those_of_half_seconds() -> None:
    assert rates_over_time([1000] * 5 + [0] * 5, 0.1, 1.0) == [(0.0, 80_000), (0.5, 0)]
    assert ages_over_time([(0.1, 20.0), (0.2, 20.0), (1.2, 40.0)], 2.0) == [(0, 20), (1.0, 40)]


def test_scenarios_about_rates_are_scaled_and_others_are_not() -> None:
    rates, losses = Route.read("c3", 0.5), Route.read("m3b1", 0.5)
    assert rates.scenario.link.capacity_bps[:2] == [(0, 10e6), (8, 2e6)]
    assert rates.raw_link["buffer_bytes"] == rates.scenario.link.buffer_bytes == 375_000
    assert (losses.scenario.link.capacity_bps[0][1], losses.ceiling_bps) == (100e6, 8_000_000)
    assert names(["m3b", "c8"]) == ["c8", "m3b1", "m3b2", "m3b3"]


def test_a_picture_is_whole_and_keeps_within_its_axes() -> None:
    across, up = Axis(0, 10, (0, 5, 10)), Axis(1, 1000, (1, 1000), logarithmic=True)
    line = Line(steps([(0, 10), (5, 5000)], 10, 1), "#123456", filled=True)
    picture = document([panel("a & b", (across, up), [line], 0)], [("it", "#123456")])
    assert ElementTree.fromstring(picture).tag.endswith("svg")
    assert (up.at(0.1), up.at(5000)) == (0.0, 1.0)
