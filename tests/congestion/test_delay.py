"""The delay controller where a scenario of a link does not lead: still screens, repetitions, other flows."""

from __future__ import annotations

import random

import pytest

from agent.congestion.delay import SENT_WINDOW_S, DelayController
from agent.congestion.flight import Packet
from agent.congestion.loss import RateLimits

RATE_BPS = 8_000_000
LIMITS = RateLimits(ceiling_bps=RATE_BPS)
DELAY_S = 0.02
FEEDBACK_S = 1 / 60


def moving(
    controller: DelayController, begins_s: float, seconds: float, queue_s: float = 0.0
) -> float:
    """Frames of 14 packets, all of which arrive; the time after the last."""
    now, frame = begins_s, int(begins_s * 60)
    while now < begins_s + seconds:
        sent = [now + n * 0.000_1 for n in range(14)]
        packets = [Packet(s, 1200, frame, s + DELAY_S + queue_s, n) for n, s in enumerate(sent)]
        controller.on_feedback(packets, now + 2 * DELAY_S + queue_s)
        now, frame = now + FEEDBACK_S, frame + 1
    return now


def test_a_still_screen_that_loses_its_lone_packets_keeps_its_rate() -> None:
    controller = DelayController(RATE_BPS, LIMITS)
    now = moving(controller, 0.0, 5.0)
    before_bps = controller.target_bps
    for repeat in range(
        200
    ):  # a packet every two seconds; of a lost one feedback speaks with the next
        lost, packet = repeat % 20 == 19, Packet(now, 300, 1000 + repeat)
        waits = [packet]
        if lost:
            for tick in range(20):
                controller.on_wait(now, now + tick * 0.1)
            now += 2
            waits.append(Packet(now, 300, 1000 + repeat))
        waits[-1].arrived_s = now + DELAY_S
        controller.on_feedback(waits, now + 2 * DELAY_S)
        now += 2
    assert controller.target_bps == before_bps


def test_a_path_that_falls_silent_under_movement_is_halved() -> None:
    controller = DelayController(RATE_BPS, LIMITS)
    now = moving(controller, 0.0, 5.0)
    before_bps = controller.target_bps
    for tick in range(15):
        controller.on_wait(now, now + tick * 0.1)
    assert controller.target_bps == before_bps // 2


def test_what_was_sent_is_kept_for_its_window_only_also_beside_another_flow() -> None:
    controller = DelayController(RATE_BPS, LIMITS)
    now = moving(controller, 0.0, 2.0)
    moving(controller, now, 20.0, queue_s=0.2)
    assert len(controller._sent) <= 14 * (SENT_WINDOW_S / FEEDBACK_S + 2)
    assert controller._sent_bytes == 1200 * len(controller._sent)


def test_feedback_that_speaks_of_repetitions_alone_is_no_error() -> None:
    controller = DelayController(RATE_BPS, LIMITS)
    repetitions = [Packet(n / 100, 1200, None, n / 100 + DELAY_S) for n in range(20)]
    assert controller.on_feedback(repetitions, 1.0) == RATE_BPS


@pytest.mark.parametrize("loss", [0.0, 0.02, 0.1])
def test_losses_that_are_told_a_feedback_late_make_no_path_look_slower(loss: float) -> None:
    """Of a train they were missing, while its time was counted: 10 % lost looked like 7 % less capacity."""
    controller, chance = DelayController(RATE_BPS, LIMITS), random.Random(1)
    arrived: list[Packet] = []
    lost: list[Packet] = []
    for frame in range(120):
        now = frame / 60
        for index in range(13):
            packet = Packet(now, 1200, frame, None, 13 * frame + index)
            if chance.random() < loss:
                lost.append(packet)
            else:
                packet.arrived_s = now + DELAY_S + 0.000_8 * index
                arrived.append(packet)
        if frame % 4 == 3:
            controller.on_feedback(sorted(arrived, key=lambda p: p.number), now + 2 * DELAY_S)
            arrived, lost = lost, []
    assert controller._dispersion.capacity_bps(2.0) == pytest.approx(12e6, rel=0.001)
    sent_bps = 8 * controller._sent_bytes / SENT_WINDOW_S
    assert sent_bps == pytest.approx(8 * 1200 * 13 * 60, rel=0.05)
