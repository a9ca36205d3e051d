"""H.264 by Windows' Media Foundation, with whatever encoder it has for the card."""

from __future__ import annotations

from typing import ClassVar

from agent.encode.base import EncoderSettings, Profile
from agent.encode.hardware import HardwareEncoder


class MediaFoundationEncoder(HardwareEncoder):
    """h264_mf. Its wrapper reads the rate when it opens, and makes Baseline when nothing is said."""

    name: ClassVar[str] = "mediafoundation"
    encoder: ClassVar[str] = "h264_mf"
    surfaces: ClassVar[frozenset[str]] = frozenset(("d3d11",))
    profiles: ClassVar[tuple[Profile, ...]] = ("baseline",)

    def _options(self, settings: EncoderSettings) -> dict[str, str]:
        return {"rate_control": "cbr", "scenario": "display_remoting", "hw_encoding": "1"}
