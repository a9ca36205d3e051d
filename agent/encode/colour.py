"""Colour conversion before encoding: BGRA pixels to planar 4:2:0, in a reused buffer."""

from __future__ import annotations

import av
import cv2
import numpy as np

from agent.capture.base import Box, Pixels

cv2.setNumThreads(1)

MATRIX_SMPTE170M = 6
"""ITU-T H.273 table 4: BT.601, the one matrix that OpenCV's conversion knows."""

PRIMARIES_BT709 = 1
"""ITU-T H.273 table 2: sRGB has the primaries of BT.709."""

TRANSFER_SRGB = 13
"""ITU-T H.273 table 3: IEC 61966-2-1, what the pixels of a desktop are."""

RANGE_LIMITED = 1
"""FFmpeg's AVCOL_RANGE_MPEG: luma 16..235, chroma 16..240."""


FEW_ROWS = 0.6
"""Up to this share of the rows, converting them alone and copying the result is cheaper than all."""


class I420Converter:
    """Turns BGRA pictures of one size into one reused I420 (BT.601 limited) `av.VideoFrame`.

    Odd sizes lose their last row or column: 4:2:0 needs even ones.
    """

    def __init__(self, width: int, height: int) -> None:
        self.width = width - width % 2
        self.height = height - height % 2
        if self.width < 2 or self.height < 2:
            raise ValueError(f"a picture of {width}x{height} is too small to encode")
        self.planes = np.empty((self.height * 3 // 2, self.width), np.uint8)
        self.frame = av.VideoFrame.from_numpy_buffer(self.planes, "yuv420p")
        self._blank = True

    def convert(self, pixels: Pixels, changed: Box | None = None) -> av.VideoFrame:
        """Convert `pixels` (height, width, 4); the returned frame is overwritten by the next call.

        Outside of `changed` they are as in the call before.
        """
        visible = pixels[: self.height, : self.width]
        if visible.shape[:2] != (self.height, self.width):
            raise ValueError(
                f"expected a picture of {self.width}x{self.height},"
                f" got {pixels.shape[1]}x{pixels.shape[0]}"
            )
        top, bottom = 0, self.height
        if changed is not None and not self._blank:
            top, bottom = changed.top & ~1, min(self.height, changed.bottom + 1 & ~1)
        if bottom - top > self.height * FEW_ROWS:
            cv2.cvtColor(visible, cv2.COLOR_BGRA2YUV_I420, dst=self.planes)
            self._blank = False
        elif bottom > top:
            self._convert_rows(visible, top, bottom)
        return self.frame

    def _convert_rows(self, visible: Pixels, top: int, bottom: int) -> None:
        """Rows from `top` to `bottom`, both even: OpenCV's I420 is a picture of its own, so they are copied."""
        rows = bottom - top
        band = cv2.cvtColor(visible[top:bottom], cv2.COLOR_BGRA2YUV_I420).reshape(-1)
        planes = self.planes.reshape(-1)
        luma = self.width * self.height
        source = 0
        for start, stride, count in (
            (top * self.width, self.width, rows),
            (luma + top // 2 * (self.width // 2), self.width // 2, rows // 2),
            (luma * 5 // 4 + top // 2 * (self.width // 2), self.width // 2, rows // 2),
        ):
            octets = stride * count
            planes[start : start + octets] = band[source : source + octets]
            source += octets
