"""What the H.264 encoders of graphics cards share: low latency by FFmpeg's options, and a trial before use.

Pictures of our own captures come from the computer's memory; those that a capture leaves in the card's
(`Frame.surface`) are read there by encoders that name the format in `surfaces`. None of these has run on its
hardware yet: the trial decides on each machine, and where it fails the next encoder is taken.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any, ClassVar

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
        return cls._begin_trial() or _tried[cls].outcome()

    @classmethod
    def _begin_trial(cls) -> str | None:
        """None when there is a trial, else why there is nothing to try."""
        reason = why_unusable(cls.encoder)
        if reason is None and cls.vendor is not None:
            reason = why_absent(cls.vendor)
        if reason is None and cls not in _tried:
            _tried[cls] = Trial(cls)
        return reason

    def _profile(self, settings: EncoderSettings) -> str:
        return self.constrained_baseline if settings.profile == "baseline" else settings.profile


def begin_trials(encoders: Iterable[Any]) -> None:
    """Begin the trials of all cards that are there: beside each other they take no longer than the slowest."""
    for encoder in encoders:
        if isinstance(encoder, type) and issubclass(encoder, HardwareEncoder):
            with contextlib.suppress(OSError):  # its probe tries again and says so
                encoder._begin_trial()


_tried: dict[type[HardwareEncoder], Trial] = {}
"""The trial of each encoder in this process."""
