"""Silence as an audio source: what is sent where the host has no sound."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from agent.audio.base import BLOCK_SAMPLES, CHANNELS, Block
from agent.audio.pace import BlockClock


class SilenceSource:
    """Blocks of zeros, one each 10 ms."""

    name: ClassVar[str] = "silence"

    def __init__(self) -> None:
        self._clock = BlockClock()
        self._block = np.zeros((BLOCK_SAMPLES, CHANNELS), np.int16)

    @staticmethod
    def probe() -> str | None:
        """It works everywhere."""
        return None

    def read(self) -> Block:
        """The next 10 ms of nothing; the caller must not write to it."""
        self._clock.wait()
        return self._block

    def close(self) -> None:
        """Nothing to give back."""
