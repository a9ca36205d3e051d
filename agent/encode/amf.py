"""H.264 by AMD's encoder."""

from __future__ import annotations

from typing import ClassVar

from agent.encode.base import EncoderSettings
from agent.encode.hardware import HardwareEncoder


class AmfEncoder(HardwareEncoder):
    """h264_amf. Its wrapper reads the rate when it opens."""

    name: ClassVar[str] = "amf"
    encoder: ClassVar[str] = "h264_amf"
    surfaces: ClassVar[frozenset[str]] = frozenset(("d3d11",))
    vendor: ClassVar[str | None] = "1002"
    constrained_baseline: ClassVar[str] = "constrained_baseline"

    def _options(self, settings: EncoderSettings) -> dict[str, str]:
        return {
            "usage": "ultralowlatency",
            "quality": "speed",
            "rc": "cbr",
            "latency": "1",
            "enforce_hrd": "1",
            "forced_idr": "1",
            "profile": self._profile(settings),
        }
