"""Keeps a synthetic audio source on the clock: one block each 10 ms."""

from __future__ import annotations

import time

from agent.audio.base import BLOCK_SAMPLES, SAMPLE_RATE_HZ

BLOCK_S = BLOCK_SAMPLES / SAMPLE_RATE_HZ

MAX_LAG_S = 0.1
"""Behind by more than this (the machine slept), the missed blocks are skipped, not sent in a burst."""


class BlockClock:
    """Sleeps until the next block is due."""

    def __init__(self) -> None:
        self._due = time.monotonic()

    def wait(self) -> None:
        """Block until the next block's time; at most one block's length."""
        now = time.monotonic()
        if now - self._due > MAX_LAG_S:
            self._due = now
        self._due += BLOCK_S
        if self._due > now:
            time.sleep(self._due - now)
