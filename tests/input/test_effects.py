"""Force feedback effects over time, with a clock that is a variable."""

import pytest

from agent.input.effects import Effect, Effects


def test_an_effect_waits_lasts_and_repeats() -> None:
    effects = Effects()
    effects.upload(1, Effect(1.0, 0.5, length_s=0.2, delay_s=0.1))
    assert effects.next_deadline(9.0) is None
    effects.play(1, 2, 10.0)
    felt = []
    now = 10.0
    while True:
        felt.append((round(now, 3), effects.motors(now)))
        deadline = effects.next_deadline(now)
        if deadline is None:
            break
        assert deadline > now
        now = deadline + 1e-6
    assert felt == [
        (10.0, (0.0, 0.0)), (10.1, (1.0, 0.5)), (10.3, (0.0, 0.0)), (10.4, (1.0, 0.5)), (10.6, (0.0, 0.0)),
    ]  # fmt: skip


def test_an_effect_without_length_plays_until_it_is_stopped() -> None:
    effects = Effects()
    effects.upload(0, Effect(0.25, 0.0, length_s=0.0, delay_s=1.0))
    effects.play(0, 1, 5.0)
    assert effects.next_deadline(5.0) == 6.0
    assert effects.motors(5.5) == (0.0, 0.0)
    assert effects.motors(1e6) == (0.25, 0.0)
    assert effects.next_deadline(7.0) is None
    effects.play(0, 0, 8.0)
    assert effects.motors(8.0) == (0.0, 0.0)


def test_a_playing_effect_can_be_changed_and_unknown_ones_are_nothing() -> None:
    effects = Effects()
    effects.play(7, 1, 0.0)
    effects.erase(7)
    assert effects.motors(0.0) == (0.0, 0.0)
    effects.upload(0, Effect(1.0, 1.0, 0.0, 0.0))
    effects.play(0, 1, 0.0)
    effects.upload(0, Effect(0.0, 0.5, 0.0, 0.0))
    effects.set_gain(0xFFFF // 2)
    assert effects.motors(1.0) == pytest.approx((0.0, 0.25), abs=1e-4)
