"""A real encode by one encoder: how fast, at which rate, and whether it follows a new rate and gives key frames."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from agent.capture.base import Frame, Pixels
from agent.doctor.report import Check, State
from agent.encode.base import AccessUnit, EncoderSettings, VideoEncoder

WIDTH: Final = 640
HEIGHT: Final = 360
FPS: Final = 30
SQUARE: Final = 40
RATE_BPS: Final = 3_000_000
LOWER_BPS: Final = 750_000
PICTURES: Final = 45
SETTLED: Final = 15
"""Pictures at the start of each part that its rate is not measured over."""
FOLLOWS: Final = 0.5
"""A quarter was asked for; at most this share of the rate before says that it follows."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What came out of the three parts: at the first rate, at the lower one, and the one key frame asked for."""

    before: list[AccessUnit]
    after: list[AccessUnit]
    asked: AccessUnit


def attempt(backend: Any) -> Check:
    """Open, encode, change the rate, ask for a key frame. Raises EncoderUnavailable."""
    encoder: VideoEncoder = backend(EncoderSettings(WIDTH, HEIGHT, FPS, RATE_BPS))
    pictures = _pictures()

    def encode(*, keyframe: bool = False) -> AccessUnit:
        number, pixels = next(pictures)
        frame = Frame(pixels, number * 1_000_000 // FPS, 0, lambda: None)
        return encoder.encode(frame, keyframe=keyframe)

    try:
        before = [encode(keyframe=number == 0) for number in range(PICTURES)]
        encoder.set_bitrate(LOWER_BPS)
        after = [encode() for _ in range(PICTURES)]
        trial = Trial(before, after, encode(keyframe=True))
    finally:
        encoder.close()
    return _judged(f"{backend.name} {backend.codec}", backend.codec, trial)


def _judged(name: str, codec: str, trial: Trial) -> Check:
    before_bps, after_bps = _rate_bps(trial.before), _rate_bps(trial.after)
    keyframes = sum(unit.keyframe for unit in trial.after)
    encode_ms = statistics.median(unit.encode_us for unit in trial.before) / 1000
    how = "on the open encoder" if keyframes == 0 else f"with {keyframes} key frame"
    words = (
        f"{encode_ms:.1f} ms a picture of {WIDTH}x{HEIGHT}; {_mbit(RATE_BPS)} -> {_mbit(LOWER_BPS)} Mbit/s"
        f" asked, {_mbit(before_bps)} -> {_mbit(after_bps)} made, {how}"
    )
    state: State = "works"
    if after_bps > FOLLOWS * before_bps:
        state, words = "fails", f"it does not follow a new rate: {words}"
    elif not (trial.before[0].keyframe and trial.asked.keyframe):
        state, words = "fails", f"it gives no key frame when asked: {words}"
    figures: dict[str, str | int | float | bool] = {
        "codec": codec,
        "encode_ms": round(encode_ms, 2),
        "before_bps": round(before_bps),
        "after_bps": round(after_bps),
        "keyframes_by_change": keyframes,
    }
    return Check("encoder", name, state, words, figures)


def _rate_bps(units: list[AccessUnit]) -> float:
    settled = units[SETTLED:]
    return sum(len(unit.payload) for unit in settled) * 8 * FPS / len(settled)


def _mbit(bps: float) -> str:
    return f"{bps / 1_000_000:.2f}"


def _pictures() -> Iterator[tuple[int, Pixels]]:
    """Large squares that glide, under noise: more than the rates carry finely, so that the rates rule.

    Coarse enough for an encoder that finds no motion: libvpx searches less on a busy machine, and with small
    squares came to 2 Mbit/s at its coarsest.
    """
    chance = np.random.default_rng(1)
    coarse = chance.integers(0, 256, (HEIGHT // SQUARE, WIDTH // SQUARE, 4), np.uint8)
    squares = coarse.repeat(SQUARE, axis=0).repeat(SQUARE, axis=1)
    noise = chance.integers(0, 24, (HEIGHT, WIDTH, 4), np.uint8)
    number = 0
    while True:
        glided = np.roll(squares, (number, number * 2), axis=(0, 1))
        yield number, glided // 2 + np.roll(noise, number * 17, axis=1)
        number += 1
