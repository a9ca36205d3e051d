"""Draws the benchmark's clock and scene on an X display; its own process, told the scene on standard input.

The picture is uploaded once as a pixmap; a frame is two copies, the barcode's rectangles and one copy to the
window, composed off screen so that a capture never sees half a frame and XDamage reports one change.
"""

from __future__ import annotations

import argparse
import json
import select
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from Xlib import X
from Xlib.display import Display

from benchmarks.m3_scene import (
    BARCODE_HEIGHT_PX,
    BARCODE_WIDTH_PX,
    CLOCK_MODULUS,
    TICKS_PER_MS,
    Scene,
    Size,
    background,
    halves_offset,
    white_cells,
)

UPLOAD_BYTES = 200_000  # below the 256 KiB that a core X request may have


def clock_ticks() -> int:
    """CLOCK_MONOTONIC in tenths of a millisecond, as the barcode carries it."""
    return time.monotonic_ns() // (1_000_000 // TICKS_PER_MS) % CLOCK_MODULUS


@dataclass(slots=True)
class Pace:
    """How well the drawer kept its own rate: frames drawn, and frames that came a whole interval late."""

    frames: int = 0
    late: int = 0


class Drawer:
    """Owns the X connection, one full-screen window and two pixmaps."""

    def __init__(self, display_name: str, size: Size) -> None:
        self._size = size
        self._display = Display(display_name)
        root = self._display.screen()
        depth = root.root_depth
        self._window: Any = root.root.create_window(
            0, 0, size.width, size.height, 0, depth, X.InputOutput, X.CopyFromParent,
            override_redirect=True, background_pixel=root.black_pixel,
        )  # fmt: skip
        self._hide_cursor()
        self._window.map()
        self._frame = root.root.create_pixmap(size.width, size.height, depth)
        self._picture = self._upload(root.root, depth)
        self._gc = self._window.create_gc(graphics_exposures=False)
        self._black = self._window.create_gc(foreground=0x000000)
        self._white = self._window.create_gc(foreground=0xFFFFFF)

    def _hide_cursor(self) -> None:
        shape = self._window.create_pixmap(1, 1, 1)
        shape.create_gc(foreground=0).change(foreground=0)
        cursor = shape.create_cursor(shape, (0, 0, 0), (0, 0, 0), 0, 0)
        self._window.change_attributes(cursor=cursor)

    def _upload(self, root: Any, depth: int) -> Any:
        picture = background(self._size)
        height, width, _ = picture.shape
        bgrx = np.zeros((height, width, 4), dtype=np.uint8)
        bgrx[:, :, :3] = picture[:, :, ::-1]
        pixmap = root.create_pixmap(width, height, depth)
        gc = pixmap.create_gc()
        rows = max(1, UPLOAD_BYTES // (width * 4))
        for top in range(0, height, rows):
            part = bgrx[top : top + rows]
            pixmap.put_image(gc, 0, top, width, part.shape[0], X.ZPixmap, depth, 0, part.tobytes())
        self._display.sync()
        return pixmap

    def draw(self, scene: Scene, *, whole: bool) -> None:
        """Draw one frame with the clock of this moment; returns when the X server has drawn it."""
        size = self._size
        half = size.width // 2
        ticks = clock_ticks()
        if whole:
            for left, (x, y) in zip((0, half), halves_offset(scene, ticks), strict=True):
                self._frame.copy_area(
                    self._gc, self._picture, left + x, y, half, size.height, left, 0
                )
        self._frame.fill_rectangle(self._black, 0, 0, BARCODE_WIDTH_PX, BARCODE_HEIGHT_PX)
        self._frame.poly_fill_rectangle(self._white, white_cells(ticks))
        width, height = (
            (size.width, size.height) if whole else (BARCODE_WIDTH_PX, BARCODE_HEIGHT_PX)
        )
        self._window.copy_area(self._gc, self._frame, 0, 0, width, height, 0, 0)
        self._display.sync()


def run(drawer: Drawer, rate_hz: float) -> None:
    """Draw at `rate_hz` until standard input ends; each line there names the next scene."""
    interval_s = 1 / rate_hz
    scene, whole, pace = Scene.STATIC, True, Pace()
    next_s = time.monotonic()
    while True:
        if select.select([sys.stdin], [], [], 0)[0]:
            line = sys.stdin.readline()
            print(json.dumps({"frames": pace.frames, "late": pace.late}), flush=True)
            if not line:
                return
            scene, whole, pace = Scene(line.strip()), True, Pace()
        drawer.draw(scene, whole=whole or scene is Scene.MOTION)
        whole = False
        pace.frames += 1
        next_s += interval_s
        wait_s = next_s - time.monotonic()
        if wait_s > 0:
            time.sleep(wait_s)
        elif wait_s < -interval_s:
            pace.late += 1
            next_s = time.monotonic()


def main() -> None:
    """Parse the command line, say `ready`, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--display", required=True)
    parser.add_argument("--size", type=Size.parse, required=True)
    parser.add_argument("--rate", type=float, default=59.0)
    options = parser.parse_args()
    drawer = Drawer(options.display, options.size)
    print("ready", flush=True)
    run(drawer, options.rate)


if __name__ == "__main__":
    main()
