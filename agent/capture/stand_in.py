"""Shows a source by a second backend for as long as the first one, which is better, cannot be used."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from agent.capture.base import Box, Capture, Outcome, Scene, SourceChanged

FIRST_LOOK_S: Final = 1.0
LAST_LOOK_S: Final = 16.0
"""Twice as long after each look in vain: a prompt is answered in seconds, a screen stays locked for hours."""


class StandIn:
    """A Capture that is the second backend's, until the first one can be used again: then it is SourceChanged."""

    def __init__(self, capture: Capture, returned: Callable[[], bool]) -> None:
        """`returned` looks whether the first one can be used, on the capture thread; `capture` is closed with it."""
        self._capture = capture
        self._returned = returned
        self._look_after_s = FIRST_LOOK_S
        self._look_at = time.monotonic() + FIRST_LOOK_S

    @property
    def name(self) -> str:
        """That of the backend that works."""
        return self._capture.name

    @property
    def draw_cursor(self) -> bool:
        """See Capture.draw_cursor."""
        return self._capture.draw_cursor

    @draw_cursor.setter
    def draw_cursor(self, drawn: bool) -> None:
        self._capture.draw_cursor = drawn

    @property
    def size(self) -> tuple[int, int]:
        """See Capture.size."""
        return self._capture.size

    @property
    def scene(self) -> Scene:
        """See Capture.scene."""
        return self._capture.scene

    @property
    def place(self) -> Box:
        """See Capture.place."""
        return self._capture.place

    def next(self, timeout_s: float) -> Outcome:
        """See Capture.next."""
        now = time.monotonic()
        if now >= self._look_at:
            if self._returned():
                return SourceChanged("what is better than this can be used again")
            self._look_after_s = min(2 * self._look_after_s, LAST_LOOK_S)
            self._look_at = now + self._look_after_s
        return self._capture.next(timeout_s)

    def wake(self, *, stop: bool = False) -> None:
        """See Capture.wake."""
        self._capture.wake(stop=stop)

    def close(self) -> None:
        """See Capture.close."""
        self._capture.close()
