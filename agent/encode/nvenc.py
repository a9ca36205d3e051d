"""H.264 by NVIDIA's encoder."""

from __future__ import annotations

from typing import ClassVar

from agent.encode.base import EncoderSettings
from agent.encode.hardware import HardwareEncoder


class NvencEncoder(HardwareEncoder):
    """h264_nvenc; its wrapper compares the rate with its own before each picture (nvenc.c, reconfig_encoder)."""

    name: ClassVar[str] = "nvenc"
    encoder: ClassVar[str] = "h264_nvenc"
    surfaces: ClassVar[frozenset[str]] = frozenset(("d3d11", "cuda"))
    vendor: ClassVar[str | None] = "10de"
    live_rate: ClassVar[bool] = True

    def _options(self, settings: EncoderSettings) -> dict[str, str]:
        return {
            "preset": "p3",
            "tune": "ull",
            "rc": "cbr",
            "zerolatency": "1",
            "delay": "0",
            "surfaces": "4",
            "forced-idr": "1",
            "profile": self._profile(settings),
        }
