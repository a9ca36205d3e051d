"""What the tests put on the host's desktop: known pixels, a window that notes input, a terminal."""

from __future__ import annotations

import random
import subprocess
import threading
from pathlib import Path
from typing import Self

from Xlib import X
from Xlib.display import Display

from tests.xserver import keys_down

CHART = {
    # (left, top, right, bottom) as fractions of the screen: red, green, blue
    (0.0, 0.0, 0.5, 0.5): (200, 30, 30),
    (0.5, 0.0, 1.0, 0.5): (30, 160, 40),
    (0.0, 0.5, 0.5, 1.0): (40, 60, 200),
    (0.5, 0.5, 1.0, 1.0): (235, 235, 235),
    (0.40, 0.40, 0.60, 0.60): (240, 200, 20),
    (0.02, 0.02, 0.06, 0.08): (16, 16, 16),
}
"""Later rectangles lie above earlier ones."""


class Chart:
    """A borderless window over the whole screen, painted with `CHART`, that notes clicks."""

    def __init__(self, display: str) -> None:
        self._display = Display(display)
        screen = self._display.screen()
        self.width, self.height = screen.width_in_pixels, screen.height_in_pixels
        self._window = screen.root.create_window(
            0, 0, self.width, self.height, 0, screen.root_depth,
            override_redirect=True,
            event_mask=X.ExposureMask | X.ButtonPressMask | X.ButtonReleaseMask | X.PointerMotionMask,
        )  # fmt: skip
        self._gc = self._window.create_gc()
        self._window.map()
        self._window.configure(stack_mode=X.Above)
        self._display.sync()
        self.paint()

    def paint(self) -> None:
        for (left, top, right, bottom), (red, green, blue) in CHART.items():
            x, y = round(left * self.width), round(top * self.height)
            self._gc.change(foreground=red << 16 | green << 8 | blue)
            self._window.fill_rectangle(
                self._gc, x, y, round(right * self.width) - x, round(bottom * self.height) - y
            )
        self._display.sync()

    def fill(
        self, red: int, green: int, blue: int, area: tuple[int, int, int, int] | None = None
    ) -> None:
        """Paint everything in one colour, or an area (left, top, width, height)."""
        self._gc.change(foreground=red << 16 | green << 8 | blue)
        self._window.fill_rectangle(self._gc, *(area or (0, 0, self.width, self.height)))
        self._display.sync()

    def hide(self) -> None:
        """Leave the screen to other windows."""
        self._window.unmap()
        self._display.sync()

    def clicks(self) -> list[tuple[int, int, int]]:
        """The button presses since the last call: X button, x and y on the screen."""
        presses = []
        while self._display.pending_events():
            event = self._display.next_event()
            if event.type == X.ButtonPress:
                presses.append((event.detail, event.root_x, event.root_y))
        return presses

    def close(self) -> None:
        self._display.close()


def held_keys(display: str) -> set[int]:
    """The X keycodes that the server holds down."""
    connection = Display(display)
    try:
        return keys_down(connection)
    finally:
        connection.close()


class Terminal:
    """An xterm, alone on the screen and focused, that writes what is typed into a file."""

    def __init__(self, display: str, file: Path) -> None:
        self.file = file
        command = f"stty raw -echo; touch '{file}'; exec cat >> '{file}'"
        self._process = subprocess.Popen(
            [
                "xterm",
                "-u8",
                "-display",
                display,
                "-geometry",
                "100x30+50+50",
                "-e",
                "sh",
                "-c",
                command,
            ]
        )

    def text(self) -> str:
        return self.file.read_text() if self.file.exists() else ""

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(10)


class Noise:
    """`with Noise(display)`: a quarter of the screen is noise, new 60 times a second, which takes any bitrate."""

    def __init__(self, display: str) -> None:
        self._display = Display(display)
        screen = self._display.screen()
        self._size = screen.width_in_pixels // 2, screen.height_in_pixels // 2
        width, height = self._size
        self._gc = screen.root.create_gc()
        self._window = screen.root.create_window(
            0, 0, width, height, 0, screen.root_depth, override_redirect=True
        )
        self._noise = screen.root.create_pixmap(2 * width, 2 * height, screen.root_depth)
        rows = 16  # a request holds 256 KiB
        for top in range(0, 2 * height, rows):
            pixels = random.Random(top).randbytes(2 * width * rows * 4)
            depth = screen.root_depth
            self._noise.put_image(self._gc, 0, top, 2 * width, rows, X.ZPixmap, depth, 0, pixels)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._paint, daemon=True)

    def _paint(self) -> None:
        width, height = self._size
        offsets = random.Random(1)
        while not self._stop.wait(1 / 60):
            left, top = offsets.randrange(width), offsets.randrange(height)
            self._window.copy_area(self._gc, self._noise, left, top, width, height, 0, 0)
            self._display.sync()

    def __enter__(self) -> Self:
        self._window.map()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._display.close()
