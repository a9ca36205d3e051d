"""x264 with one quantiser a picture and no rate buffer, for paths with room (`EncoderSettings.room`).

A cut or a key frame is sharp at once and takes many times the mean, and each picture is sooner encoded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from agent.capture.base import Box, Pixels
from agent.encode.base import EncoderSettings, EncoderUnavailable
from agent.encode.libx264 import Libx264
from agent.encode.quantiser import Quantiser, Sight

ROWS_APART: Final = 8
COLUMNS_APART: Final = 4
"""Of the samples that are looked at: 29,000 of a picture of 720p."""
SEEN: Final = 1
"""Steps of luma that a sample may differ and be the same."""


class Unbuffered:
    """Encodes the picture that lies in `planes`, I420 of shape (3/2 height, width). Used from one thread."""

    def __init__(
        self, settings: EncoderSettings, planes: Pixels, preset: str, options: Mapping[str, str]
    ) -> None:
        """Raises EncoderUnavailable."""
        self._planes = planes
        rows, width = planes.shape
        height = rows * 2 // 3
        if height < ROWS_APART or width < 2 * COLUMNS_APART:
            raise EncoderUnavailable(f"a picture of {width}x{height} is too small to be looked at")
        self._x264 = Libx264(width, height, preset, settings.profile, options)
        self._luma = planes[
            ROWS_APART // 2 : height : ROWS_APART, COLUMNS_APART // 2 :: COLUMNS_APART
        ]
        self._samples: Pixels | None = None
        self._sight = Sight(changed=1.0, difference=255.0, texture=0.0)
        self._first = True
        self._fps = settings.fps
        self._quantiser = Quantiser(settings.bitrate_bps / settings.fps, self._x264.macroblocks)

    def set_bitrate(self, bitrate_bps: int) -> None:
        """Aim at another rate from the next picture on."""
        self._quantiser.share_bits = bitrate_bps / self._fps

    def hint(self, changed: Box | None) -> None:
        """The next picture is as the one before outside of this; None: nowhere for sure."""
        self._x264.hint(changed)
        if changed is not None and changed.empty and self._samples is not None:
            self._sight = Sight(0.0, 0.0, self._sight.texture)
        else:
            self._sight = self._look()

    def encode(self, *, keyframe: bool) -> tuple[bytes, bool]:
        """The access unit, and whether it is a key frame. Raises EncoderUnavailable."""
        sight, keyframe = self._sight, keyframe or self._first
        quantiser = self._quantiser.choose(sight, keyframe=keyframe)
        unit = self._x264.encode(self._planes, quantiser, keyframe=keyframe)
        self._quantiser.encoded(sight, quantiser, len(unit), keyframe=keyframe)
        self._first = False
        return unit, keyframe

    def _look(self) -> Sight:
        before, samples = self._samples, np.ascontiguousarray(self._luma)
        self._samples = samples
        texture = _mean(cv2.absdiff(samples[:, 1:], samples[:, :-1]))
        if before is None:
            return replace(self._sight, texture=texture)
        steps = cv2.absdiff(samples, before)
        return Sight(np.count_nonzero(steps > SEEN) / steps.size, _mean(steps), texture)

    def close(self) -> None:
        """Idempotent."""
        self._x264.close()


def _mean(steps: npt.NDArray[Any]) -> float:
    return float(cv2.mean(steps)[0])
