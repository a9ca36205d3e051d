"""VP8 by libvpx, for browsers without H.264."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from av.video.codeccontext import VideoCodecContext

from agent.encode.base import EncoderSettings, VideoCodec
from agent.encode.pyav import OpenRequest, PyAVEncoder, open_context, why_unusable

REOPEN_RATIO = 0.15
"""A new rate within 15 % of the running one is not worth the key frame that it costs here."""

THREADS = 1
"""libvpx's threads spin while they wait for each other: on two busy cores a second one made 720p
pictures take four times the CPU time and many times as long."""


class VP8Encoder(PyAVEncoder):
    """libvpx VP8 through PyAV, in its realtime mode."""

    name: ClassVar[str] = "vpx"
    encoder: ClassVar[str] = "libvpx"
    codec: ClassVar[VideoCodec] = "VP8"

    @staticmethod
    def probe() -> str | None:
        """None when PyAV carries libvpx."""
        return why_unusable("libvpx")

    def _open(self, settings: EncoderSettings) -> VideoCodecContext:
        rate = settings.bitrate_bps
        options = {
            "deadline": "realtime",
            "cpu-used": "12",
            "error-resilient": "default",
            "lag-in-frames": "0",
            "auto-alt-ref": "0",
            "minrate": str(rate),
            "maxrate": str(rate),
            # a tenth of a second: libvpx counts in whole milliseconds and drops below that
            "bufsize": str(rate // 10),
            # a picture that does not fit is coded coarser, never dropped
            "drop-threshold": "0",
            "qmax": "56",
        }
        return open_context(
            OpenRequest(
                self.encoder,
                self._converter.width,
                self._converter.height,
                settings,
                THREADS,
                options,
            )
        )

    def set_bitrate(self, bitrate_bps: int) -> None:
        """Aim at another rate.

        FFmpeg's wrapper of libvpx reads the rate only when it opens, so the encoder is opened again
        and the next picture is a key frame; small changes are left alone.
        """
        running = self._settings.bitrate_bps
        if self._context is None or abs(bitrate_bps - running) < running * REOPEN_RATIO:
            return
        self._settings = replace(self._settings, bitrate_bps=bitrate_bps)
        self._context = self._open(self._settings)
