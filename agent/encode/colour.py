"""Colour conversion before encoding: BGRA pixels to planar 4:2:0, in a reused buffer."""

from __future__ import annotations

import av
import cv2
import numpy as np

from agent.capture.base import Pixels

cv2.setNumThreads(1)

MATRIX_SMPTE170M = 6
"""ITU-T H.273 table 4: BT.601, the one matrix that OpenCV's conversion knows."""

PRIMARIES_BT709 = 1
"""ITU-T H.273 table 2: sRGB has the primaries of BT.709."""

TRANSFER_SRGB = 13
"""ITU-T H.273 table 3: IEC 61966-2-1, what the pixels of a desktop are."""

RANGE_LIMITED = 1
"""FFmpeg's AVCOL_RANGE_MPEG: luma 16..235, chroma 16..240."""


class I420Converter:
    """Turns BGRA pictures of one size into one reused I420 (BT.601 limited) `av.VideoFrame`.

    Odd sizes lose their last row or column: 4:2:0 needs even ones.
    """

    def __init__(self, width: int, height: int) -> None:
        self.width = width - width % 2
        self.height = height - height % 2
        if self.width < 2 or self.height < 2:
            raise ValueError(f"a picture of {width}x{height} is too small to encode")
        self._planes = np.empty((self.height * 3 // 2, self.width), np.uint8)
        self.frame = av.VideoFrame.from_numpy_buffer(self._planes, "yuv420p")

    def convert(self, pixels: Pixels) -> av.VideoFrame:
        """Convert `pixels` (height, width, 4); the returned frame is overwritten by the next call."""
        visible = pixels[: self.height, : self.width]
        if visible.shape[:2] != (self.height, self.width):
            raise ValueError(
                f"expected a picture of {self.width}x{self.height},"
                f" got {pixels.shape[1]}x{pixels.shape[0]}"
            )
        cv2.cvtColor(visible, cv2.COLOR_BGRA2YUV_I420, dst=self._planes)
        return self.frame
