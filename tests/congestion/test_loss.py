"""Above 5 % x0.8, below 2 % x1.1, within floor and ceiling; once a second, and only by what was sent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.congestion.loss import MIN_PACKETS, LossController, RateLimits, Reception
from tests.fuzz import fuzz_cases

LIMITS = RateLimits(1_000_000, 10_000_000)
START = 5_000_000


class Receiver:
    """Reports about 1000 packets a second, `lost` of each thousand."""

    def __init__(self, controller: LossController, first: int = 1000) -> None:
        self._controller = controller
        self._lost, self._highest, self._now = 0, first, 0.0
        self.report(0, 0, 0.0)

    def report(self, lost: int, sent: int = 1000, after_s: float = 1.0) -> int:
        self._lost += lost
        self._highest = self._highest + sent & 0xFFFFFFFF
        self._now += after_s
        return self._controller.on_report(Reception(self._lost, self._highest), self._now)


@pytest.mark.parametrize(
    ("lost", "factor"), [(0, 1.1), (19, 1.1), (20, 1.0), (50, 1.0), (51, 0.8), (1000, 0.8)]
)
def test_one_second_changes_the_rate_once(lost: int, factor: float) -> None:
    controller = LossController(START, LIMITS)
    assert Receiver(controller).report(lost) == int(START * factor)
    assert controller.target_bps == int(START * factor)
    assert controller.fraction_lost == lost / 1000


def test_the_rate_stays_within_its_limits() -> None:
    controller = LossController(50_000_000, LIMITS)
    assert controller.target_bps == 10_000_000
    receiver = Receiver(controller)
    assert receiver.report(0) == 10_000_000
    for _ in range(50):
        receiver.report(500)
    assert controller.target_bps == 1_000_000


def test_reports_that_come_with_each_nack_are_one_decision_a_second() -> None:
    controller = LossController(START, LIMITS)
    receiver = Receiver(controller)
    for _ in range(19):
        assert receiver.report(10, 50, 0.05) == START
    assert receiver.report(0, 50, 0.05 + 1e-9) == int(START * 0.8)
    assert controller.fraction_lost == 0.19
    assert receiver.report(50, 50, 0.05) == int(START * 0.8)


def test_the_rate_does_not_rise_while_hardly_anything_is_sent() -> None:
    receiver = Receiver(LossController(START, LIMITS))
    for sent in (0, 1, MIN_PACKETS - 1):
        assert receiver.report(0, sent) == START
    assert receiver.report(0, MIN_PACKETS) > START


def test_one_packet_lost_on_a_quiet_screen_does_not_lower_the_rate() -> None:
    receiver = Receiver(LossController(START, LIMITS))
    assert receiver.report(1, 4) == START
    assert receiver.report(3, 4) == int(START * 0.8)


def test_the_sequence_wraps_and_the_loss_may_fall() -> None:
    receiver = Receiver(LossController(START, LIMITS), first=0xFFFFFF00)
    assert receiver.report(100) == int(START * 0.8)
    assert receiver.report(-100) > int(START * 0.8)


def test_a_receiver_that_counts_anew_changes_nothing() -> None:
    receiver = Receiver(LossController(START, LIMITS), first=100_000)
    assert receiver.report(0, -90_000) == START
    assert receiver.report(0) > START


def test_limits_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError):
        RateLimits(2, 1)


@given(
    st.lists(
        st.tuples(st.integers(-(1 << 23), (1 << 23) - 1), st.integers(0, 0xFFFFFFFF)), max_size=20
    )
)
@fuzz_cases(500)
def test_any_report_leaves_the_rate_within_its_limits(reports: list[tuple[int, int]]) -> None:
    controller = LossController(START, LIMITS)
    for now, (lost, highest) in enumerate(reports):
        target = controller.on_report(Reception(lost, highest), float(now))
        assert LIMITS.floor_bps <= target <= LIMITS.ceiling_bps
        assert 0.0 <= controller.fraction_lost <= 1.0
