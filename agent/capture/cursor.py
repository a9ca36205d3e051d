"""Draws the host's mouse pointer into a captured picture, for viewers that do not draw their own."""

from __future__ import annotations

from typing import Any

import numpy as np

from agent.capture.base import Pixels


def blend_cursor(pixels: Pixels, cursor: Any, origin: tuple[int, int] = (0, 0)) -> None:
    """Blend an XFixes GetCursorImage reply into `pixels` in place, whose left upper corner is at `origin`.

    The cursor's words are premultiplied ARGB, x and y are its hot spot on the screen (fixesproto 2).
    """
    height, width = pixels.shape[:2]
    words = np.array(cursor.cursor_image, np.uint32).reshape(cursor.height, cursor.width)
    left, top = cursor.x - cursor.xhot - origin[0], cursor.y - cursor.yhot - origin[1]
    x0, y0 = max(0, left), max(0, top)
    x1, y1 = min(width, left + cursor.width), min(height, top + cursor.height)
    if x0 >= x1 or y0 >= y1:
        return
    image = words.view(np.uint8).reshape(cursor.height, cursor.width, 4)
    image = image[y0 - top : y1 - top, x0 - left : x1 - left].astype(np.uint16)
    target = pixels[y0:y1, x0:x1]
    covered = target[..., :3] * (255 - image[..., 3:]) // 255
    target[..., :3] = np.minimum(covered + image[..., :3], 255)
