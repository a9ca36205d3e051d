"""Pictures for encoder tests: moving texture, and flat rectangles of known colours."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import cast

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.video.codeccontext import VideoCodecContext

from agent.capture.base import Frame, Pixels

RECTANGLES_BGR = ((255, 255, 255), (0, 0, 0), (0, 0, 255), (0, 255, 0), (255, 0, 0), (0, 255, 255))


def frame_of(pixels: Pixels, captured_us: int = 1) -> Frame:
    """A frame that owns its pixels."""
    return Frame(pixels, captured_us, 1, lambda: None)


@cache
def moving(width: int, height: int, count: int) -> tuple[Frame, ...]:
    """`count` pictures of a texture that pans by eight pixels a picture."""
    random = np.random.default_rng(1)
    coarse = random.integers(0, 255, (height // 8, (width + 8 * count) // 8, 4), dtype=np.uint8)
    wide = cv2.resize(coarse, (width + 8 * count, height), interpolation=cv2.INTER_CUBIC)
    return tuple(
        frame_of(np.ascontiguousarray(wide[:, 8 * n : 8 * n + width]), n + 1) for n in range(count)
    )


def rectangles(width: int, height: int) -> Pixels:
    """Six upright rectangles side by side."""
    pixels: Pixels = np.zeros((height, width, 4), np.uint8)
    for number, colour in enumerate(RECTANGLES_BGR):
        left, right = (width * n // len(RECTANGLES_BGR) for n in (number, number + 1))
        pixels[:, left:right, :3] = colour
    return pixels


def centres(width: int, height: int) -> list[tuple[int, int]]:
    """The middle of each rectangle as (y, x)."""
    count = len(RECTANGLES_BGR)
    return [(height // 2, (2 * n + 1) * width // (2 * count)) for n in range(count)]


def nal_types(payload: bytes) -> list[int]:
    """The NAL unit types of an Annex B access unit."""
    return [payload[found.end()] & 31 for found in re.finditer(b"\0\0\1", payload)]


def decode(payloads: Iterable[bytes], codec: str = "h264") -> list[av.VideoFrame]:
    """What a decoder of FFmpeg's makes of access units, with no delay."""
    decoder = cast(VideoCodecContext, av.CodecContext.create(codec, "r"))
    return [frame for payload in payloads for frame in decoder.decode(av.Packet(payload))]


def to_bgr(planes: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """I420, BT.601 limited, to BGR."""
    return np.asarray(cv2.cvtColor(planes, cv2.COLOR_YUV2BGR_I420), np.uint8)
