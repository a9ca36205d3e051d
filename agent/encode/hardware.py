"""What the H.264 encoders of graphics cards share: low latency by FFmpeg's options, and a trial before use.

Pictures come from the computer's memory. None of these has run on its hardware yet: the trial decides on
each machine, and where it fails the next encoder is taken.
"""

from __future__ import annotations

import logging
import threading
from typing import ClassVar, Final

import numpy as np

from agent.capture.base import Frame
from agent.encode.adapters import why_absent
from agent.encode.base import EncoderSettings, EncoderUnavailable, Profile, VideoCodec
from agent.encode.pyav import PyAVEncoder, why_unusable

logger = logging.getLogger(__name__)

TRIAL = EncoderSettings(640, 360, 30, 2_000_000)
TRIAL_PICTURES = 4
TRIAL_LIMIT_S: Final = 3.0
"""Less than the host waits for all of its probes."""


class HardwareEncoder(PyAVEncoder):
    """Subclasses name the encoder and its options; CABAC costs a card nothing, so High is liked best."""

    codec: ClassVar[VideoCodec] = "H264"
    profiles: ClassVar[tuple[Profile, ...]] = ("high", "main", "baseline")
    pixel_format: ClassVar[str] = "nv12"
    buffer_pictures: ClassVar[float] = 1.5
    vendor: ClassVar[str | None] = None
    """The PCI vendor whose card it needs; None: any."""
    constrained_baseline: ClassVar[str] = "baseline"
    """What the encoder's option calls Constrained Baseline."""

    @classmethod
    def probe(cls) -> str | None:
        """None when PyAV has it, the card is there and the trial went well; else the reason in words."""
        reason = why_unusable(cls.encoder)
        if reason is None and cls.vendor is not None:
            reason = why_absent(cls.vendor)
        if reason is None and cls.encoder not in _tried:
            _tried[cls.encoder] = _try_within_limit(cls)
        return reason or _tried[cls.encoder]

    def _profile(self, settings: EncoderSettings) -> str:
        return self.constrained_baseline if settings.profile == "baseline" else settings.profile


_tried: dict[str, str | None] = {}
"""How the trial of each encoder ended in this process."""


def _try_within_limit(backend: type[HardwareEncoder]) -> str | None:
    """A driver that hangs keeps its thread, and nothing else."""
    said: list[str | None] = []
    thread = threading.Thread(
        target=lambda: said.append(_try_out(backend)), name="trial", daemon=True
    )
    thread.start()
    thread.join(TRIAL_LIMIT_S)
    if said:
        return said[0]
    return f"its trial did not end within {TRIAL_LIMIT_S:g} s; a newer graphics driver may help"


def _try_out(backend: type[HardwareEncoder]) -> str | None:
    """Encode some pictures: some drivers hold pictures back."""
    pixels = np.zeros((TRIAL.height, TRIAL.width, 4), np.uint8)
    try:
        encoder = backend(TRIAL)
        try:
            for number in range(TRIAL_PICTURES):
                frame = Frame(pixels, number, 0, lambda: None)
                encoder.encode(frame, keyframe=number == TRIAL_PICTURES - 1)
        finally:
            encoder.close()
    except EncoderUnavailable as problem:
        return f"{problem}; a newer graphics driver may help"
    except Exception as problem:
        logger.exception("the trial of %s broke", backend.name)
        return f"its trial broke ({type(problem).__name__}): see the log"
    return None
