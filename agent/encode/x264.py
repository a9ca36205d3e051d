"""H.264 by libx264: constrained baseline, no delay, one picture's worth of rate buffer."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import ClassVar

from av.video.codeccontext import VideoCodecContext

from agent.capture.base import Box
from agent.encode.base import EncoderSettings, VideoCodec
from agent.encode.hints import ChangeHint
from agent.encode.live_options import LiveOptions
from agent.encode.pyav import OpenRequest, PyAVEncoder, open_context, why_unusable

QUALITY_CEILING = "16"
"""x264's constant rate factor; where it asks for more than the rate, the rate buffer rules. A picture that
stands still is refined to about 50 dB and then left alone; with a bitrate as its aim x264 goes on for ever."""


def vbv_bits(settings: EncoderSettings) -> int:
    """The rate buffer: one picture at the nominal rate, so no picture is much bigger than the mean."""
    return max(1, settings.bitrate_bps // settings.fps)


def slice_threads() -> int:
    """How many slices are encoded side by side.

    Against one, two take a twentieth more CPU time when everything moves and a fifth less when nearly
    nothing does, and save up to two fifths of the time; more would take cores from the application.
    """
    return min(2, os.cpu_count() or 1)


class X264Encoder(PyAVEncoder):
    """libx264 through PyAV."""

    name: ClassVar[str] = "x264"
    encoder: ClassVar[str] = "libx264"
    codec: ClassVar[VideoCodec] = "H264"

    def __init__(self, settings: EncoderSettings, threads: int | None = None) -> None:
        self._threads = threads or slice_threads()
        self._live: LiveOptions | None = None
        self._changes: ChangeHint | None = None
        super().__init__(settings)

    @staticmethod
    def probe() -> str | None:
        """None when PyAV carries libx264."""
        return why_unusable("libx264")

    def _open(self, settings: EncoderSettings) -> VideoCodecContext:
        options = {
            "preset": "ultrafast",
            # Two of the tools that ultrafast leaves out: together 1.1 dB for 0.4 ms on scrolling text
            # at 720p60 and 8 Mbit/s, as much as superfast gives for 1 ms.
            "x264-params": "no-deblock=0:partitions=i4x4",
            # no B-frames, no lookahead, sliced threads, and timestamps that do not rule the rate
            # (b_vfr_input = 0): with variable rate input x264 holds one picture back
            "tune": "zerolatency",
            # RFC 6184 8.1: with constraint_set1_flag set by x264 this is Constrained Baseline, 42e0
            "profile": "baseline",
            "crf": QUALITY_CEILING,
            "maxrate": str(settings.bitrate_bps),
            "bufsize": str(vbv_bits(settings)),
            "forced-idr": "1",
            "sc_threshold": "0",
        }
        self._changes = ChangeHint.of(self._converter.frame, self._converter.planes)
        if self._changes is not None:
            options["mb_info"] = "1"
        context = open_context(
            OpenRequest(
                self.encoder,
                self._converter.width,
                self._converter.height,
                settings,
                self._threads,
                options,
            )
        )
        self._live = LiveOptions.of(context)
        return context

    def set_bitrate(self, bitrate_bps: int) -> None:
        """Change the rate and its buffer from the next picture on, with no key frame.

        libx264's wrapper compares both values with its own before each picture. Where they
        cannot be set on the open encoder it is opened again, which makes a key frame.
        """
        if self._context is None or bitrate_bps == self._settings.bitrate_bps:
            return
        self._settings = replace(self._settings, bitrate_bps=bitrate_bps)
        wanted = {"maxrate": bitrate_bps, "bufsize": vbv_bits(self._settings)}
        if self._live is None or not all(self._live.set(*item) for item in wanted.items()):
            self._context = self._open(self._settings)

    def _hint(self, changed: Box | None) -> None:
        if self._changes is not None:
            self._changes.set(changed)

    def close(self) -> None:
        """See VideoEncoder.close."""
        self._live = None
        super().close()
