"""H.264 by libx264: no delay, a ceiling of quality, and a rate buffer of one picture where the path has no room."""

from __future__ import annotations

import logging
import os
from typing import ClassVar

import av
from av.video.codeccontext import VideoCodecContext

from agent.capture.base import Box
from agent.encode.base import EncoderSettings, EncoderUnavailable, Profile, VideoCodec
from agent.encode.hints import ChangeHint
from agent.encode.pyav import PyAVEncoder
from agent.encode.unbuffered import Unbuffered

logger = logging.getLogger(__name__)

QUALITY_CEILING = "16"
"""x264's constant rate factor; where it asks for more than the rate, the rate buffer rules. A picture that
stands still is refined to about 50 dB and then left alone; with a bitrate as its aim x264 goes on for ever."""

PRESET = "ultrafast"


def _tools(settings: EncoderSettings) -> dict[str, str]:
    """Two of those that ultrafast leaves out.

    Together 1.1 dB for 0.4 ms on scrolling text at 720p60 and 8 Mbit/s, as much as superfast gives for 1 ms.
    """
    cabac = str(int(settings.profile != "baseline"))
    return {"no-deblock": "0", "partitions": "i4x4", "cabac": cabac}


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
    uses_room: ClassVar[bool] = True
    _changes: ChangeHint | None = None
    _unbuffered: Unbuffered | None = None
    """What encodes in place of FFmpeg."""

    def _options(self, settings: EncoderSettings) -> dict[str, str]:
        tools = ":".join(f"{name}={value}" for name, value in _tools(settings).items())
        return {
            "preset": PRESET,
            "x264-params": tools,
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

    def _open(self, settings: EncoderSettings) -> VideoCodecContext | None:
        if settings.room:
            try:
                self._unbuffered = self._open_unbuffered(settings)
            except EncoderUnavailable as problem:
                logger.info("x264 keeps its rate buffer: %s", problem)
            else:
                return None
        # Opened again, it has the frame that it had: of two hints FFmpeg would read the first.
        self._changes = self._changes or ChangeHint.of(
            self._converter.frame, self._converter.planes
        )
        return super()._open(settings)

    def _open_unbuffered(self, settings: EncoderSettings) -> Unbuffered:
        options = {
            **_tools(settings),
            "threads": str(self.threads),
            "sliced-threads": "1",
            "fps": str(settings.fps),
            "fullrange": "off",
            "colormatrix": "smpte170m",
            "colorprim": "bt709",
            "transfer": "iec61966-2-1",
        }
        return Unbuffered(settings, self._converter.planes, PRESET, options)

    def set_bitrate(self, bitrate_bps: int) -> None:
        """See VideoEncoder.set_bitrate."""
        if self._unbuffered is None:
            super().set_bitrate(bitrate_bps)
        else:
            self._unbuffered.set_bitrate(bitrate_bps)

    def _unit(self, picture: av.VideoFrame, keyframe: bool) -> tuple[bytes, bool]:
        if self._unbuffered is None:
            return super()._unit(picture, keyframe)
        return self._unbuffered.encode(keyframe=keyframe)

    def close(self) -> None:
        """See VideoEncoder.close."""
        super().close()
        if self._unbuffered is not None:
            self._unbuffered.close()

    def _hint(self, changed: Box | None) -> None:
        if self._unbuffered is not None:
            self._unbuffered.hint(changed)
        elif self._changes is not None:
            self._changes.set(changed)
