"""An X client that answers each click and key press by a new picture: the barcode of how many it has seen."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from Xlib import X
from Xlib.display import Display

from benchmarks.m3_scene import BARCODE_HEIGHT_PX, BARCODE_WIDTH_PX, white_cells

PRESSES = (X.ButtonPress, X.KeyPress)


def run(display_name: str) -> None:
    """Draw until the X server ends; a line for each press says when it came, on CLOCK_MONOTONIC."""
    display = Display(display_name)
    screen = display.screen()
    window: Any = screen.root.create_window(
        0, 0, screen.width_in_pixels, screen.height_in_pixels, 0, screen.root_depth,
        override_redirect=True, background_pixel=0x404040,
        event_mask=X.ExposureMask | X.ButtonPressMask | X.KeyPressMask,
    )  # fmt: skip
    black, white = (
        window.create_gc(foreground=colour, graphics_exposures=False)
        for colour in (0x000000, 0xFFFFFF)
    )
    picture = window.create_pixmap(BARCODE_WIDTH_PX, BARCODE_HEIGHT_PX, screen.root_depth)
    presses = 0
    window.map()
    while True:
        event = display.next_event()
        if event.type in PRESSES:
            at_s = time.monotonic()
            presses += 1
        # Composed off screen, so that a capture never sees half of it.
        picture.fill_rectangle(black, 0, 0, BARCODE_WIDTH_PX, BARCODE_HEIGHT_PX)
        picture.poly_fill_rectangle(white, white_cells(presses))
        window.copy_area(black, picture, 0, 0, BARCODE_WIDTH_PX, BARCODE_HEIGHT_PX, 0, 0)
        display.flush()
        if event.type in PRESSES:
            print(json.dumps(at_s), flush=True)
        else:
            print("ready", flush=True)


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--display", required=True)
    run(parser.parse_args().display)


if __name__ == "__main__":
    main()
