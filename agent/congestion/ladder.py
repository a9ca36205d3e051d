"""Frame rate and size of the picture: less of both where the path has too few bits for each pixel, and back."""

from __future__ import annotations

from dataclasses import dataclass

FLOOR_BITS_PER_PIXEL = 0.04
"""Measured with libx264 as it is set here on a full screen of moving text, 1280x720 at 60 fps: 32 dB at 0.07 bits,
20 dB at 0.036, where half the frame rate still has 30 dB. At half the rate it falls from 25 to 20 dB between 0.054
and 0.036, where half the size has 24 dB."""

MARGIN = 1.3
"""How much more than the floor a better step must have before it is taken."""

DOWN_S = 0.5
"""How long the target must be too low: a dip that the controller forgets at once costs no key frame."""

UP_S = 3.0
"""How long a better step must be in reach: a picture that changes its size all the time is worse than a small one."""

LEAST_FPS = 20
"""Below it motion falls apart: from there on the picture gets smaller instead."""

LEAST_HEIGHT = 180

SIZE_DIVISORS = (1, 2, 3)
"""Whole ones: scaling is cheap then, and what is between looked no better than the next one."""


@dataclass(frozen=True, slots=True)
class Step:
    """How much of the picture is sent."""

    fps: int
    size_divisor: int
    """Of width and height."""


class Ladder:
    """The steps of one codec, from the whole picture down: first the frame rate is halved, then the size falls."""

    def __init__(self, fps: int, ceiling_bps: int) -> None:
        """What was asked for: where the path carries `ceiling_bps`, the whole picture is sent at `fps`."""
        self._ceiling_bps = ceiling_bps
        self._rates = _frame_rates(fps)
        self._size = (0, 0)
        self._steps = [Step(fps, 1)]
        self._needs_bps = [0]
        self._at = 0
        self._low_since: float | None = None
        self._high_since: float | None = None

    def choose(self, target_bps: int, size: tuple[int, int], now: float) -> Step:
        """The step for a picture of this width and height; call it anew several times a second.

        The first one of each size fits at once.
        """
        if size != self._size:
            self._measure(size)
            self._at = self._fitting(target_bps)
            self._low_since = self._high_since = None
            return self._steps[self._at]
        if target_bps >= self._needs_bps[self._at]:
            self._low_since = None
        elif self._low_since is None:
            self._low_since = now
        better = self._fitting(target_bps / MARGIN)
        if better >= self._at:
            self._high_since = None
        elif self._high_since is None:
            self._high_since = now
        if self._low_since is not None and now - self._low_since >= DOWN_S:
            self._at, self._low_since = self._fitting(target_bps), None
        elif self._high_since is not None and now - self._high_since >= UP_S:
            self._at, self._high_since = better, None
        return self._steps[self._at]

    def _measure(self, size: tuple[int, int]) -> None:
        """List the steps of a picture of this size, and what each needs."""
        self._size = size
        width, height = size
        slowest = self._rates[-1]
        divisors = [d for d in SIZE_DIVISORS[1:] if height // d >= LEAST_HEIGHT]
        self._steps = [Step(fps, 1) for fps in self._rates] + [Step(slowest, d) for d in divisors]
        pixels = [width * height * step.fps / step.size_divisor**2 for step in self._steps]
        most = max(1.0, pixels[0])
        # Whoever asks for less than the floor at the best of times is given it; the way back, which takes
        # the margin again, must be open a margin below the ceiling: parity packets and sound take of it.
        floor = min(FLOOR_BITS_PER_PIXEL, self._ceiling_bps / MARGIN**2 / most)
        self._needs_bps = [int(floor * rate) for rate in pixels]

    def _fitting(self, target_bps: float) -> int:
        """The best step that the target suffices for; the last one in any case."""
        last = len(self._steps) - 1
        return next((n for n, need in enumerate(self._needs_bps) if target_bps >= need), last)


def _frame_rates(fps: int) -> list[int]:
    rates = [fps]
    while rates[-1] // 2 >= LEAST_FPS:
        rates.append(rates[-1] // 2)
    return rates
