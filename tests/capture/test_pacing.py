"""The frame rate limiter: jitter is forgiven, floods are not."""

import random

import pytest

from agent.capture.pacing import HEADROOM, FramePacing


def taken_times(pacing: FramePacing, changes: list[float]) -> list[float]:
    """When pictures are taken of a source that changes at `changes`: as soon as allowed."""
    times: list[float] = []
    for number, change in enumerate(changes):
        at = max(change, pacing.due_at())
        later = changes[number + 1] if number + 1 < len(changes) else float("inf")
        if at < later:  # a change that comes before the picture was taken is in the same picture
            pacing.taken(at)
            times.append(at)
    return times


def test_first_change_and_change_after_quiet_are_taken_at_once() -> None:
    pacing = FramePacing(60)
    assert pacing.due_at() == 0.0
    pacing.taken(10.0)
    pacing.taken(20.0)
    assert pacing.due_at() < 20.0 + 1 / 60


@pytest.mark.parametrize("content_hz", [59.0, 60.0, 62.5])
def test_jittering_content_of_the_same_rate_is_neither_dropped_nor_delayed(
    content_hz: float,
) -> None:
    random_ = random.Random(1)
    interval = 1 / content_hz
    changes = [100 + n * interval + random_.uniform(-0.2, 0.2) * interval for n in range(600)]
    times = taken_times(FramePacing(60), changes)
    assert len(times) == len(changes)
    assert max(at - change for at, change in zip(times, changes, strict=True)) < 0.002


def test_flood_is_limited_to_the_rate() -> None:
    changes = [n * 0.001 for n in range(10_000)]
    times = taken_times(FramePacing(60), changes)
    assert len(times) / 10 == pytest.approx(60 * HEADROOM, rel=0.03)


def test_rate_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        FramePacing(0)
