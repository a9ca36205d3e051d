"""H.264 by libx264: no delay, one picture's worth of rate buffer, and a ceiling of quality."""

from __future__ import annotations

import os
from typing import ClassVar

from av.video.codeccontext import VideoCodecContext

from agent.capture.base import Box
from agent.encode.base import EncoderSettings, Profile, VideoCodec
from agent.encode.hints import ChangeHint
from agent.encode.pyav import PyAVEncoder

QUALITY_CEILING = "16"
"""x264's constant rate factor; where it asks for more than the rate, the rate buffer rules. A picture that
stands still is refined to about 50 dB and then left alone; with a bitrate as its aim x264 goes on for ever."""


def slice_threads() -> int:
    """How many slices are encoded side by side.

    Against one, two take a twentieth more CPU time when everything moves and a fifth less when nearly
    nothing does, and save up to two fifths of the time; more would take cores from the application.
    """
    return min(2, os.cpu_count() or 1)


class X264Encoder(PyAVEncoder):
    """libx264 through PyAV.

    It likes best to be asked for Constrained Baseline: CABAC, which Main and High add, takes a seventh
    more CPU time for 0.5 to 1 dB.
    """

    name: ClassVar[str] = "x264"
    encoder: ClassVar[str] = "libx264"
    codec: ClassVar[VideoCodec] = "H264"
    profiles: ClassVar[tuple[Profile, ...]] = ("baseline", "main", "high")
    live_rate: ClassVar[bool] = True
    threads: ClassVar[int] = slice_threads()
    asked: ClassVar[float] = 1.15
    """With a rate buffer of one picture x264 makes 80 to 86 % of what it is asked for, whatever moves."""
    _changes: ChangeHint | None = None

    def _options(self, settings: EncoderSettings) -> dict[str, str]:
        cabac = int(settings.profile != "baseline")
        return {
            "preset": "ultrafast",
            # Two of the tools that ultrafast leaves out: together 1.1 dB for 0.4 ms on scrolling text
            # at 720p60 and 8 Mbit/s, as much as superfast gives for 1 ms.
            "x264-params": f"no-deblock=0:partitions=i4x4:cabac={cabac}",
            # no B-frames, no lookahead, sliced threads, and timestamps that do not rule the rate
            # (b_vfr_input = 0): with variable rate input x264 holds one picture back
            "tune": "zerolatency",
            # RFC 6184 8.1: with constraint_set1_flag set by x264 baseline is Constrained Baseline, 42e0
            "profile": settings.profile,
            "crf": QUALITY_CEILING,
            "forced-idr": "1",
            "sc_threshold": "0",
            "mb_info": str(int(self._changes is not None)),
        }

    def _open(self, settings: EncoderSettings) -> VideoCodecContext:
        # Opened again, it has the frame that it had: of two hints FFmpeg would read the first.
        self._changes = self._changes or ChangeHint.of(
            self._converter.frame, self._converter.planes
        )
        return super()._open(settings)

    def _hint(self, changed: Box | None) -> None:
        if self._changes is not None:
            self._changes.set(changed)
