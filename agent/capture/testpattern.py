"""The test-pattern source: a clock, a frame counter and motion, with no display at all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import ClassVar

import cv2
import numpy as np

from agent.capture.base import (
    MOST_ALIVE,
    NOWHERE,
    Box,
    CaptureUnavailable,
    Frame,
    Interrupted,
    NothingNew,
    Outcome,
    Pixels,
    Scene,
)

BARS_BGR = (
    (255, 255, 255),
    (0, 255, 255),
    (255, 255, 0),
    (0, 255, 0),
    (255, 0, 255),
    (0, 0, 255),
    (255, 0, 0),
    (0, 0, 0),
)
"""White, yellow, cyan, green, magenta, red, blue, black: the order of SMPTE colour bars."""

_FONT = cv2.FONT_HERSHEY_SIMPLEX


class TestPatternCapture:
    """Colour bars above; below, a clock (UTC), a frame counter and a block that crosses the picture.

    Frames are due on a grid of 1/fps from opening; late ones are skipped, never queued. Only what
    moves is drawn again: each picture of the ring remembers nothing but its lower band.
    """

    name: ClassVar[str] = "testpattern"
    __test__ = False

    def __init__(self, width: int = 1280, height: int = 720, fps: int = 60) -> None:
        if width < 160 or height < 120:
            raise CaptureUnavailable(
                f"the test pattern needs 160x120 or more, not {width}x{height}"
            )
        self.draw_cursor = False
        self.size = (width, height)
        self.scene, self.place = Scene(), NOWHERE
        self._fps = fps
        self._opened = time.monotonic()
        self._count = -1
        self._condition = threading.Condition()
        self._woken = False
        self._stop = False
        self._free = [_background(width, height) for _ in range(MOST_ALIVE)]

    @staticmethod
    def probe() -> str | None:
        """It works everywhere."""
        return None

    def next(self, timeout_s: float) -> Outcome:
        """Wait for the next moment of the grid and draw its picture."""
        deadline = time.monotonic() + timeout_s
        with self._condition:
            while True:
                now = time.monotonic()
                if self._stop:
                    return Interrupted()
                due = self._opened + (self._count + 1) / self._fps
                if now >= due and self._free:
                    pixels = self._free.pop()
                    break
                if now >= deadline or self._woken:
                    self._woken = False
                    return NothingNew()
                self._condition.wait(min(due, deadline) - now if due > now else deadline - now)
        self._count = int((now - self._opened) * self._fps)
        captured_us = int(now * 1_000_000)
        self._draw(pixels)
        grab_us = max(1, time.monotonic_ns() // 1000 - captured_us)
        width, height = self.size
        lower = Box(0, height // 2, width, height)
        return Frame(pixels, captured_us, grab_us, self._give_back(pixels), lower)

    def wake(self, *, stop: bool = False) -> None:
        """See Capture.wake."""
        with self._condition:
            self._stop = self._stop or stop
            self._woken = True
            self._condition.notify()

    def close(self) -> None:
        """Drop the pictures."""
        with self._condition:
            self._free.clear()

    def _draw(self, pixels: Pixels) -> None:
        width, height = self.size
        top = height // 2
        pixels[top:] = 32
        side = height // 8
        x = self._count * max(1, width // 160) % (width - side)
        cv2.rectangle(pixels, (x, height - side), (x + side, height - 1), (64, 160, 255, 255), -1)
        clock = datetime.now(UTC).strftime("%H:%M:%S.%f")[:-3]
        scale = height / 360
        for line, text in enumerate((clock, f"frame {self._count}")):
            y = top + int((line + 1) * 34 * scale)
            cv2.putText(pixels, text, (int(10 * scale), y), _FONT, scale, (255, 255, 255, 255), 2)

    def _give_back(self, pixels: Pixels) -> Callable[[], None]:
        def release() -> None:
            with self._condition:
                self._free.append(pixels)
                self._condition.notify()

        return release


def _background(width: int, height: int) -> Pixels:
    pixels: Pixels = np.full((height, width, 4), 255, np.uint8)
    for number, colour in enumerate(BARS_BGR):
        left, right = (width * n // len(BARS_BGR) for n in (number, number + 1))
        pixels[: height // 2, left:right, :3] = colour
    return pixels
