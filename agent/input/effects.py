"""What the motors of a gamepad do while games play force feedback effects: a core.

Source: Linux Documentation/input/ff.rst; as drivers/input/ff-memless.c mixes them. `now` is in seconds
of a monotonic clock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

FULL: Final = 0xFFFF


@dataclass(frozen=True, slots=True)
class Effect:
    """A rumble: both magnitudes 0 to 1, how long it lasts (0: until it is stopped) and waits before."""

    strong: float
    weak: float
    length_s: float
    delay_s: float


@dataclass(slots=True)
class _Playing:
    effect: Effect
    began: float
    times: int

    def edge(self, now: float) -> tuple[bool, float]:
        """Whether it is felt now, and when that changes (infinite: never)."""
        effect, elapsed = self.effect, max(now - self.began, 0.0)
        if effect.length_s <= 0:
            felt = elapsed >= effect.delay_s
            return felt, math.inf if felt else self.began + effect.delay_s
        period = effect.delay_s + effect.length_s
        round_, into = divmod(elapsed, period)
        if round_ >= self.times:
            return False, math.inf
        begin = self.began + round_ * period
        if into < effect.delay_s:
            return False, begin + effect.delay_s
        return True, begin + period


class Effects:
    """The effects that games have uploaded, by id, and those that play."""

    def __init__(self) -> None:
        self._known: dict[int, Effect] = {}
        self._playing: dict[int, _Playing] = {}
        self._gain = 1.0

    def upload(self, number: int, effect: Effect) -> None:
        """A new effect, or another one under a known id; one that plays goes on as the new one."""
        self._known[number] = effect
        if number in self._playing:
            self._playing[number].effect = effect

    def erase(self, number: int) -> None:
        self._known.pop(number, None)
        self._playing.pop(number, None)

    def play(self, number: int, times: int, now: float) -> None:
        """Play it so often from now on; 0 stops it. Unknown ids are ignored."""
        if times <= 0 or number not in self._known:
            self._playing.pop(number, None)
        else:
            self._playing[number] = _Playing(self._known[number], now, times)

    def set_gain(self, gain: int) -> None:
        """0 to 0xffff, of everything."""
        self._gain = min(max(gain, 0), FULL) / FULL

    def motors(self, now: float) -> tuple[float, float]:
        """What the strong and the weak motor do, each 0 to 1."""
        felt = [row.effect for row in self._playing.values() if row.edge(now)[0]]
        strong = min(sum(effect.strong for effect in felt), 1.0)
        weak = min(sum(effect.weak for effect in felt), 1.0)
        return strong * self._gain, weak * self._gain

    def next_deadline(self, now: float) -> float | None:
        """When `motors` changes without a call in between."""
        edges = [row.edge(now)[1] for row in self._playing.values()]
        return min((edge for edge in edges if edge < math.inf), default=None)
