"""When a static picture is encoded again."""

from agent.encode.refresh import (
    IDLE_INTERVAL_S,
    MAX_REFINEMENTS,
    REFINE_INTERVAL_S,
    SETTLED_SHARE,
    Refresh,
)


def test_nothing_is_due_before_the_first_picture() -> None:
    assert Refresh().next_deadline() is None


def test_repeats_go_on_until_they_have_nothing_to_send() -> None:
    refresh = Refresh()
    refresh.changed(10.0)
    assert refresh.next_deadline() == 10.0 + REFINE_INTERVAL_S
    refresh.repeated(11.0, share=0.9)
    assert refresh.next_deadline() == 11.0 + REFINE_INTERVAL_S
    refresh.repeated(12.0, share=SETTLED_SHARE / 2)
    assert refresh.next_deadline() == 12.0 + IDLE_INTERVAL_S
    refresh.repeated(14.0, share=SETTLED_SHARE / 2)
    assert refresh.next_deadline() == 14.0 + IDLE_INTERVAL_S


def test_repeats_end_even_when_each_still_sends_much() -> None:
    refresh = Refresh()
    refresh.changed(0.0)
    for _ in range(MAX_REFINEMENTS):
        refresh.repeated(1.0, share=1.0)
    assert refresh.next_deadline() == 1.0 + IDLE_INTERVAL_S


def test_change_starts_over() -> None:
    refresh = Refresh()
    refresh.changed(0.0)
    refresh.repeated(1.0, share=0.0)
    refresh.changed(2.0)
    assert refresh.next_deadline() == 2.0 + REFINE_INTERVAL_S
