"""Scenarios C1 to C8 in simulated time: what our controller has to reach in each, and beside the loss rule."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from benchmarks.congestion.link import LinkSettings
from benchmarks.congestion.scenario import Figures, Scenario, play, scenarios
from benchmarks.congestion.steers import STEERS
from benchmarks.congestion.stream import Source

ALL = {scenario.name: scenario for scenario in scenarios()}


def with_ours(scenario: Scenario) -> Figures:
    return play(scenario, STEERS["delay"])


@cache
def ours_in(name: str) -> Figures:
    return with_ours(ALL[name])


def rate_at(figures: Figures, when: float) -> int:
    return next(rate for at, rate in figures.targets if at >= when)


def on_link(*capacity_mbps: tuple[float, float], delay_s: float = 0.01) -> Scenario:
    capacity = [(at, mbps * 1e6) for at, mbps in capacity_mbps]
    link = LinkSettings(capacity, 300 * int(max(c for _, c in capacity)) // 8000, delay_s)
    return replace(ALL["c1"], link=link)


@pytest.mark.parametrize("name", ALL)
def test_our_controller_reaches_the_target_of(name: str) -> None:
    figures = ours_in(name)
    for figure, wanted in ALL[name].targets.items():
        got = getattr(figures, figure)
        at_most = figure in ("p95_ms", "frozen")
        assert got <= wanted if at_most else got >= wanted, f"{figure}: {got}"


def test_the_simulation_is_deterministic() -> None:
    scenario = replace(ALL["c7"], seconds=6)
    assert with_ours(scenario) == with_ours(scenario)


@pytest.mark.parametrize("name", ["c1", "c5", "c7"])
def test_frames_come_sooner_than_with_the_loss_rule(name: str) -> None:
    ours, loss = ours_in(name), play(ALL[name], STEERS["loss"])
    assert ours.p95_ms <= 0.8 * loss.p95_ms
    assert ours.frozen <= 0.8 * loss.frozen
    assert ours.utilisation > loss.utilisation


@pytest.mark.parametrize(("mbps", "delay_s"), [(1.5, 0.001), (6.0, 0.1), (50.0, 0.02)])
def test_every_constant_link_is_found(mbps: float, delay_s: float) -> None:
    figures = with_ours(replace(on_link((0, mbps), delay_s=delay_s), seconds=9, measured_s=5))
    assert figures.utilisation > 0.85
    assert figures.p95_ms < 25


@pytest.mark.parametrize("share", [0.0, 0.02])
def test_a_static_screen_neither_raises_nor_collapses_the_rate(share: float) -> None:
    source = Source(activity=[(0, 1), (8, share), (16, 1)])
    figures = with_ours(replace(ALL["c1"], source=source, seconds=20))
    before = rate_at(figures, 8.2)
    assert before > 17_000_000
    assert {rate_at(figures, when) for when in (9, 12, 15.9)} == {before}
    assert rate_at(figures, 19) > 17_000_000


def test_a_quiet_screen_does_not_raise_the_rate() -> None:
    figures = with_ours(replace(ALL["c1"], source=Source(activity=[(0, 0.1)]), seconds=10))
    assert {rate for _, rate in figures.targets} == {8_000_000}


def test_a_link_that_shrank_behind_a_static_screen_is_found_out_within_a_second() -> None:
    scenario = replace(on_link((0, 20), (10, 6)), source=Source(activity=[(0, 1), (8, 0), (12, 1)]))
    figures = with_ours(replace(scenario, seconds=20))
    assert rate_at(figures, 13) < 6_000_000
    assert rate_at(figures, 19) > 5_000_000


def test_silence_halves_the_rate_each_second_and_the_end_of_it_restores_the_rate() -> None:
    figures = with_ours(replace(on_link((0, 20), (10, 0), (13.3, 20)), seconds=16))
    rates = [rate_at(figures, when) for when in (10.9, 11.6, 12.6)]
    assert rates[0] > 17_000_000
    assert rates[1:] == [rates[0] // 2, rates[0] // 4]
    assert rate_at(figures, 15) > 17_000_000


def test_the_link_is_taken_back_when_the_other_flow_ends() -> None:
    scenario = replace(ALL["c8"], cubic=(5, 20), seconds=30, measured_s=25)
    figures = with_ours(scenario)
    assert figures.utilisation > 0.85
    assert figures.p95_ms < 25


@pytest.mark.parametrize("seed", [1, 2])
def test_a_flow_beside_ours_on_a_slow_link_leaves_us_our_share(seed: int) -> None:
    """Frames of two packets showed no capacity, and the lowest rate no rival: it stayed there for ever."""
    link = replace(ALL["c8"].link, capacity_bps=[(0, 4e6)], buffer_bytes=50_000)
    limits = replace(ALL["c8"].limits, ceiling_bps=4_000_000)
    figures = with_ours(replace(ALL["c8"], link=link, limits=limits, seconds=60, seed=seed))
    assert min(figures.utilisation, figures.beside) > 0.4


def test_a_dip_is_forgotten_at_once_when_it_is_over() -> None:
    figures = with_ours(replace(on_link((0, 20), (8, 4), (9, 20)), seconds=11))
    assert rate_at(figures, 8.9) < 4_000_000
    assert rate_at(figures, 9.4) > 16_000_000


@pytest.mark.parametrize(("mbps", "bucket_bytes"), [(4, 5_000), (20, 20_000), (20, 60_000)])
def test_a_shaper_that_lets_bursts_through_misleads_only_once_in_a_while(
    mbps: float, bucket_bytes: int
) -> None:
    link = replace(on_link((0, mbps)).link, bucket_bytes=bucket_bytes)
    figures = with_ours(replace(ALL["c1"], link=link, seconds=20))
    assert figures.utilisation > 0.88
    assert figures.p95_ms < 30


def test_jitter_of_a_fast_path_is_no_queue() -> None:
    link = replace(on_link((0, 1000)).link, jitter_s=0.008)
    limits = replace(ALL["c1"].limits, ceiling_bps=20_000_000)
    figures = with_ours(replace(ALL["c1"], link=link, limits=limits, seconds=15))
    rates = [rate for at, rate in figures.targets if at > 8]
    assert sum(rates) / len(rates) > 18_000_000


def test_frames_of_long_ago_do_not_hold_the_rate_down() -> None:
    """At 0.5 Mbit/s frames are too small to measure with; what the last ones showed counted for ever."""
    figures = with_ours(replace(on_link((0, 10), (5, 0.5), (15, 10)), seconds=32))
    assert rate_at(figures, 14) < 600_000
    assert rate_at(figures, 31) > 8_000_000


def test_a_fall_to_less_than_a_tenth_before_a_shaper_is_not_taken_for_another_flow() -> None:
    """At the floor the queue drained slowly, which looked like a rival; the rate rose to 5 on 0.6 Mbit/s."""
    scenario = on_link((0, 40), (6, 0.6))
    link = replace(scenario.link, buffer_bytes=22_500, bucket_bytes=5_000, delay_s=0.001)
    limits = replace(scenario.limits, ceiling_bps=8_000_000)
    figures = with_ours(replace(scenario, link=link, limits=limits, seconds=15))
    assert max(rate for at, rate in figures.targets if at > 7.5) < 700_000
