"""VP8 and VP9 by libvpx, for browsers without H.264."""

from __future__ import annotations

from typing import ClassVar

from agent.encode.base import EncoderSettings, VideoCodec
from agent.encode.pyav import PyAVEncoder


class _VpxEncoder(PyAVEncoder):
    """libvpx through PyAV, in its realtime mode. FFmpeg's wrapper reads the rate only when it opens."""

    name: ClassVar[str] = "vpx"
    # libvpx's threads spin while they wait for each other: on two busy cores a second one made 720p
    # pictures take four times the CPU time and many times as long.
    threads: ClassVar[int] = 1

    def _buffer_bits(self, bps: int, fps: int) -> int:
        """A tenth of a second: libvpx counts in whole milliseconds and drops below that."""
        return bps // 10

    def _options(self, settings: EncoderSettings) -> dict[str, str]:
        return {
            "deadline": "realtime",
            "lag-in-frames": "0",
            "auto-alt-ref": "0",
            "minrate": str(settings.bitrate_bps),
            # a picture that does not fit is coded coarser, never dropped
            "drop-threshold": "0",
            "qmax": "56",
        }


class VP8Encoder(_VpxEncoder):
    """The cheaper one."""

    encoder: ClassVar[str] = "libvpx"
    codec: ClassVar[VideoCodec] = "VP8"

    def _options(self, settings: EncoderSettings) -> dict[str, str]:
        return super()._options(settings) | {"cpu-used": "12", "error-resilient": "default"}


class VP9Encoder(_VpxEncoder):
    """Four times the CPU time of VP8 at its fastest, for a picture 1 to 6 dB better."""

    encoder: ClassVar[str] = "libvpx-vp9"
    codec: ClassVar[VideoCodec] = "VP9"

    def _options(self, settings: EncoderSettings) -> dict[str, str]:
        return super()._options(settings) | {"cpu-used": "8", "frame-parallel": "0"}
