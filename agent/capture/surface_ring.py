"""The few pictures that a source on Windows fills in turn, while others look at them."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

from agent.capture.base import MOST_ALIVE, NOWHERE, Box, CaptureUnavailable

if sys.platform != "win32":
    raise ImportError("agent.capture.surface_ring is for Windows")

from agent.capture.gdi_surface import Screen, Surface


class SurfaceRing:
    """Surfaces of one size. `release_of`'s function may be called from any thread, the rest from the capture's."""

    def __init__(self, size: tuple[int, int], condition: threading.Condition) -> None:
        """`condition` is notified when a surface comes back. Raises CaptureUnavailable."""
        self.screen = Screen()
        self._condition = condition
        self._closed = False
        made: list[Surface] = []
        try:
            made.extend(Surface(self.screen, size) for _ in range(MOST_ALIVE))
        except OSError as problem:
            for surface in made:
                surface.close()
            self.screen.close()
            words = f"Windows gives no memory for pictures: {problem}"
            raise CaptureUnavailable(words) from problem
        self._free = made
        self._stale = {surface: Box(0, 0, *size) for surface in made}

    def take(self, kept: Surface | None = None) -> Surface | None:
        """The last used one that nobody holds, and that is not `kept`. Call it with the condition's lock.

        So the last of them costs no memory before it is needed.
        """
        for surface in reversed(self._free):
            if surface is not kept:
                self._free.remove(surface)
                return surface
        return None

    def release_of(self, surface: Surface) -> Callable[[], None]:
        """What the last owner of its picture calls once."""
        return lambda: self.give_back(surface)

    def give_back(self, surface: Surface) -> None:
        """Of one that was taken."""
        with self._condition:
            if self._closed:
                surface.close()
                return
            self._free.append(surface)
            self._condition.notify()

    def outdate(self, changed: Box) -> None:
        """The source differs there from what every surface has."""
        for surface, stale in self._stale.items():
            self._stale[surface] = stale.joined(changed)

    def stale_of(self, surface: Surface) -> Box:
        """Where it differs from the source."""
        return self._stale[surface]

    def refreshed(self, surface: Surface, but: Box = NOWHERE) -> None:
        """It is as the source is, `but` there."""
        self._stale[surface] = but

    def close(self) -> None:
        """Surfaces that others hold live until they are given back. Idempotent."""
        with self._condition:
            if self._closed:
                return
            self._closed = True
            for surface in self._free:
                surface.close()
        self.screen.close()
