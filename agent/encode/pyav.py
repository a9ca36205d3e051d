"""What the encoders that run through PyAV (FFmpeg) share: opening, one picture in, one unit out."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar, cast

import av
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType

from agent.capture.base import Box, Frame
from agent.encode import colour
from agent.encode.base import AccessUnit, EncoderSettings, EncoderUnavailable, VideoCodec

NO_KEYFRAMES = 2**30
"""An infinite group of pictures: key frames are made on demand only."""

av.logging.set_level(av.logging.ERROR)


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """What a codec context is opened with."""

    encoder: str
    width: int
    height: int
    settings: EncoderSettings
    threads: int
    options: Mapping[str, str]


def why_unusable(encoder: str) -> str | None:
    """None when this build of FFmpeg has `encoder`, else the reason in words."""
    if encoder in av.codecs_available:
        return None
    return f"the installed PyAV has no {encoder}: install PyAV's own wheel (pip install av)"


def open_context(request: OpenRequest) -> VideoCodecContext:
    """Open an encoder, or raise EncoderUnavailable; an option it does not know is an error."""
    context = cast(VideoCodecContext, av.CodecContext.create(request.encoder, "w"))
    settings = request.settings
    context.width = request.width
    context.height = request.height
    context.pix_fmt = "yuv420p"
    context.time_base = Fraction(1, settings.fps)
    context.framerate = Fraction(settings.fps, 1)
    context.bit_rate = settings.bitrate_bps
    context.gop_size = NO_KEYFRAMES
    context.max_b_frames = 0
    context.thread_count = request.threads
    context.color_range = colour.RANGE_LIMITED
    context.colorspace = colour.MATRIX_SMPTE170M
    context.color_primaries = colour.PRIMARIES_BT709
    context.color_trc = colour.TRANSFER_SRGB
    context.options = dict(request.options)
    try:
        context.open()
    except (av.FFmpegError, ValueError) as problem:
        raise EncoderUnavailable(
            f"{request.encoder} cannot encode {request.width}x{request.height}"
            f" at {settings.fps} fps: {problem}"
        ) from problem
    if context.options:
        raise EncoderUnavailable(
            f"this build of {request.encoder} does not know: {', '.join(sorted(context.options))};"
            " install the PyAV version that the lock file names"
        )
    return context


class PyAVEncoder:
    """One opened encoder. Subclasses say which, and how its rate is changed."""

    encoder: ClassVar[str]
    codec: ClassVar[VideoCodec]

    def __init__(self, settings: EncoderSettings) -> None:
        reason = why_unusable(self.encoder)
        if reason is not None:
            raise EncoderUnavailable(reason)
        try:
            self._converter = colour.I420Converter(settings.width, settings.height)
        except ValueError as problem:
            raise EncoderUnavailable(str(problem)) from problem
        self._settings = settings
        self._pts = 0
        self._context: VideoCodecContext | None = self._open(settings)

    def _open(self, settings: EncoderSettings) -> VideoCodecContext:
        raise NotImplementedError

    def _hint(self, changed: Box | None) -> None:
        """Tell the encoder where the picture is the same as the one that it encoded last."""

    def encode(self, frame: Frame, *, keyframe: bool) -> AccessUnit:
        """See VideoEncoder.encode. Raises EncoderUnavailable when the encoder broke down."""
        if self._context is None:
            raise EncoderUnavailable(f"{self.encoder} is closed")
        started_ns = time.monotonic_ns()
        try:
            picture = self._converter.convert(frame.pixels, frame.changed)
            self._hint(frame.changed)
            converted_ns = time.monotonic_ns()
            picture.pts = self._pts
            picture.pict_type = PictureType.I if keyframe else PictureType.NONE
            packets = self._context.encode(picture)
        except (av.FFmpegError, ValueError) as problem:
            raise EncoderUnavailable(f"{self.encoder} stopped: {problem}") from problem
        self._pts += 1
        if len(packets) != 1:
            raise EncoderUnavailable(
                f"{self.encoder} gave {len(packets)} units for one picture: it delays or drops"
            )
        return AccessUnit(
            codec=self.codec,
            payload=bytes(packets[0]),
            keyframe=packets[0].is_keyframe,
            captured_us=frame.captured_us,
            grab_us=frame.grab_us,
            convert_us=(converted_ns - started_ns) // 1000,
            encode_us=(time.monotonic_ns() - converted_ns) // 1000,
        )

    def close(self) -> None:
        """See VideoEncoder.close. The memory is freed with the context."""
        self._context = None
