"""A steady tone as an audio source: the sound of the test pattern."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from agent.audio.base import BLOCK_SAMPLES, CHANNELS, SAMPLE_RATE_HZ, Block
from agent.audio.pace import BlockClock

TONE_HZ = 440
AMPLITUDE = 0.25 * 32767
"""12 dB below full scale."""


class ToneSource:
    """A sine of 440 Hz on both channels, one block each 10 ms."""

    name: ClassVar[str] = "tone"

    def __init__(self, frequency_hz: float = TONE_HZ) -> None:
        self._clock = BlockClock()
        self._step = 2 * np.pi * frequency_hz / SAMPLE_RATE_HZ
        self._position = 0

    @staticmethod
    def probe() -> str | None:
        """It works everywhere."""
        return None

    def read(self) -> Block:
        """The next 10 ms of the tone; the phase runs on from block to block."""
        self._clock.wait()
        positions = np.arange(self._position, self._position + BLOCK_SAMPLES)
        self._position += BLOCK_SAMPLES
        wave = (np.sin(positions * self._step) * AMPLITUDE).astype(np.int16)
        return np.repeat(wave[:, np.newaxis], CHANNELS, axis=1)

    def close(self) -> None:
        """Nothing to give back."""
