"""H.264 by Intel's encoder (Quick Sync Video)."""

from __future__ import annotations

from typing import ClassVar

from agent.encode.base import EncoderSettings
from agent.encode.hardware import HardwareEncoder


class QsvEncoder(HardwareEncoder):
    """h264_qsv; its wrapper compares the rate with its own before each picture (qsvenc.c, update_rc_params)."""

    name: ClassVar[str] = "qsv"
    encoder: ClassVar[str] = "h264_qsv"
    vendor: ClassVar[str | None] = "8086"
    live_rate: ClassVar[bool] = True

    def _options(self, settings: EncoderSettings) -> dict[str, str]:
        return {
            "preset": "veryfast",
            "async_depth": "1",
            "look_ahead": "0",
            "low_delay_brc": "1",
            "scenario": "displayremoting",
            "forced_idr": "1",
            "repeat_pps": "1",
            "profile": self._profile(settings),
        }
