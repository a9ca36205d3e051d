"""What the delay controller measures with: trendline, standing queue, dispersion, silence."""

from __future__ import annotations

import random

import pytest

from agent.congestion.capacity import AcknowledgedRate, Dispersion
from agent.congestion.flight import Packet
from agent.congestion.liveness import REPORTS_S, Liveness, Rhythm, Silence, Verdict
from agent.congestion.queue import MAX_SET_POINT_S, SET_POINT_S, BaseDelay, StandingQueue
from agent.congestion.trendline import Trendline, Usage

FRAME_S = 1 / 60
VIEWERS_CLOCK_S = 1234.5


def follow(trendline: Trendline, delays_s: list[float], start_s: float = 0.0) -> set[Usage]:
    seen = set()
    for number, delay_s in enumerate(delays_s):
        sent_s = start_s + number * FRAME_S
        trendline.add(sent_s, sent_s + VIEWERS_CLOCK_S + delay_s)
        seen.add(trendline.usage)
    return seen


def test_constant_delay_is_normal_and_noise_too() -> None:
    noise = random.Random(1)
    assert follow(Trendline(), [0.01] * 300) == {Usage.NORMAL}
    assert follow(Trendline(), [noise.uniform(0, 0.002) for _ in range(600)]) == {Usage.NORMAL}


def test_growing_delay_is_overuse_within_half_a_second_and_falling_delay_underuse() -> None:
    trendline = Trendline()
    follow(trendline, [0.01] * 60)
    follow(trendline, [0.01 + 0.004 * number for number in range(30)], 1.0)
    assert trendline.usage is Usage.OVER
    follow(trendline, [0.13 - 0.004 * number for number in range(30)], 1.5)
    assert trendline.usage.value == Usage.UNDER.value


def test_a_pause_is_no_change_of_delay() -> None:
    trendline = Trendline()
    follow(trendline, [0.01] * 60)
    assert follow(trendline, [0.2] * 60, 10.0) == {Usage.NORMAL}


def test_packets_that_leave_together_are_one_group() -> None:
    trendline = Trendline()
    for number in range(120):
        for packet in range(10):  # each frame is spread, always alike
            sent_s = number * FRAME_S
            trendline.add(sent_s, sent_s + packet * 0.001)
            assert trendline.usage is Usage.NORMAL


def test_a_standing_queue_is_what_even_the_best_of_three_frames_waits() -> None:
    queue = StandingQueue()
    for number in range(60):
        queue.add(number * FRAME_S, VIEWERS_CLOCK_S + number * FRAME_S)
    assert queue.standing_s == pytest.approx(0, abs=1e-6)
    for number in range(60, 62):  # two late frames are jitter
        queue.add(number * FRAME_S, VIEWERS_CLOCK_S + number * FRAME_S + 0.03)
        assert queue.standing_s == pytest.approx(0, abs=1e-6)
    queue.add(62 * FRAME_S, VIEWERS_CLOCK_S + 62 * FRAME_S + 0.02)
    assert queue.standing_s == pytest.approx(0.02)


def test_the_set_point_follows_jitter_and_not_the_queue() -> None:
    noise, steady, shaky = random.Random(2), StandingQueue(), StandingQueue()
    for number in range(300):
        sent_s = number * FRAME_S
        steady.add(sent_s, sent_s + (0 if number < 200 else 0.03 * (number - 200)))
        shaky.add(sent_s, sent_s + noise.uniform(0, 0.012))
    assert steady.set_point_s == SET_POINT_S
    assert SET_POINT_S < shaky.set_point_s <= MAX_SET_POINT_S
    assert shaky.slack_s == pytest.approx(shaky.set_point_s - SET_POINT_S)


@pytest.mark.parametrize("drift", [-50e-6, 0, 50e-6])
def test_the_base_delay_follows_the_drift_of_the_clocks(drift: float) -> None:
    base, noise = BaseDelay(), random.Random(3)
    for number in range(60 * 60):
        now = number * FRAME_S
        base.add(now, 0.02 + drift * now + noise.expovariate(500))
    assert base.at(60) == pytest.approx(0.02 + drift * 60, abs=0.0003)


def test_the_base_delay_forgets_a_shorter_way() -> None:
    base = BaseDelay()
    for number in range(100):
        base.add(number, 0.01 if number < 20 else 0.04)
    assert base.at(99) == pytest.approx(0.04, abs=0.0001)


def frame(number: int, size: int, gap_s: float) -> list[Packet]:
    sent_s = number * FRAME_S
    return [Packet(sent_s, 1200, number, sent_s + gap_s * index, index) for index in range(size)]


def test_the_dispersion_of_frames_is_the_rate_of_the_slowest_link() -> None:
    dispersion = Dispersion()
    for number in range(10):
        assert (dispersion.capacity_bps(0.2) is None) is (number < 3)
        dispersion.add(frame(number, 20, 0.00048))
    assert dispersion.capacity_bps(0.2) == pytest.approx(20e6)
    assert dispersion.capacity_bps(5) is None
    unfinished = frame(10, 10, 0.0048)
    assert (dispersion.recent_bps(unfinished) or 0) < 6e6
    assert (dispersion.recent_bps(unfinished, 0.1) or 0) > 20e6


def test_small_frames_measure_nothing_and_lost_packets_took_their_time() -> None:
    dispersion = Dispersion()
    for number in range(10):
        dispersion.add(frame(number, 2, 0.001))
    assert dispersion.capacity_bps(0.2) is None
    for number in range(10):
        holed = frame(number, 20, 0.00048)
        holed[7].arrived_s = None
        dispersion.add(holed)
    assert dispersion.capacity_bps(0.2) == pytest.approx(20e6)


def test_the_acknowledged_rate_is_what_arrived_in_a_quarter_of_a_second() -> None:
    rate = AcknowledgedRate()
    assert rate.bps == 0
    for number in range(1000):
        rate.add([Packet(0, 1250, 0, number / 1000), Packet(0, 1250, 0, None)])
    assert rate.bps == pytest.approx(10e6, rel=0.01)


def test_silence_holds_after_300_ms_and_halves_once_a_second() -> None:
    liveness = Liveness()
    assert liveness.look(None, 100, 0.1) is Verdict.FREE
    ticks = [100 + tick / 10 for tick in range(35)]
    seen = {now: liveness.look(100, now, 0.1) for now in ticks}
    assert all(seen[now] is Verdict.FREE for now in ticks if now < 100.39)
    assert all(seen[now] is Verdict.HOLD for now in ticks if 100.41 < now < 101.09)
    assert sum(verdict is Verdict.HALVE for verdict in seen.values()) == 3
    assert liveness.look(103.4, 103.5, 0.1) is Verdict.FREE


def test_a_second_connection_is_due_once_for_each_silence_of_three_seconds() -> None:
    silence = Silence()
    assert [silence.look(None, now) for now in (0.0, 10.0)] == [False, False]
    assert [silence.look(10.0, now) for now in (10.1, 12.9, 13.0, 13.1, 60.0)] == [
        *(False, False, True),
        *(False, False),
    ]
    silence.on_feedback()
    assert [silence.look(60.0, now) for now in (62.9, 63.0)] == [False, True]
    assert not silence.look(None, 63.1)
    assert not silence.look(64.0, 64.1)


def test_lone_pictures_of_a_still_screen_that_get_lost_are_no_silence_while_reports_are_heard() -> (
    None
):
    silence = Silence()
    for second in range(10, 20):
        silence.on_report(second - 0.5)
        assert not silence.look(10.0, second + 0.9)
    assert [silence.look(10.0, now) for now in (21.4, 21.5)] == [False, True]


def test_packets_that_a_flight_of_many_forgets_do_not_hide_a_silence() -> None:
    silence = Silence()
    assert [silence.look(now - 0.8, now) for now in (1.0, 2.0, 3.0, 3.3)] == [
        *(False, False, False),
        True,
    ]


def test_a_viewer_that_only_reports_is_overdue_by_its_own_rhythm() -> None:
    rhythm = Rhythm()
    assert rhythm.overdue_since(100.0) is None
    rhythm.heard(100.0)
    assert rhythm.overdue_since(107.4) is None
    assert rhythm.overdue_since(107.6) == 100 + REPORTS_S
    for at in (101.0, 102.5, 103.0, 104.0):
        rhythm.heard(at)
    assert rhythm.overdue_since(105.4) is None
    assert rhythm.overdue_since(105.6) == 105.5


def test_a_silence_that_was_healed_hides_no_later_one() -> None:
    rhythm, silence = Rhythm(), Silence()
    for at in (1.0, 2.0, 3.0, 4.0, 5.0):
        rhythm.heard(at)
    assert [silence.look(rhythm.overdue_since(now), now) for now in (6.1, 8.9, 9.1, 9.2, 28.0)] == [
        *(False, False, True),
        *(False, False),
    ]
    rhythm.heard(30.0)
    assert not silence.look(rhythm.overdue_since(30.1), 30.1)
    assert not silence.look(rhythm.overdue_since(33.9), 33.9)
    assert silence.look(rhythm.overdue_since(34.1), 34.1)
