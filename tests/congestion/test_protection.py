"""When parity packets are switched on and off, and what they take from the picture's rate."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agent.congestion.flight import Flight, Packet
from agent.congestion.protection import LossWindow, PathState, Protection
from agent.rtp.fec import Loss
from agent.rtp.feedback import TransportFeedback

FRAME_S = 1 / 60
PACKETS = 13
FAR = PathState(rtt_s=0.05, queue_stands=False)
NEAR = PathState(rtt_s=0.005, queue_stands=False)
FULL = PathState(rtt_s=0.05, queue_stands=True)


class Stream:
    """Frames of 13 packets, 60 a second, with a feedback for each third."""

    def __init__(self) -> None:
        self.protection = Protection()
        self.now = 0.0
        self._frame = self._count = 0

    def run(
        self, duration_s: float, lost: Callable[[int], bool], path: PathState = FAR
    ) -> Loss | None:
        """Send for so long; `lost` is asked for each packet by its number."""
        end = self.now + duration_s
        while self.now < end:
            packets: list[Packet] = []
            for _ in range(3):
                self._frame += 1
                self.now += FRAME_S
                for _ in range(PACKETS):
                    self._count += 1
                    arrived = None if lost(self._count) else self.now + 0.02
                    packets.append(Packet(self.now, 1200, self._frame, arrived))
            self.protection.on_feedback(packets, path, self.now)
        return self.protection.loss


def never(_: int) -> bool:
    return False


def one_percent(number: int) -> bool:
    return number % 100 == 0


def test_loss_on_a_long_path_switches_it_on_and_its_end_off() -> None:
    stream = Stream()
    assert stream.run(2, never) is None
    assert stream.protection.overhead == 0.0
    loss = stream.run(2, one_percent)
    assert loss is not None
    assert loss.rate == pytest.approx(0.01, rel=0.5)
    assert loss.burst == 1.0
    assert stream.protection.overhead == pytest.approx(2 / PACKETS)
    assert stream.run(5, never) is None


def test_lone_losses_that_are_told_together_are_no_burst() -> None:
    """All that a feedback missed is told with the next one, at its beginning."""
    flight, protection = Flight(), Protection()
    loss: Loss | None = None
    for first in range(0, 1200, 40):
        flight.sent(
            [Packet(first / 800, 1200, number // 13) for number in range(first, first + 40)]
        )
        arrivals = [None if n % 20 == 7 else 1000 * n for n in range(first, first + 40)]
        told = flight.acknowledge(TransportFeedback(0, 0, first, tuple(arrivals)))
        loss = protection.on_feedback(told, FAR, first / 800)
    assert loss is not None
    assert loss.burst == 1.0
    assert loss.rate == pytest.approx(0.05, rel=0.1)


def test_a_retransmission_that_comes_in_time_is_enough() -> None:
    assert Stream().run(5, one_percent, NEAR) is None


def test_nothing_is_known_before_the_round_trip_is() -> None:
    assert Stream().run(5, one_percent, PathState(None, queue_stands=False)) is None


def test_rare_loss_is_left_to_retransmission() -> None:
    assert Stream().run(10, lambda number: number % 400 == 0) is None


def test_what_a_full_queue_drops_is_not_protected() -> None:
    stream = Stream()
    assert stream.run(5, one_percent, FULL) is None
    assert stream.run(1.5, one_percent) is None, "the queue is only just gone"
    assert stream.run(1, one_percent) is not None
    assert stream.run(0.05, one_percent, FULL) is None


def test_one_burst_is_one_event_and_no_reason() -> None:
    assert Stream().run(5, lambda number: 500 <= number < 520) is None


def test_bursts_are_told_from_single_losses() -> None:
    loss = Stream().run(5, lambda number: number % 200 < 4)
    assert loss is not None
    assert loss.burst == pytest.approx(4, rel=0.15)
    assert loss.rate == pytest.approx(0.02, rel=0.2)


def test_a_loss_between_the_thresholds_does_not_make_it_flap() -> None:
    stream = Stream()
    assert stream.run(3, one_percent) is not None
    changes = 0
    before = stream.protection.loss
    for _ in range(100):
        stream.run(0.1, lambda number: number % 330 == 0)
        changes += stream.protection.loss != before
        before = stream.protection.loss
    assert before is not None
    assert changes <= 3


def test_the_window_forgets() -> None:
    window = LossWindow()
    for number in range(5000):
        window.add(number * 0.001, lost=number < 400)
    assert window.loss == Loss(0.0)
    assert len(window) == 1000
    for number in range(300):
        window.add(100 + number * 0.001, lost=number % 100 < 2)
    assert len(window) == 300, "what is older than 10 s counts no more"
    assert window.loss == Loss(6 / 300, 2.0)
