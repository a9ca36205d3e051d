"""Frame rate and size follow the rate down and up again, and neither flickers."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from agent.congestion.ladder import DOWN_S, MARGIN, UP_S, Ladder, Step
from benchmarks.congestion.link import LinkSettings
from benchmarks.congestion.scenario import play, scenarios
from benchmarks.congestion.steers import STEERS

FULL_HD = (1920, 1080)
TICK_S = 0.25


def settled(ladder: Ladder, target_bps: int, size: tuple[int, int], start: float) -> Step:
    """The step after ten seconds of the same target."""
    ticks = range(int(10 / TICK_S))
    return [ladder.choose(target_bps, size, start + n * TICK_S) for n in ticks][-1]


def changes(
    ladder: Ladder, targets: list[tuple[float, int]], seconds: float
) -> list[tuple[float, Step]]:
    """When which step was taken, for targets that hold from their time on."""
    found: list[tuple[float, Step]] = []
    for tick in range(int(seconds / TICK_S)):
        now = tick * TICK_S
        target_bps = [target for at, target in targets if at <= now][-1]
        step = ladder.choose(target_bps, FULL_HD, now)
        if not found or found[-1][1] != step:
            found.append((now, step))
    return found


def test_the_frame_rate_falls_before_the_size() -> None:
    steps = [
        settled(Ladder(60, 20_000_000), mbps * 100_000, FULL_HD, 0.0)
        for mbps in (200, 60, 40, 26, 20, 8, 5, 1)
    ]
    seen = [step for step, _ in itertools.groupby(steps)]
    assert seen == [Step(60, 1), Step(30, 1), Step(30, 2), Step(30, 3)]


@pytest.mark.parametrize(
    ("fps", "size", "last"),
    [
        (30, FULL_HD, Step(30, 3)),
        (15, FULL_HD, Step(15, 3)),
        (120, FULL_HD, Step(30, 3)),
        (60, (640, 480), Step(30, 2)),
        (60, (320, 240), Step(30, 1)),
    ],
)
def test_nothing_falls_so_far_that_it_is_of_no_use(
    fps: int, size: tuple[int, int], last: Step
) -> None:
    assert settled(Ladder(fps, 20_000_000), 1_000, size, 0.0) == last


@pytest.mark.parametrize("ceiling_bps", [100_000, 300_001, 1_000_000, 8_000_000, 200_000_000])
@pytest.mark.parametrize("size", [FULL_HD, (3840, 2160), (1366, 768)])
def test_who_asks_for_little_gets_the_whole_picture_where_the_path_carries_it(
    ceiling_bps: int, size: tuple[int, int]
) -> None:
    ladder = Ladder(60, ceiling_bps)
    assert ladder.choose(ceiling_bps, size, 0.0) == Step(60, 1)
    settled(ladder, ceiling_bps // 50, size, 1.0)
    assert settled(ladder, ceiling_bps, size, 20.0) == Step(60, 1)


def test_a_large_picture_comes_back_a_little_below_the_ceiling() -> None:
    ladder, size = Ladder(60, 8_000_000), (2560, 1440)
    assert settled(ladder, 2_000_000, size, 0.0) != Step(60, 1)
    assert settled(ladder, 7_900_000, size, 20.0) == Step(60, 1)


def test_before_the_size_is_known_nothing_falls() -> None:
    assert Ladder(60, 8_000_000).choose(100_000, (0, 0), 0.0) == Step(60, 1)


def test_the_first_step_of_a_size_fits_at_once() -> None:
    ladder = Ladder(60, 8_000_000)
    assert ladder.choose(1_000_000, FULL_HD, 0.0) == Step(30, 2)
    assert ladder.choose(1_000_000, (640, 480), 0.1) == Step(60, 1)


def test_a_short_dip_changes_nothing() -> None:
    dips = [(0.0, 10_000_000), (5.0, 1_000_000), (5.0 + DOWN_S - TICK_S, 10_000_000)]
    assert changes(Ladder(60, 20_000_000), dips, 20) == [(0.0, Step(60, 1))]


def test_it_comes_back_late_and_only_with_room_to_spare() -> None:
    ladder = Ladder(60, 20_000_000)
    low, enough = 3_000_000, int(1920 * 1080 * 60 * 0.04)
    targets = [(0.0, 20_000_000), (1.0, low), (5.0, enough), (20.0, int(enough * MARGIN) + 1)]
    assert changes(ladder, targets, 40) == [
        (0.0, Step(60, 1)),
        (1.0 + DOWN_S, Step(30, 1)),
        (20.0 + UP_S, Step(60, 1)),
    ]


def test_a_target_that_swings_about_a_threshold_does_not_swing_the_picture() -> None:
    threshold = int(1920 * 1080 * 60 * 0.04)
    swing = [(n * 1.0, threshold * (9 + 2 * (n % 2)) // 10) for n in range(1, 60)]
    targets = [(0.0, 2 * threshold), *swing]
    assert len(changes(Ladder(60, 20_000_000), targets, 60)) == 2


def test_a_step_of_the_link_from_10_to_a_half_and_back() -> None:
    scenario = next(scenario for scenario in scenarios() if scenario.name == "c1")
    capacity = [(0.0, 10e6), (10.0, 0.5e6), (25.0, 10e6)]
    link = LinkSettings(capacity, 375_000, 0.01)
    figures = play(replace(scenario, link=link, seconds=45), STEERS["delay"])
    taken = changes(Ladder(60, 20_000_000), [(0.0, 8_000_000), *figures.targets], 45)
    down = [(at, step) for at, step in taken if 10 <= at < 25]
    up = [(at, step) for at, step in taken if at >= 25]
    assert [step for at, step in taken if at < 10] == [Step(60, 1)]
    assert down[-1][1] == Step(30, 3)  # the controller aims at 0.5 Mbit/s at the least
    assert down[-1][0] < 14
    assert up[-1][1] == Step(60, 1)
    assert up[-1][0] < 42
    assert len(taken) <= 8, taken
