"""A capture backend of its own package: colours in motion. `agent.capture.base` says what each part promises."""

from __future__ import annotations

import threading
import time

import numpy as np

from agent.capture.base import NOWHERE, Frame, Interrupted, NothingNew, Outcome, Scene

WIDTH, HEIGHT = 640, 360


class PlasmaCapture:
    name = "plasma"
    draw_cursor = False
    size = (WIDTH, HEIGHT)
    scene = Scene()  # a source that is no monitor
    place = NOWHERE

    def __init__(self, fps: int = 60) -> None:
        """Opens the source; raise CaptureUnavailable, with words, when it cannot be."""
        self._interval_s = 1 / fps
        self._due = 0.0
        self._woken = threading.Event()
        self._stop = False

    @staticmethod
    def probe() -> str | None:
        return None  # else why it cannot be used here, and what to install

    def next(self, timeout_s: float) -> Outcome:
        wait_s = self._due - time.monotonic()
        self._woken.wait(max(0.0, min(wait_s, timeout_s)))
        self._woken.clear()
        if self._stop:
            return Interrupted()
        now = time.monotonic()
        if now < self._due:
            return NothingNew()
        self._due = now + self._interval_s
        across, down = np.arange(WIDTH), np.arange(HEIGHT)[:, None]
        waves = np.sin(across / 40 + now) + np.sin(down / 25 - now)
        pixels = np.full((HEIGHT, WIDTH, 4), (255, 0, 0, 255), np.uint8)  # BGRA
        pixels[..., 1] = 64 + 31 * waves
        taken_us = int((time.monotonic() - now) * 1_000_000)
        return Frame(pixels, int(now * 1_000_000), taken_us, release=lambda: None)

    def wake(self, *, stop: bool = False) -> None:
        self._stop = self._stop or stop
        self._woken.set()

    def close(self) -> None:
        """Nothing is held."""
