"""H.264 by VAAPI, which takes its own surfaces alone."""

from __future__ import annotations

from typing import ClassVar

from agent.encode.base import EncoderSettings
from agent.encode.hardware import HardwareEncoder
from agent.encode.pyav import why_unusable


class VaapiEncoder(HardwareEncoder):
    """h264_vaapi. PyAV's wheels are built without it, and PyAV cannot upload pictures to its surfaces."""

    name: ClassVar[str] = "vaapi"
    encoder: ClassVar[str] = "h264_vaapi"
    pixel_format: ClassVar[str] = "vaapi"

    @classmethod
    def probe(cls) -> str | None:
        """Why not, in words."""
        return why_unusable(cls.encoder) or "PyAV cannot upload pictures to VAAPI's surfaces yet"

    def _options(self, settings: EncoderSettings) -> dict[str, str]:
        return {"rc_mode": "CBR", "async_depth": "1", "profile": self._profile(settings)}
