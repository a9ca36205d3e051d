"""What the H.264 encoders of graphics cards share: low latency by FFmpeg's options, and a trial before use.

Pictures come from the computer's memory. None of these has run on its hardware yet: the trial decides on
each machine, and where it fails the next encoder is taken.
"""

from __future__ import annotations

from typing import ClassVar

from agent.encode.adapters import why_absent
from agent.encode.base import EncoderSettings, Profile, VideoCodec
from agent.encode.pyav import PyAVEncoder, why_unusable
from agent.encode.trial import Trial


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
            _tried[cls.encoder] = Trial(cls)
        return reason or _tried[cls.encoder].outcome()

    def _profile(self, settings: EncoderSettings) -> str:
        return self.constrained_baseline if settings.profile == "baseline" else settings.profile


_tried: dict[str, Trial] = {}
"""The trial of each encoder in this process."""
