"""What the encoders that run through PyAV (FFmpeg) share: opening, one picture in, one unit out."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import ClassVar, cast

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType
from av.video.reformatter import VideoReformatter

from agent import ffmpeg
from agent.capture.base import Box, Frame
from agent.encode import colour
from agent.encode.base import (
    AccessUnit,
    EncoderSettings,
    EncoderUnavailable,
    Profile,
    VideoCodec,
)
from agent.encode.live_options import LiveOptions

logger = logging.getLogger(__name__)

NO_KEYFRAMES = 2**30
"""An infinite group of pictures: key frames are made on demand only."""

REOPEN_RATIO = 0.15
"""Where a new rate means opening again, one within 15 % of the running one is not worth the key frame."""


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """What a codec context is opened with."""

    encoder: str
    width: int
    height: int
    settings: EncoderSettings
    threads: int
    options: Mapping[str, str]
    pixel_format: str = "yuv420p"
    at_first_picture: bool = False
    """PyAV opens it then: an encoder of surfaces needs the pool that they come from."""


def why_unusable(encoder: str) -> str | None:
    """None when this build of FFmpeg has `encoder`, else the reason in words."""
    if encoder in av.codecs_available:
        return None
    return f"the installed PyAV is built without {encoder}; PyAV's own wheels have all of ours (pip install av)"


def open_context(request: OpenRequest) -> VideoCodecContext:
    """Open an encoder, or raise EncoderUnavailable; an option it does not know is an error."""
    context = cast(VideoCodecContext, av.CodecContext.create(request.encoder, "w"))
    settings = request.settings
    context.width = request.width
    context.height = request.height
    context.pix_fmt = request.pixel_format
    context.time_base = Fraction(1, settings.fps)
    context.framerate = Fraction(settings.fps, 1)
    context.gop_size = NO_KEYFRAMES
    context.max_b_frames = 0
    context.thread_count = request.threads
    context.color_range = colour.RANGE_LIMITED
    context.colorspace = colour.MATRIX_SMPTE170M
    context.color_primaries = colour.PRIMARIES_BT709
    context.color_trc = colour.TRANSFER_SRGB
    context.options = dict(request.options)
    if request.at_first_picture:
        return context
    try:
        context.open()
    except (av.FFmpegError, ValueError) as problem:
        raise EncoderUnavailable(
            f"{request.encoder} cannot encode {request.width}x{request.height}"
            f" at {settings.fps} fps: {ffmpeg.words(problem)}"
        ) from problem
    refuse_leftovers(context)
    return context


def refuse_leftovers(context: VideoCodecContext) -> None:
    """Raise EncoderUnavailable where an option was left over when the encoder was opened."""
    if context.options:
        raise EncoderUnavailable(
            f"this build of {context.name} does not know: {', '.join(sorted(context.options))};"
            " install the PyAV version that the lock file names"
        )


class PyAVEncoder:
    """One opened encoder. Subclasses say which, by these names and by `_options`."""

    name: ClassVar[str]
    encoder: ClassVar[str]
    """FFmpeg's name of it."""
    codec: ClassVar[VideoCodec]
    profiles: ClassVar[tuple[Profile, ...]] = ()
    pixel_format: ClassVar[str] = "yuv420p"
    surfaces: ClassVar[frozenset[str]] = frozenset()
    """FFmpeg's pixel formats of the surfaces that it reads where they are; what it cannot read after all is copied."""
    threads: ClassVar[int] = 1
    live_rate: ClassVar[bool] = False
    """Whether FFmpeg's wrapper compares rate and rate buffer with its own before each picture."""
    buffer_pictures: ClassVar[float] = 1.0
    """The size of the rate buffer in mean pictures."""
    uses_room: ClassVar[bool] = False
    asked: ClassVar[float] = 1.0
    """What it is asked for, over what it is to make."""

    def __init__(self, settings: EncoderSettings) -> None:
        reason = why_unusable(self.encoder)
        if reason is not None:
            raise EncoderUnavailable(reason)
        try:
            self._converter = colour.I420Converter(
                settings.width, settings.height, settings.size_divisor
            )
        except ValueError as problem:
            raise EncoderUnavailable(str(problem)) from problem
        self.reason = ""
        self._settings = settings
        # Of its own: that of a surface would be shared with other threads' encoders.
        self._reformatter = VideoReformatter()
        self._pts = 0
        self._live: LiveOptions | None = None
        self._readable = self.surfaces
        self._direct = False
        """Whether it was opened to read surfaces where they are."""
        self._closed = False
        self._context: VideoCodecContext | None = self._open(settings)

    @classmethod
    def probe(cls) -> str | None:
        """None when PyAV carries it."""
        return why_unusable(cls.encoder)

    def _options(self, settings: EncoderSettings) -> dict[str, str]:
        """The private options of FFmpeg's encoder."""
        raise NotImplementedError

    def _rates(self, settings: EncoderSettings) -> dict[str, int]:
        """Rate, highest rate and rate buffer, by their names in FFmpeg."""
        bps = int(self.asked * settings.bitrate_bps)
        return {"b": bps, "maxrate": bps, "bufsize": max(1, self._buffer_bits(bps, settings.fps))}

    def _buffer_bits(self, bps: int, fps: int) -> int:
        return int(self.buffer_pictures * bps / fps)

    def _open(self, settings: EncoderSettings) -> VideoCodecContext | None:
        """None where FFmpeg is not needed, see `_unit`."""
        rates = {name: str(number) for name, number in self._rates(settings).items()}
        # Nobody shrinks or crops surfaces on the card yet.
        whole = (self._converter.width, self._converter.height) == (settings.width, settings.height)
        self._direct = settings.surface in self._readable and whole and not settings.shared
        context = open_context(
            OpenRequest(
                self.encoder,
                self._converter.width,
                self._converter.height,
                settings,
                self.threads,
                rates | self._options(settings),
                settings.surface if self._direct else self.pixel_format,
                at_first_picture=self._direct,
            )
        )
        self._live = LiveOptions.of(context) if self.live_rate else None
        return context

    def set_bitrate(self, bitrate_bps: int) -> None:
        """Aim at another rate: on the open encoder, with no key frame, where it takes new rates.

        Elsewhere it is opened again and the next picture is a key frame; small changes are left alone.
        """
        running = self._settings.bitrate_bps
        if self._closed or bitrate_bps == running:
            return
        wanted = replace(self._settings, bitrate_bps=bitrate_bps)
        rates = self._rates(wanted).items()
        if self._live is not None and all(self._live.set(*item) for item in rates):
            self._settings = wanted
        elif abs(bitrate_bps - running) >= running * REOPEN_RATIO:
            self._settings = wanted
            self._context = self._open(wanted)

    def _hint(self, changed: Box | None) -> None:
        """Tell the encoder where the picture is the same as the one that it encoded last."""

    def encode(self, frame: Frame, *, keyframe: bool) -> AccessUnit:
        """See VideoEncoder.encode. Raises EncoderUnavailable when the encoder broke down."""
        if self._closed:
            raise EncoderUnavailable(f"{self.encoder} is closed")
        if frame.surface_format != self._settings.surface:
            raise EncoderUnavailable(
                f"{self.encoder} was opened for pictures in another memory than this one's"
            )
        started_ns = time.monotonic_ns()
        try:
            picture = self._picture(frame)
            converted_ns = time.monotonic_ns()
            payload, is_keyframe = self._unit(picture, keyframe)
        except (av.FFmpegError, ValueError) as problem:
            if self._direct and self._pts == 0:
                return self._encode_copied(frame, keyframe, ffmpeg.words(problem))
            raise EncoderUnavailable(f"{self.encoder} stopped: {problem}") from problem
        self._pts += 1
        return AccessUnit(
            codec=self.codec,
            payload=payload,
            keyframe=is_keyframe,
            captured_us=frame.captured_us,
            grab_us=frame.grab_us,
            convert_us=(converted_ns - started_ns) // 1000,
            encode_us=(time.monotonic_ns() - converted_ns) // 1000,
        )

    def _unit(self, picture: av.VideoFrame, keyframe: bool) -> tuple[bytes, bool]:
        """The access unit of a picture, and whether it is a key frame."""
        context = self._context
        if context is None:
            raise EncoderUnavailable(f"{self.encoder} was not opened")
        picture.pts, picture.time_base = self._pts, context.time_base
        picture.pict_type = PictureType.I if keyframe else PictureType.NONE
        packets = context.encode(picture)
        refuse_leftovers(context)
        if len(packets) != 1:
            raise EncoderUnavailable(
                f"{self.encoder} gave {len(packets)} units for one picture: it delays or drops"
            )
        return bytes(packets[0]), packets[0].is_keyframe

    def _encode_copied(self, frame: Frame, keyframe: bool, reason: str) -> AccessUnit:
        """It could not read its first surface (of another card, or in another layout): from now on they are copied."""
        logger.info(
            "%s cannot read the pictures on the card, so they are copied: %s", self.encoder, reason
        )
        self._readable = frozenset()
        self._context = self._open(self._settings)
        return self.encode(frame, keyframe=keyframe)

    def _picture(self, frame: Frame) -> av.VideoFrame:
        """The picture as the encoder takes it."""
        pixels = frame.pixels
        if frame.surface is not None:
            if self._direct:
                return frame.surface
            copied = self._reformatter.reformat(frame.surface, format="bgra")
            pixels = np.asarray(copied.to_ndarray(), np.uint8)
        picture = self._converter.convert(pixels, frame.changed)
        self._hint(self._converter.shrunk(frame.changed))
        if self.pixel_format != "yuv420p":
            picture = picture.reformat(format=self.pixel_format)
        return picture

    def close(self) -> None:
        """See VideoEncoder.close. The memory is freed with the context."""
        self._closed = True
        self._live = None
        self._context = None
