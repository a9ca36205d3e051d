"""What an audio source backend is: 10 ms blocks of the host's sound, on their way to Opus."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol, TypeAlias

if TYPE_CHECKING:  # a process that supervises alone must not carry numpy
    import numpy as np
    import numpy.typing as npt

SAMPLE_RATE_HZ = 48_000
CHANNELS = 2
BLOCK_SAMPLES = 480
"""10 ms: RFC 6716 2.1.4 names 10 ms as the smallest frame with full coding tools beside 2.5 and 5 ms."""

Block: TypeAlias = "npt.NDArray[np.int16]"
"""Shape (480, 2), interleaved left and right, native byte order."""


class AudioUnavailable(Exception):
    """The source cannot be used here; the text says why and what to do."""


class AudioSource(Protocol):
    """One opened source. `read` and `close` are called from one thread, the audio thread."""

    name: ClassVar[str]

    def read(self) -> Block:
        """Block until the next 10 ms are there; never longer than 1 s. Silence is a block of zeros.

        Raises AudioUnavailable when the device is gone; the caller opens a source again with back-off.
        """
        ...

    def close(self) -> None:
        """Give back every resource. Idempotent."""
        ...
