"""When a static picture is encoded again."""

import pytest

from agent.encode.refresh import (
    IDLE_INTERVAL_S,
    MAX_REFINEMENTS,
    REFINE_INTERVAL_S,
    SETTLED_SHARE,
    Refresh,
)


def test_nothing_is_due_before_the_first_picture() -> None:
    assert Refresh(60).next_deadline() is None


def test_repeats_go_on_until_they_have_nothing_to_send() -> None:
    refresh = Refresh(60)
    refresh.changed(10.0)
    assert refresh.next_deadline() == 10.0 + REFINE_INTERVAL_S
    refresh.repeated(11.0, share=0.9)
    assert refresh.next_deadline() == 11.0 + REFINE_INTERVAL_S
    refresh.repeated(12.0, share=SETTLED_SHARE / 2)
    assert refresh.next_deadline() == 12.0 + IDLE_INTERVAL_S
    refresh.repeated(14.0, share=SETTLED_SHARE / 2)
    assert refresh.next_deadline() == 14.0 + IDLE_INTERVAL_S


def test_repeats_end_even_when_each_still_sends_much() -> None:
    refresh = Refresh(60)
    refresh.changed(0.0)
    for _ in range(MAX_REFINEMENTS):
        refresh.repeated(1.0, share=1.0)
    assert refresh.next_deadline() == 1.0 + IDLE_INTERVAL_S


def test_change_starts_over() -> None:
    refresh = Refresh(60)
    refresh.changed(0.0)
    refresh.repeated(1.0, share=0.0)
    refresh.changed(2.0)
    assert refresh.next_deadline() == 2.0 + REFINE_INTERVAL_S


@pytest.mark.parametrize("fps", [10, 15, 24, 30, 60, 120])
@pytest.mark.parametrize("content_hz", [7, 12, 15, 29, 60])
def test_repeats_between_slow_pictures_do_not_double_the_rate(fps: int, content_hz: int) -> None:
    """At --fps 15 one was made between every two pictures, and 10 Mbit/s became 18."""
    refresh = Refresh(fps)
    encoded, seconds = 0, 20
    for number in range(seconds * content_hz):
        now, following = number / content_hz, (number + 1) / content_hz
        refresh.changed(now)
        encoded += 1
        while (due := refresh.next_deadline()) is not None and due < following:
            refresh.repeated(due, share=1.0)
            encoded += 1
    assert encoded / seconds <= max(fps, content_hz)
