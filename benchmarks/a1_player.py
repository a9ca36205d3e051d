"""Plays A1's chirps into a PulseAudio sink; its own process. A line for each says which, and when it sounds.

The time is when the sink has it sound: the server's own account of what is still ahead of a sample, on
CLOCK_MONOTONIC. What the player and the server hold in buffers is therefore no part of any delay.
"""

from __future__ import annotations

import ctypes
import json
import random
import time
from typing import Any, Final

import numpy as np

from agent.audio.base import CHANNELS
from agent.audio.libpulse import SAMPLE_S16LE, SERVER_DECIDES, BufferAttr, SampleSpec
from benchmarks.a1_sound import (
    JITTER_S,
    KINDS,
    LOUDNESS,
    NOISE,
    RATE_HZ,
    SPACING_S,
    Samples,
    chirp,
)

PLAYBACK: Final = 1
"""PA_STREAM_PLAYBACK of pulse/def.h."""
BUFFER_BYTES: Final = RATE_HZ // 20 * CHANNELS * 2
"""50 ms: short enough to be known well, long enough for a busy machine."""
SEED: Final = 1


class Player:
    """A stream to the default sink of the server that PULSE_SERVER names (pulse/simple.h)."""

    def __init__(self) -> None:
        self._pulse: Any = ctypes.CDLL("libpulse-simple.so.0")
        self._pulse.pa_simple_new.restype = ctypes.c_void_p
        self._pulse.pa_simple_get_latency.restype = ctypes.c_uint64
        spec = SampleSpec(SAMPLE_S16LE, RATE_HZ, CHANNELS)
        wanted = BufferAttr(SERVER_DECIDES, BUFFER_BYTES, *[SERVER_DECIDES] * 3)
        self._error = ctypes.c_int()
        stream = self._pulse.pa_simple_new(
            None, b"A1", PLAYBACK, None, b"chirps", ctypes.byref(spec), None,
            ctypes.byref(wanted), ctypes.byref(self._error),
        )  # fmt: skip
        if not stream:
            raise OSError(f"PulseAudio takes no sound: error {self._error.value}")
        self._stream = ctypes.c_void_p(stream)

    def sounds_at_s(self) -> float:
        """When what is written next will sound, in seconds of CLOCK_MONOTONIC."""
        ahead_us: int = self._pulse.pa_simple_get_latency(self._stream, ctypes.byref(self._error))
        return time.monotonic() + ahead_us / 1e6

    def write(self, samples: Samples) -> None:
        """Play on both channels; returns when the buffer has room for it."""
        both = np.repeat((samples * 32767).astype("<i2"), CHANNELS)
        size = ctypes.c_size_t(both.nbytes)
        failed = self._pulse.pa_simple_write(
            self._stream, ctypes.c_void_p(both.ctypes.data), size, ctypes.byref(self._error)
        )
        if failed < 0:
            raise OSError(f"PulseAudio takes no more sound: error {self._error.value}")


def main() -> None:
    """Play until it is ended."""
    player = Player()
    chance, noise = random.Random(SEED), np.random.default_rng(SEED)
    chirps = [LOUDNESS * chirp(kind) for kind in range(KINDS)]

    def bed(count: int) -> Samples:
        return (NOISE * noise.standard_normal(count)).astype(np.float32)

    number = 0
    while True:
        kind = number % KINDS
        at_s = player.sounds_at_s()
        player.write(chirps[kind] + bed(len(chirps[kind])))
        print(json.dumps([kind, at_s]), flush=True)
        pause_s = SPACING_S + JITTER_S * (2 * chance.random() - 1)
        player.write(bed(round(pause_s * RATE_HZ) - len(chirps[kind])))
        number += 1


if __name__ == "__main__":
    main()
