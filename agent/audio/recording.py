"""From what a sound device records, whenever it comes, to blocks in time: what PulseAudio and WASAPI have in common."""

from __future__ import annotations

import time
from typing import Protocol

import numpy as np

from agent.audio.base import BLOCK_SAMPLES, CHANNELS, SAMPLE_RATE_HZ, AudioUnavailable, Block

BLOCK_BYTES = BLOCK_SAMPLES * CHANNELS * 2
BLOCK_S = BLOCK_SAMPLES / SAMPLE_RATE_HZ

PATIENCE_S = 0.04
"""How late a block may come before silence takes its place: where nothing plays, a suspended PulseAudio monitor
and a WASAPI loopback send nothing."""

MAX_BACKLOG_BYTES = 6 * BLOCK_BYTES
KEPT_BACKLOG_BYTES = 2 * BLOCK_BYTES
"""Beyond 60 ms of unread sound all but the newest 20 ms are dropped, so delay never builds up."""


class Device(Protocol):
    """An open recording of 48 kHz stereo s16. Used and closed by one thread."""

    def receive(self) -> bytes:
        """All that has arrived, at once. Raises AudioUnavailable when the recording has ended."""
        ...

    def wait(self, timeout_s: float) -> None:
        """Until something may have arrived, at most `timeout_s`."""
        ...

    def close(self) -> None:
        """Give back every resource. Idempotent."""
        ...


class Recording:
    """An AudioSource of what a device records. While it sends nothing, `read` gives silence."""

    def __init__(self, device: Device) -> None:
        """The device is closed with it."""
        self._closed = False
        self._pending = bytearray()
        self._device = device
        self._due = time.monotonic() + BLOCK_S

    def read(self) -> Block:
        """The next 10 ms; after 10 ms and PATIENCE_S without sound, a block of zeros."""
        if self._closed:
            raise AudioUnavailable("the sound source is closed")
        self._receive()
        while len(self._pending) < BLOCK_BYTES:
            remaining_s = self._due + PATIENCE_S - time.monotonic()
            if remaining_s <= 0:
                self._due += BLOCK_S
                return np.zeros((BLOCK_SAMPLES, CHANNELS), np.int16)
            self._device.wait(remaining_s)
            self._receive()
        self._due = time.monotonic() + BLOCK_S
        block = np.frombuffer(bytes(self._pending[:BLOCK_BYTES]), "<i2")
        del self._pending[:BLOCK_BYTES]
        return block.reshape(BLOCK_SAMPLES, CHANNELS)

    def close(self) -> None:
        """See AudioSource.close."""
        if not self._closed:
            self._closed = True
            self._device.close()

    def _receive(self) -> None:
        """Take over what has arrived."""
        self._pending += self._device.receive()
        if len(self._pending) > MAX_BACKLOG_BYTES:
            del self._pending[:-KEPT_BACKLOG_BYTES]
