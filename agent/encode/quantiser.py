"""Which quantiser a picture is encoded with, where the path has room for pictures of many times the mean (a core).

One quantiser a picture, by a model of what the pictures before took:

    bits = following * changed * scale(q) + refining * alone * (scale(q) - scale(shown))

The first part is what moves; the second what it takes to make the whole picture finer than it is on the screen.
`alone` is what a picture takes that has nothing to lean on: a key frame, or another scene. Such a one is not made as
coarse as its share of the rate would have it: it may take `MOST_SHARES`.

Of what moves every fourth picture is finer than the others, which lean on it: at the same rate 0.3 to 2.5 dB more than
with one quantiser for all, in six scenes from a panning game to a film in a window.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

FINEST: Final = 10
"""Finer than anybody sees: about 51 dB; agent/encode/libx264.py opens the range down to it."""
COARSEST: Final = 51
DOUBLING: Final = 6
"""Quantisers until the step size has doubled (H.264 8.5.9), and with it about half the bits are left."""
MOST_SHARES: Final = 12
"""What a picture with nothing to lean on is made for, in mean pictures. A full screen of text takes as many at 30."""
MOST_BITS: Final = 2e6
"""Of such a picture, at any rate: a browser's socket holds about 250 KB that come faster than it reads them."""
ALONE_BITS: Final = 1400.0
"""Of a macroblock for each step between neighbouring samples, at quantiser 0, with nothing to lean on; then learned."""
FOLLOWING: Final = 0.3
REFINING: Final = 0.3
"""Of what a picture takes alone, to begin with; then learned."""
SUDDEN: Final = 2.0
"""A picture that differs so many times as much from the one before as those before did may be another scene."""
SUDDEN_STEPS: Final = 1.0
"""Of luma; what differs by less than this in the mean is none."""
COARSER: Final = 4
"""Most that a picture is coarser than the one before: what moves at first may soon be followed."""
EVERY: Final = 4
FINER: Final = 5
"""Each fourth picture is finer by up to so much than the others."""
FINER_SHARES: Final = 2.0
"""What it may take: of noise nothing that follows leans on it."""
OTHERS: Final = 0.75
"""What those others take of the mean."""
PAYS_BACK: Final = 1 / 16
"""Of what pictures before took too much, each following one takes so much less; and more of what they left."""
MOST_OWED: Final = 6.0
"""In shares, either way."""
SPARE: Final = 0.7
"""A picture of less than this share leaves room for a finer one."""
BLEND: Final = 0.5
"""How much the newest picture says of the next one; of the logarithm."""
SURPRISE: Final = 4.0
"""Most that one picture changes the model by."""
UPSET: Final = 2.0
"""A picture that takes so many times what it was to take is an exception: the next one will be like those before."""
SKIPPED: Final = 0.05
"""A picture of less than this share of what it was to take changed nothing: x264 rounds small differences to none."""
FEW: Final = 0.02
"""A picture of which less changed says nothing about what changes cost."""


@dataclass(frozen=True, slots=True)
class Sight:
    """A picture, by the few samples that are looked at."""

    changed: float
    """The share of it that is not as in the picture before, 0 to 1."""
    difference: float
    """Mean difference to the picture before, in steps of luma."""
    texture: float
    """Mean difference of neighbouring samples, in steps of luma."""


class Quantiser:
    """Ask `choose` before each picture, tell `encoded` after it. The first one is a key frame."""

    def __init__(self, share_bits: float, macroblocks: int) -> None:
        self.share_bits = share_bits
        """Of each picture in the mean; may be changed."""
        self._macroblocks = macroblocks
        self._owed_bits = 0.0
        self._alone = ALONE_BITS
        self._following = 0.0
        """Bits at quantiser 0 of a picture that leans on the one before it."""
        self._refining = REFINING
        self._difference = 0.0
        """Of the pictures lately."""
        self._shown = COARSEST
        """The quantiser of what is on the screen."""
        self._last_bits = 0.0
        self._turn = 0
        """Of pictures that move, 0 to EVERY - 1; the last one is the finer one, of which the model learns nothing."""
        self._is_finer = False
        self._finer = FINER

    def choose(self, sight: Sight, *, keyframe: bool) -> int:
        """The quantiser of the next picture."""
        quantiser = self._of_most(sight, keyframe=keyframe)
        self._is_finer = (
            self._turn == EVERY - 1
            and sight.changed > FEW
            and not (keyframe or self._is_sudden(sight))
        )
        return max(quantiser - self._finer, FINEST) if self._is_finer else quantiser

    def _of_most(self, sight: Sight, *, keyframe: bool) -> int:
        share_bits = self.share_bits
        most_bits = max(share_bits, min(MOST_SHARES * share_bits, MOST_BITS))
        alone_bits = self._alone_bits(sight)
        if keyframe:
            return _of(most_bits / alone_bits)
        shown = _scale(self._shown)
        if self._is_sudden(sight):
            moving_bits = sight.changed * max(self._following, alone_bits)
            return max(_of(most_bits / max(moving_bits, 1.0)), self._shown)
        part = OTHERS if sight.changed > FEW else 1.0
        target_bits = part * share_bits - PAYS_BACK * self._owed_bits
        moving_bits = sight.changed * self._following
        if moving_bits * shown >= target_bits:
            over = max(self._last_bits / share_bits, 1.0)
            coarser = min(max(1, round(DOUBLING * math.log2(over))), COARSER)
            return min(_of(target_bits / moving_bits), self._shown + coarser, COARSEST)
        finer_bits = self._refining * alone_bits
        chosen = _of((target_bits + finer_bits * shown) / (moving_bits + finer_bits))
        spare = int(self._last_bits < SPARE * share_bits)
        return max(min(chosen, self._shown - spare), FINEST)

    def encoded(self, sight: Sight, quantiser: int, size_bytes: int, *, keyframe: bool) -> None:
        """What came out."""
        bits = 8.0 * max(size_bytes, 1)
        most_bits = MOST_OWED * self.share_bits
        owed_bits = self._owed_bits + bits - self.share_bits
        self._owed_bits = min(max(owed_bits, -most_bits), most_bits)
        if sight.changed > FEW:
            self._turn = (self._turn + 1) % EVERY
        if self._is_finer:
            over = round(DOUBLING * math.log2(bits / (FINER_SHARES * self.share_bits)))
            self._finer = min(max(self._finer - max(over, -1), 0), FINER)
            return
        self._last_bits = bits
        if keyframe:
            self._alone *= bits / _scale(quantiser) / self._alone_bits(sight)
            self._following = self._following or FOLLOWING * bits / _scale(quantiser)
            self._shown = quantiser
            return
        sudden = self._is_sudden(sight)
        self._difference += BLEND * (sight.difference - self._difference)
        if not sudden:
            self._learn(sight, quantiser, bits)
        elif sight.changed > FEW:
            self._following = bits / _scale(quantiser) / sight.changed
            self._shown = quantiser

    def _learn(self, sight: Sight, quantiser: int, bits: float) -> None:
        scale, shown = _scale(quantiser), _scale(self._shown)
        finer_bits = self._refining * self._alone_bits(sight) * max(scale - shown, 0.0)
        expected_bits = self._following * sight.changed * scale + finer_bits
        wrong = bits / max(expected_bits, 1.0)
        wrong = min(max(wrong, 1 / SURPRISE), SURPRISE) ** (BLEND if wrong < UPSET else BLEND / 2)
        if sight.changed > FEW:
            self._following *= wrong
        if scale > shown:
            self._refining *= wrong
        if sight.changed > FEW or (scale > shown and bits > SKIPPED * expected_bits):
            self._shown = quantiser

    def _alone_bits(self, sight: Sight) -> float:
        """At quantiser 0, of the whole picture with nothing to lean on."""
        return self._alone * self._macroblocks * max(sight.texture, 0.1)

    def _is_sudden(self, sight: Sight) -> bool:
        return sight.difference > SUDDEN * self._difference + SUDDEN_STEPS


def _scale(quantiser: int) -> float:
    """Bits at this quantiser over those at 0."""
    return math.exp2(-quantiser / DOUBLING)


def _of(scale: float) -> int:
    """The quantiser of this scale, as far as there is one."""
    return min(max(round(-DOUBLING * math.log2(scale)), FINEST), COARSEST)
