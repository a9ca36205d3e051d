"""What a Windows pointer looks like in RGBA, from the bitmaps that it is made of."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agent.cursor.base import Shape

Bitmap = NDArray[np.uint8]
"""Rows from the top, columns, BGRA; of a bitmap of one bit all zeros or all ones in BGR."""


def shape_of(mask: Bitmap, colour: Bitmap | None, hot: tuple[int, int]) -> Shape | None:
    """The shape; None: nothing of it shows.

    A pointer of one bit has two masks, one above the other: AND, then XOR with what is on the screen. Where both are
    1 it inverts the screen, which RGBA cannot say: such pixels become black, with white beside them.
    """
    ink = mask[..., 0] != 0
    if colour is None:
        half = len(ink) // 2
        keep, invert = ink[:half], ink[half:]
        rgba = np.zeros((*keep.shape, 4), np.uint8)
        rgba[~keep] = (0, 0, 0, 255)
        rgba[~keep & invert] = 255
        _outline(rgba, keep & invert)
    else:
        rgba = colour[..., [2, 1, 0, 3]].copy()
        if not rgba[..., 3].any():  # of before Windows XP: the mask says what shows
            rgba[..., 3] = np.where(ink, 0, 255)
            _outline(rgba, ink & rgba[..., :3].any(axis=2))
    if not rgba[..., 3].any():
        return None
    height, width = rgba.shape[:2]
    return Shape(width, height, *hot, rgba.tobytes())


def _outline(rgba: Bitmap, inverted: NDArray[np.bool_]) -> None:
    if not inverted.any():
        return
    wide = np.pad(inverted, 1)
    height, width = inverted.shape
    near = np.zeros_like(inverted)
    for down in range(3):
        for right in range(3):
            near |= wide[down : down + height, right : right + width]
    rgba[near & (rgba[..., 3] == 0)] = 255
    rgba[inverted] = (0, 0, 0, 255)
