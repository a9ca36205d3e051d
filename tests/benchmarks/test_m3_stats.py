"""From presented frames to ages, freezes and slopes."""

import pytest

from benchmarks.m3_scene import CLOCK_MODULUS
from benchmarks.m3_stats import (
    PAGE_TICK_MS,
    Sample,
    age_ms,
    figures,
    floor_of,
    freezes,
    slope_per_min,
)

ORIGIN_S = 1000.0  # the page's clock starts here on CLOCK_MONOTONIC


def frame(number: int, *, age: float, clock_ticks: int | None = None) -> Sample:
    """Frame `number`, received at `age` ms and submitted 1 ms after that."""
    drawn_ms = 500 + number * PAGE_TICK_MS
    receive_ms = drawn_ms + age
    tick_ms = (number + 100) * PAGE_TICK_MS
    return Sample(
        clock_ticks=round((ORIGIN_S * 1000 + drawn_ms) * 10)
        if clock_ticks is None
        else clock_ticks,
        tick_ms=tick_ms,
        submit_ms=receive_ms + 1,
        receive_ms=receive_ms,
        processing_s=0.001,
        presented_frames=number,
    )


def test_age_is_exact_across_the_wrap_of_the_clock() -> None:
    origin_s = CLOCK_MODULUS / 10_000
    assert age_ms(CLOCK_MODULUS - 50, 5.0, origin_s) == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("submit_ms", "expected_ticks"),
    [(0.0, 0), (0.1, 1), (16.0, 1), (17.0, 2), (-0.1, 0), (-17, -1)],
)
def test_a_frame_is_shown_at_the_first_tick_after_its_submission(
    submit_ms: float, expected_ticks: int
) -> None:
    sample = Sample(0, 200.0, 200.0 + submit_ms, None, None, 1)
    assert sample.display_ms == pytest.approx(200.0 + expected_ticks * PAGE_TICK_MS)


def test_figures_of_a_steady_stream() -> None:
    stream = figures([frame(n, age=7) for n in range(61)], ORIGIN_S, 1.0)
    assert stream.receive is not None
    assert stream.receive.p50 == pytest.approx(7, abs=0.1)
    assert stream.submit is not None
    assert stream.submit.p95 == pytest.approx(8, abs=0.1)
    assert stream.present is not None
    assert 8 <= stream.present.p50 <= 8 + PAGE_TICK_MS
    assert stream.presented_fps == 60
    assert (stream.freezes, stream.frozen_s) == (0, 0)
    assert stream.age_slope is not None
    assert stream.age_slope.ms_per_min == pytest.approx(0, abs=1)


def test_a_repeated_picture_counts_once() -> None:
    first = frame(1, age=7)
    again = frame(2, age=30, clock_ticks=first.clock_ticks)
    stream = figures([first, again], ORIGIN_S, 1.0)
    assert stream.fresh_fps == 1
    assert stream.receive is not None
    assert stream.receive.p99 == pytest.approx(7, abs=0.1)


def test_nothing_presented_gives_no_figures_and_no_error() -> None:
    stream = figures([], ORIGIN_S, 1.0)
    assert stream.present is None
    assert stream.age_slope is None
    assert stream.presented_fps == 0


def test_a_gap_is_a_freeze_by_the_rule_of_webrtc_stats() -> None:
    times = [n * 16.0 for n in range(100)]
    assert freezes(times) == (0, 0.0)
    late = times + [times[-1] + 400 + n * 16.0 for n in range(100)]
    count, frozen_s = freezes(late)
    assert count == 1
    assert frozen_s == pytest.approx(0.4)


def test_a_busy_second_leaves_the_floor_of_the_age_alone() -> None:
    times = [n * 100.0 for n in range(600)]
    ages = [20.0 + (60 if 400 < n < 500 and n % 4 else 0) for n in range(600)]
    whole, floor = slope_per_min(times, ages), slope_per_min(*floor_of(times, ages))
    assert whole is not None
    assert floor is not None
    assert whole.ms_per_min > 5
    assert floor.ms_per_min == pytest.approx(0, abs=0.01)


def test_a_rising_age_is_found_with_its_error() -> None:
    times = [n * 100.0 for n in range(600)]
    ages = [20 + 3 * at / 60_000 + (0.5 if n % 2 else -0.5) for n, at in enumerate(times)]
    slope = slope_per_min(times, ages)
    assert slope is not None
    assert slope.ms_per_min == pytest.approx(3, abs=0.2)
    assert 0 < slope.standard_error < 0.2
