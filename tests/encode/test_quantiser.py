"""One quantiser a picture: what sizes come of it, by an encoder that is a formula."""

from __future__ import annotations

import math
import statistics

import pytest

from agent.encode import quantiser
from agent.encode.quantiser import COARSEST, FINEST, MOST_SHARES, Quantiser, Sight

SHARE_BITS = 130_000.0
MACROBLOCKS = 3600
TEXTURE = 10.0
STILL = Sight(0.0, 0.0, TEXTURE)
MOVING = Sight(1.0, 20.0, TEXTURE)
"""Every picture is the one before, moved."""
FOUR = quantiser.EVERY
CUT = Sight(1.0, 60.0, TEXTURE)


def halves(chosen: int) -> float:
    return math.exp2(-chosen / 6)


class Encoder:
    """Takes `alone` bits at quantiser 0 for a picture by itself, a part of it for one that is the last one moved."""

    def __init__(self, *, alone: float = 6e7, following: float = 0.2) -> None:
        self.alone, self.following = alone, following
        self.rule = Quantiser(SHARE_BITS, MACROBLOCKS)
        self.shown = COARSEST
        self.noisy = False
        self.quantisers: list[int] = []
        self.shares: list[float] = []
        self.take(CUT, keyframe=True)

    def take(self, sight: Sight, *, keyframe: bool = False) -> None:
        chosen = self.rule.choose(sight, keyframe=keyframe)
        scale, shown = halves(chosen), halves(self.shown)
        if keyframe or sight is CUT:
            bits = self.alone * scale
        else:
            moved = self.following * self.alone * scale * sight.changed
            # All or nothing of it is left at a few quantisers less.
            moved *= 4 if self.noisy and chosen < max(self.quantisers[-FOUR:]) - 1 else 1
            bits = moved + 0.3 * self.alone * max(0.0, scale - shown)
        self.rule.encoded(sight, chosen, int(bits / 8), keyframe=keyframe)
        # What stands still stays as fine as it is.
        self.shown = chosen if keyframe or sight.changed > 0.5 else min(chosen, self.shown)
        self.quantisers.append(chosen)
        self.shares.append(bits / SHARE_BITS)

    def run(self, sight: Sight, pictures: int) -> list[float]:
        """The pictures' sizes, in shares of the rate."""
        for _ in range(pictures):
            self.take(sight)
        return self.shares[-pictures:]


@pytest.mark.parametrize("following", [0.05, 0.2, 0.3])
@pytest.mark.parametrize("alone", [2e7, 1e8])
def test_what_moves_soon_takes_its_share(alone: float, following: float) -> None:
    encoder = Encoder(alone=alone, following=following)
    encoder.run(MOVING, 30)
    shares = encoder.run(MOVING, 60)
    assert 0.8 < statistics.mean(shares) < 1.1
    assert max(shares) < 3.5
    assert statistics.median(shares) < 1


def test_every_fourth_picture_is_finer_as_long_as_that_is_no_noise() -> None:
    encoder = Encoder()
    encoder.run(MOVING, 60)
    finer = encoder.quantisers[-FOUR:].index(min(encoder.quantisers[-FOUR:]))
    for start in range(-FOUR * 4, 0, FOUR):
        turn = encoder.quantisers[start:][:FOUR]
        assert max(turn) - turn[finer] >= 3
        assert turn[finer] == min(turn)
    encoder.noisy = True
    encoder.run(MOVING, 60)
    assert statistics.mean(encoder.run(MOVING, 60)) < 1.2


def test_a_picture_alone_takes_many_shares_and_no_more_than_it_may() -> None:
    encoder = Encoder()
    encoder.take(CUT, keyframe=True)
    assert MOST_SHARES / 2 < encoder.shares[-1] < MOST_SHARES * 1.2
    encoder.run(MOVING, 60)
    encoder.take(CUT)
    assert 2 < encoder.shares[-1] < MOST_SHARES * 1.2


def test_a_new_scene_is_paid_for_by_those_after_it_but_not_all_at_once() -> None:
    encoder = Encoder()
    encoder.run(MOVING, 60)
    before = encoder.quantisers[-1]
    encoder.take(CUT)
    after = encoder.run(MOVING, 30)
    assert max(encoder.quantisers[-30:]) <= before + 12
    assert statistics.mean(after[10:]) < 1.05
    assert statistics.mean(encoder.run(MOVING, 60)) < 1.05


def test_a_still_picture_gets_as_fine_as_anybody_sees_with_no_picture_over_a_few_shares() -> None:
    encoder = Encoder()
    shares = encoder.run(STILL, 45)
    assert encoder.quantisers[-1] == FINEST
    assert max(shares) < 6
    assert encoder.run(STILL, 3) == [0, 0, 0]


def test_another_rate_holds_within_a_few_pictures() -> None:
    encoder = Encoder()
    encoder.run(MOVING, 60)
    encoder.rule.share_bits = SHARE_BITS / 3
    encoder.run(MOVING, 6)
    assert statistics.mean(encoder.run(MOVING, 30)) < 1.2 / 3


def test_motion_in_a_corner_leaves_the_rest_of_the_rate_to_the_still_rest() -> None:
    encoder = Encoder()
    shares = encoder.run(Sight(0.02, 0.4, TEXTURE), 90)
    assert encoder.quantisers[-1] == FINEST
    assert max(shares) < 6


def test_what_changes_nothing_at_all_is_no_division_by_zero() -> None:
    encoder = Encoder(alone=0.0)
    encoder.run(Sight(0.0, 0.0, 0.0), 60)
    assert encoder.quantisers[-1] == FINEST
