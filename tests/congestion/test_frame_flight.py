"""Frames' arrivals in the place of packets': what follows from them, and who decides when."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from agent.congestion.capacity import Dispersion
from agent.congestion.flight import Packet
from agent.congestion.frame_flight import MAX_FRAMES, FlyingFrame, FrameFlight
from agent.congestion.loss import RateLimits, Reception
from agent.congestion.steering import START_BPS, Evidence, Steering
from benchmarks.congestion.arrival_stream import ArrivalStream
from benchmarks.congestion.scenario import Figures, Scenario, play, scenarios

FRAME_S = 1 / 60
VIEWERS_CLOCK_S = 1234.5
PACKETS = 20
LIMITS = RateLimits(ceiling_bps=20_000_000)
ALL = {scenario.name: scenario for scenario in scenarios()}


def flying(number: int, pace_s: float = 0.006) -> FlyingFrame:
    at = number * FRAME_S
    first = number * PACKETS + 65_500 & 0xFFFF
    return FlyingFrame(number, number, at, at + pace_s, 1200 * PACKETS, first, PACKETS)


def come(number: int, takes_s: float) -> tuple[int, float]:
    """The frame's last packet came so long after its first one had left."""
    return number, VIEWERS_CLOCK_S + number * FRAME_S + takes_s


def flight(frames: int) -> FrameFlight:
    made = FrameFlight()
    for number in range(frames):
        made.sent(flying(number))
    return made


def test_a_frame_in_the_way_is_no_spread_and_the_path_shows_what_it_carries() -> None:
    made, dispersion = flight(30), Dispersion()
    made.arrived([come(0, 0.006)])  # a path faster than the pacer: the delay of the path itself
    for number in range(1, 10):
        dispersion.add(made.arrived([come(number, 0.0128)]))
    assert dispersion.capacity_bps(0.15) == pytest.approx(15e6, rel=0.01)
    waits = [made.arrived([come(number, 0.02 + 0.01 * (number - 10))]) for number in range(10, 14)]
    assert [len(packets) for packets in waits] == [PACKETS, 1, 1, 1]
    delays = [packets[0].arrived_s - packets[0].sent_s for packets in waits if packets[0].arrived_s]
    assert delays[3] - delays[1] == pytest.approx(0.02, abs=0.001)


def test_each_frame_is_told_of_once_in_whatever_order_messages_come() -> None:
    made, tell = flight(12), [come(number, 0.01) for number in range(12)]
    seen = [
        packet
        for part in (tell[:6], tell[3:9], tell[:6], tell[6:])
        for packet in made.arrived(part)
    ]
    assert len(seen) == 12 * PACKETS
    assert [packet.number for packet in seen] == sorted(packet.number for packet in seen)
    assert [packet.sent_s for packet in seen] == sorted(packet.sent_s for packet in seen)
    assert made.arrived(tell) == []


def test_frames_that_a_browser_did_not_show_have_come_like_the_next_one() -> None:
    made = flight(4)
    made.arrived([come(0, 0.01)])
    packets = made.arrived([come(3, 0.01)])
    assert [packet.size_bytes for packet in packets[:2]] == [1200 * PACKETS] * 2
    assert [packet.frame for packet in packets] == [1, 2, *[3] * PACKETS]
    assert made.arrived([come(1, 0.01)]) == []


def test_what_waited_for_a_repetition_measures_nothing_but_what_arrived() -> None:
    made = flight(8)
    made.arrived([come(0, 0.01)])
    made.repeat([65_500 + PACKETS * 2 + 3 & 0xFFFF])
    late, after = made.arrived([come(1, 0.01), come(2, 0.09)]), made.arrived([come(3, 0.01)])
    assert [packet.frame for packet in late[PACKETS:]] == [None]
    waited_s = [
        packet.arrived_s - packet.sent_s for packet in after if packet.arrived_s is not None
    ]
    assert min(waited_s) < VIEWERS_CLOCK_S + 0.02


def test_what_was_never_sent_says_nothing_and_old_frames_are_forgotten() -> None:
    made = flight(MAX_FRAMES + 1)
    assert made.arrived([(1 << 31, 5.0), come(0, 0.01)]) == []
    assert len(made.arrived([come(MAX_FRAMES, 0.01)])) == MAX_FRAMES - 1 + PACKETS


def test_any_clock_and_any_times_are_taken() -> None:
    noise = random.Random(5)
    steering, made = Steering(LIMITS), FrameFlight()
    steering.follow_delay(feedback=False)
    for number in range(600):
        made.sent(flying(number, noise.choice([0, 0.006, 0.2])))
        told = [(number - noise.randrange(3), noise.choice([0, 1e13, noise.uniform(0, 20)]))]
        steering.on_arrivals(made.arrived(told), number * FRAME_S)
        assert LIMITS.floor_bps <= steering.target_bps <= LIMITS.ceiling_bps


# Who decides


def packet(now: float) -> Packet:
    return Packet(now, 1200, int(now * 60), now + 0.01)


def test_arrivals_are_wanted_and_followed_only_where_packets_say_nothing() -> None:
    steering = Steering(LIMITS)
    assert not steering.wants_arrivals
    steering.on_arrivals([packet(0.0)], 0.0)
    assert steering.evidence is Evidence.REPORTS
    steering.follow_delay(feedback=False)
    assert steering.wants_arrivals
    steering.on_arrivals([], 0.0)
    assert steering.evidence is Evidence.REPORTS
    steering.on_arrivals([packet(0.1)], 0.1)
    assert steering.evidence is Evidence.FRAMES
    steering.on_feedback([packet(0.2)], 0.2)
    assert (steering.evidence, steering.wants_arrivals) == (Evidence.PACKETS, False)


def test_transport_wide_feedback_that_falls_silent_is_replaced_and_taken_back() -> None:
    steering = Steering(LIMITS)
    steering.follow_delay(feedback=True)
    steering.on_arrivals([packet(0.0)], 0.0)
    steering.on_wait(0.0, 0.9)
    assert (steering.evidence, steering.wants_arrivals) == (Evidence.PACKETS, False)
    steering.on_wait(0.0, 1.1)
    assert steering.wants_arrivals
    steering.on_arrivals([packet(1.2)], 1.2)
    before = steering.target_bps
    for tick in range(40):
        steering.on_wait(0.0, 1.2 + tick / 10)  # frames arrive: no silence of the path
    assert (steering.evidence, steering.target_bps) == (Evidence.FRAMES, before)
    steering.on_feedback([packet(6.0)], 6.0)
    assert (steering.evidence, steering.wants_arrivals) == (Evidence.PACKETS, False)


def test_a_viewer_that_tells_nothing_begins_low_and_follows_losses() -> None:
    steering = Steering(LIMITS)
    steering.follow_delay(feedback=False)
    for second in range(20):
        assert steering.target_bps >= START_BPS
        steering.on_report(Reception(0, 1000 * second), float(second))
    assert steering.target_bps == LIMITS.ceiling_bps


def test_losses_bound_what_frames_tell() -> None:
    steering = Steering(LIMITS)
    steering.follow_delay(feedback=False)
    steering.on_arrivals([packet(0.0)], 0.0)
    for second in range(20):
        steering.on_report(Reception(100 * second, 1000 * second), float(second))
    assert steering.target_bps < START_BPS / 4


# Simulated


class ByFrames(Steering):
    """A steer for the simulator."""

    def __init__(self, start_bps: int, limits: RateLimits) -> None:
        super().__init__(limits)
        self.follow_delay(feedback=False)

    def on_feedback(self, packets: Sequence[Packet], now: float) -> int:  # type: ignore[override]
        self.on_arrivals(packets, now)
        return self.target_bps

    def on_report(self, reception: Reception, now: float) -> int:  # type: ignore[override]
        super().on_report(reception, now)
        return self.target_bps

    def on_wait(self, waiting_since: float | None, now: float) -> int:  # type: ignore[override]
        super().on_wait(waiting_since, now)
        return self.target_bps


def by_frames(scenario: Scenario) -> Figures:
    return play(scenario, ByFrames, ArrivalStream)


def test_a_constant_path_is_found_and_not_filled_without_transport_wide_feedback() -> None:
    """The loss rule fills its buffer: half of a second behind, and a tenth of the time the picture stands."""
    figures = by_frames(replace(ALL["c1"], seconds=15))
    assert figures.utilisation > 0.85
    assert figures.p95_ms < 60
    assert figures.frozen == 0


def test_the_rate_falls_below_a_path_that_shrank_before_anything_is_lost() -> None:
    link = replace(ALL["c1"].link, capacity_bps=[(0, 20e6), (6, 10e6)], buffer_bytes=2_000_000)
    scenario = replace(ALL["c1"], link=link, limits=LIMITS, seconds=10, measured_s=7)
    figures = by_frames(scenario)
    after = [rate for at, rate in figures.targets if 6.4 < at < 7]
    assert min(after) < 10_000_000
    assert figures.p95_ms < 200
    assert figures.utilisation > 0.75
