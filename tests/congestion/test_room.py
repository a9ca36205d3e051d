"""When a path is taken to have room for large pictures, and when no more."""

from __future__ import annotations

from agent.congestion.room import ENOUGH, TOO_LITTLE, WAIT_S, Room

TARGET_BPS = 10_000_000
FAST_BPS = 2 * ENOUGH * TARGET_BPS
BETWEEN_BPS = (ENOUGH + TOO_LITTLE) / 2 * TARGET_BPS
SLOW_BPS = TOO_LITTLE / 2 * TARGET_BPS
STEP_S = 0.05


class Clock:
    """Looks as often as feedback comes."""

    def __init__(self) -> None:
        self.room = Room()
        self.now = 100.0

    def run(self, seconds: float, link_bps: float, *, limited: bool = False) -> bool:
        until = self.now + seconds
        while self.now < until:
            self.now += STEP_S
            self.room.look(link_bps, TARGET_BPS, self.now, limited=limited)
        return self.room.has_room


def test_a_fast_path_has_room_after_a_while_and_a_moment_is_not_enough() -> None:
    clock = Clock()
    assert not clock.run(WAIT_S * 0.8, FAST_BPS)
    assert not clock.run(STEP_S, BETWEEN_BPS)
    assert not clock.run(WAIT_S * 0.8, FAST_BPS)
    assert clock.run(WAIT_S * 0.4, FAST_BPS)


def test_nothing_is_believed_of_a_path_whose_speed_is_not_known() -> None:
    assert not Clock().run(60.0, 0.0)


def test_room_stays_while_little_is_sent_and_while_the_path_is_a_little_slower() -> None:
    clock = Clock()
    assert clock.run(WAIT_S * 2, FAST_BPS)
    assert clock.run(60.0, 0.0)
    assert clock.run(60.0, BETWEEN_BPS)


def test_a_slow_or_full_path_loses_it_at_once_and_each_time_for_longer() -> None:
    clock = Clock()
    assert clock.run(WAIT_S * 2, FAST_BPS)
    assert not clock.run(STEP_S, SLOW_BPS)
    assert not clock.run(WAIT_S * 1.8, FAST_BPS)
    assert clock.run(WAIT_S * 0.4, FAST_BPS)
    assert not clock.run(STEP_S, FAST_BPS, limited=True)
    assert not clock.run(WAIT_S * 3.8, FAST_BPS)
    assert clock.run(WAIT_S * 0.4, FAST_BPS)


def test_a_path_that_is_slow_for_long_waits_no_longer_for_it() -> None:
    clock = Clock()
    assert clock.run(WAIT_S * 2, FAST_BPS)
    assert not clock.run(600.0, SLOW_BPS)
    assert clock.run(WAIT_S * 2.2, FAST_BPS)
