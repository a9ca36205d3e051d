"""Pointers of a known look on an X server, and what its client sees of them."""

from __future__ import annotations

from typing import Any

from Xlib import X
from Xlib.display import Display

SIDE = 16
HOT = (3, 5)
RED, WHITE = (0xCC, 0x11, 0x22), (0xFF, 0xFF, 0xFF)
"""Of the left and the right half of `two_halves`."""


class Pointing:
    """A window over a whole screen, whose pointer can be changed."""

    def __init__(self, name: str) -> None:
        self.display: Any = Display(name)
        screen = self.display.screen()
        self.root: Any = screen.root
        self._window: Any = self.root.create_window(
            0, 0, screen.width_in_pixels, screen.height_in_pixels, 0, X.CopyFromParent,
            override_redirect=True, background_pixel=0x204060,
        )  # fmt: skip
        self._window.map()
        self.display.sync()

    def _show(self, source: bytes, mask: bytes) -> None:
        """Bitmaps of SIDE rows; a set bit of the source is red."""
        pixmaps = [self._window.create_pixmap(SIDE, SIDE, 1) for _ in range(2)]
        for pixmap, bits in zip(pixmaps, (source, mask), strict=True):
            context = pixmap.create_gc(foreground=1, background=0)
            pixmap.put_image(context, 0, 0, SIDE, SIDE, X.XYBitmap, 1, 0, bits)
        red, white = (tuple(257 * part for part in colour) for colour in (RED, WHITE))
        cursor = pixmaps[0].create_cursor(pixmaps[1], red, white, *HOT)
        self._window.change_attributes(cursor=cursor)
        self.display.sync()

    def two_halves(self) -> None:
        """A square, red and white."""
        self._show(b"\xff\x00\x00\x00" * SIDE, b"\xff\xff\x00\x00" * SIDE)

    def frame(self) -> None:
        """A red square with a hole."""
        edge, hole = b"\xff\xff\x00\x00", b"\x01\x80\x00\x00"
        self._show(edge * SIDE, edge + hole * (SIDE - 2) + edge)

    def hide(self) -> None:
        """A pointer of which nothing shows, as games set it."""
        self._show(bytes(4 * SIDE), bytes(4 * SIDE))

    def place(self) -> tuple[int, int]:
        """Where the pointer is."""
        pointer = self.root.query_pointer()
        return pointer.root_x, pointer.root_y

    def close(self) -> None:
        self.display.close()
