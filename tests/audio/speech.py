"""A voice that libopus takes for one, and a look into the packets that become of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from agent.audio.base import BLOCK_SAMPLES, SAMPLE_RATE_HZ, Block

SILK_ONLY: Final = 11
"""The last configuration of SILK alone; 12 to 15 are hybrid, the others CELT (RFC 6716 3.1)."""
HYBRID: Final = 15


def speech(blocks: int) -> Iterator[Block]:
    """Harmonics of 150 Hz with vibrato, in four syllables a second: half of the time silence."""
    for number in range(blocks):
        times = (np.arange(BLOCK_SAMPLES) + number * BLOCK_SAMPLES) / SAMPLE_RATE_HZ
        phase = 2 * np.pi * 150 * times - 10 * np.cos(2 * np.pi * 3 * times)
        voice = sum(np.sin(k * phase) / k for k in range(1, 20))
        syllables = np.clip(np.sin(2 * np.pi * 4 * times), 0, 1)
        yield np.repeat((6000 * voice * syllables).astype(np.int16)[:, None], 2, axis=1)


def repeats_the_one_before(packet: bytes) -> bool:
    """Whether a packet of one stereo frame carries low bit-rate redundancy (RFC 6716 4.2.3).

    The flags are the first bits of the range coder, whose symbols of equal chance stand as they are:
    voice activity and redundancy of the middle, then of the side.
    """
    return packet[0] >> 3 <= HYBRID and bool(packet[1] & 0b0101_0000)
