"""The predecessor's rule: above 5 % x0.8, below 2 % x1.1, within floor and ceiling."""

from __future__ import annotations

import pytest

from agent.congestion.loss import LossController, RateLimits

LIMITS = RateLimits(1_000_000, 10_000_000)


@pytest.mark.parametrize(
    ("loss", "factor"),
    [(0.0, 1.1), (0.0199, 1.1), (0.02, 1.0), (0.05, 1.0), (0.051, 0.8), (1.0, 0.8)],
)
def test_one_report_changes_the_rate_once(loss: float, factor: float) -> None:
    controller = LossController(5_000_000, LIMITS)
    assert controller.on_report(loss) == int(5_000_000 * factor)
    assert controller.target_bps == int(5_000_000 * factor)


def test_the_rate_stays_within_its_limits() -> None:
    controller = LossController(50_000_000, LIMITS)
    assert controller.target_bps == 10_000_000
    assert controller.on_report(0.0) == 10_000_000
    for _ in range(50):
        controller.on_report(0.5)
    assert controller.target_bps == 1_000_000


def test_impossible_values_are_refused() -> None:
    with pytest.raises(ValueError):
        RateLimits(2, 1)
    with pytest.raises(ValueError):
        LossController(1_000_000).on_report(1.5)
