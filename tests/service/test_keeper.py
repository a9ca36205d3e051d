"""When the service starts and ends the agent."""

from __future__ import annotations

import math

import pytest

from agent.service.keeper import (
    BACK_OFF_FIRST_S,
    BACK_OFF_MOST_S,
    END_LIMIT_S,
    STEADY_S,
    Effect,
    End,
    Keeper,
    Kill,
    Start,
)


def drained(keeper: Keeper, now: float) -> list[Effect]:
    effects = []
    while (effect := keeper.poll(now)) is not None:
        effects.append(effect)
    return effects


def running(session: int = 1, now: float = 0.0) -> Keeper:
    keeper = Keeper()
    keeper.console(session)
    assert drained(keeper, now) == [Start(session)]
    return keeper


def test_nothing_runs_while_no_session_is_at_the_screen() -> None:
    keeper = Keeper()
    keeper.console(None)
    assert drained(keeper, 0) == []
    assert keeper.next_deadline() == math.inf
    keeper.console(1)
    assert drained(keeper, 1) == [Start(1)]


def test_the_worker_follows_the_session_at_the_screen() -> None:
    keeper = running(1)
    keeper.console(2)
    [ending] = drained(keeper, 10)
    assert isinstance(ending, End)
    assert drained(keeper, 11) == []
    assert keeper.exited(0, 12)
    assert drained(keeper, 12) == [Start(2)], "at once: nothing failed"


def test_a_worker_is_kept_while_windows_changes_the_session() -> None:
    keeper = running(1)
    keeper.console(None)
    assert drained(keeper, 1) == []
    keeper.console(1)
    assert drained(keeper, 2) == []


def test_deaths_are_answered_later_and_later_until_a_life_is_long() -> None:
    keeper, now, waits = running(), 0.0, []
    for _ in range(8):
        assert not keeper.exited(1, now)
        waits.append(keeper.next_deadline() - now)
        now = keeper.next_deadline()
        assert drained(keeper, now - 0.01) == []
        assert drained(keeper, now) == [Start(1)]
    assert waits == [1, 2, 4, 8, 16, 32, BACK_OFF_MOST_S, BACK_OFF_MOST_S]
    now += STEADY_S
    keeper.exited(1, now)
    assert keeper.next_deadline() == now + BACK_OFF_FIRST_S


@pytest.mark.parametrize("code", [2, 3])
def test_what_a_restart_does_not_heal_is_tried_once_a_minute(code: int) -> None:
    keeper = running()
    keeper.exited(code, 5)
    assert keeper.next_deadline() == 5 + BACK_OFF_MOST_S


def test_an_agent_that_cannot_be_started_is_tried_again() -> None:
    keeper = running()
    assert not keeper.exited(None, 0)
    assert drained(keeper, BACK_OFF_FIRST_S) == [Start(1)]


def test_a_stop_ends_the_worker_and_waits_for_it() -> None:
    keeper = running()
    keeper.stop()
    [ending] = drained(keeper, 100)
    assert isinstance(ending, End)
    assert not keeper.stopped
    assert keeper.next_deadline() == 100 + END_LIMIT_S
    assert keeper.exited(0, 101)
    assert drained(keeper, 101) == []
    assert keeper.stopped


def test_a_worker_that_does_not_end_is_killed_once() -> None:
    keeper = running()
    keeper.stop()
    drained(keeper, 0)
    assert drained(keeper, END_LIMIT_S) == [Kill()]
    assert drained(keeper, END_LIMIT_S + 100) == []
    keeper.exited(1, END_LIMIT_S + 100)
    drained(keeper, END_LIMIT_S + 100)
    assert keeper.stopped


def test_a_stop_during_the_back_off_starts_nothing_more() -> None:
    keeper = running()
    keeper.exited(1, 0)
    keeper.stop()
    assert drained(keeper, 100) == []
    assert keeper.stopped


def test_the_end_of_a_worker_that_is_not_there_is_an_error_and_changes_nothing() -> None:
    keeper = Keeper()
    with pytest.raises(ValueError, match="IDLE"):
        keeper.exited(0, 0)
    keeper.console(1)
    assert drained(keeper, 0) == [Start(1)]
