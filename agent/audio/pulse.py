"""The desktop's sound: the monitor of the default output, from PulseAudio or PipeWire."""

from __future__ import annotations

import time
from typing import ClassVar

import numpy as np

from agent.audio.base import BLOCK_SAMPLES, CHANNELS, SAMPLE_RATE_HZ, AudioUnavailable, Block
from agent.audio.libpulse import Connection

DEVICE = "@DEFAULT_MONITOR@"
BLOCK_BYTES = BLOCK_SAMPLES * CHANNELS * 2
BLOCK_S = BLOCK_SAMPLES / SAMPLE_RATE_HZ

PATIENCE_S = 0.04
"""How late a block may come before silence takes its place: a suspended monitor sends nothing."""

MAX_BACKLOG_BYTES = 6 * BLOCK_BYTES
KEPT_BACKLOG_BYTES = 2 * BLOCK_BYTES
"""Beyond 60 ms of unread sound all but the newest 20 ms are dropped, so delay never builds up."""

CONNECT_LIMIT_S = 2.0


class PulseSource:
    """Records what the host plays. While the server sends nothing, `read` gives silence."""

    name: ClassVar[str] = "pulse"

    def __init__(self) -> None:
        self._closed = False
        self._pending = bytearray()
        self._connection = Connection(CONNECT_LIMIT_S)
        try:
            self._connection.record(DEVICE, BLOCK_BYTES, CONNECT_LIMIT_S)
        except AudioUnavailable:
            self._connection.close()
            raise
        self._due = time.monotonic() + BLOCK_S

    @staticmethod
    def probe() -> str | None:
        """None when a sound server answers, else what is missing in words."""
        try:
            Connection(CONNECT_LIMIT_S).close()
        except AudioUnavailable as problem:
            return str(problem)
        return None

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
            self._connection.wait(remaining_s)
            self._receive()
        self._due = time.monotonic() + BLOCK_S
        block = np.frombuffer(bytes(self._pending[:BLOCK_BYTES]), "<i2")
        del self._pending[:BLOCK_BYTES]
        return block.reshape(BLOCK_SAMPLES, CHANNELS)

    def close(self) -> None:
        """See AudioSource.close."""
        if not self._closed:
            self._closed = True
            self._connection.close()

    def _receive(self) -> None:
        """Take over what has arrived."""
        self._connection.wait(0.0)
        if not self._connection.is_recording():
            raise AudioUnavailable("the sound server ended the recording: is it still running?")
        while fragment := self._connection.take():
            self._pending += fragment
        if len(self._pending) > MAX_BACKLOG_BYTES:
            del self._pending[:-KEPT_BACKLOG_BYTES]
