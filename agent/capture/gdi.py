"""Capture of a monitor, or of all of them, by GDI: what works on every Windows, with and without a GPU.

Nobody tells GDI when the screen changes: the picture is copied at the frame rate, compared with the
one before, and handed on when it differs; after a second without a change the copies become rarer.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import ClassVar, Final

from agent.capture.base import (
    Box,
    Failed,
    Frame,
    Interrupted,
    Monitor,
    NothingNew,
    NotNow,
    Outcome,
    Scene,
    SourceChanged,
    pick,
)
from agent.capture.pacing import FramePacing

if sys.platform != "win32":
    raise ImportError("agent.capture.gdi is for Windows")

from agent import win32
from agent.capture import gdi_surface
from agent.capture.gdi_surface import Surface
from agent.capture.surface_ring import SurfaceRing
from agent.win32 import follow_input_desktop, last_error, use_real_pixels

ACTIVE_S: Final = 1.0
"""How long after a change, or a `wake`, the screen is looked at with the frame rate."""
NO_MONITOR: Final = (
    "this session has no monitor: start the agent in the session of a user at the screen"
)
IDLE_LOOK_S: Final = 1 / 15
"""A first change after that is seen this much late at most; a `wake` (each input) ends the wait."""


class GdiCapture:
    """One monitor, or all of them. Constructing it raises CaptureUnavailable in words."""

    name: ClassVar[str] = "gdi"

    def __init__(
        self, fps: int = 60, *, draw_cursor: bool = False, monitor: str | None = None
    ) -> None:
        use_real_pixels()
        follow_input_desktop()
        self.draw_cursor = draw_cursor
        self._pacing = FramePacing(fps)
        self._interval_s = 1 / fps
        self._wanted = monitor
        self._place = self._choose()
        self.size = (self._place.width, self._place.height)
        self._condition = threading.Condition()
        self._woken = False
        self._stop = False
        self._closed = False
        self._look_at = 0.0
        self._active_until = 0.0
        self._last: Surface | None = None
        self._ring = SurfaceRing(self.size, self._condition)

    @staticmethod
    def probe() -> str | None:
        """None when the screen can be read, else the reason in words."""
        use_real_pixels()
        if not monitors():
            return NO_MONITOR
        screen = gdi_surface.Screen()
        surface = Surface(screen, (1, 1))
        try:
            return None if surface.copy(screen, (0, 0)) else _why()
        finally:
            surface.close()
            screen.close()

    @property
    def place(self) -> Box:
        """See Capture.place."""
        return self._place

    def next(self, timeout_s: float) -> Outcome:
        """See Capture.next."""
        deadline = time.monotonic() + timeout_s
        while True:
            turn = self._wait_for_turn(deadline)
            if not isinstance(turn, Surface):
                return turn
            outcome = self._look(turn)
            if not isinstance(outcome, Frame):
                self._ring.give_back(turn)
            if outcome is not None:
                return outcome

    def wake(self, *, stop: bool = False) -> None:
        """See Capture.wake; harmless after close."""
        with self._condition:
            self._stop = self._stop or stop
            self._woken = True
            self._condition.notify()

    def close(self) -> None:
        """Pictures that others hold live until they release them."""
        with self._condition:
            if self._closed:
                return
            self._closed = True
            self._last = None
        self._ring.close()

    def _wait_for_turn(self, deadline: float) -> Surface | Interrupted | NothingNew:
        """Wait until the screen is to be looked at, and for a surface to copy it into."""
        with self._condition:
            while True:
                if self._stop:
                    return Interrupted()
                now = time.monotonic()
                if self._woken:
                    self._woken = False
                    self._look_at = now
                    self._active_until = now + ACTIVE_S
                due = max(self._look_at, self._pacing.due_at())
                if now >= due and (surface := self._ring.take(self._last)) is not None:
                    return surface
                if now >= deadline:
                    return NothingNew()
                self._condition.wait((min(due, deadline) if due > now else deadline) - now)

    def _choose(self) -> Box:
        """Decide what is shown, and where it is. Raises CaptureUnavailable."""
        self.scene, place = monitor_wanted(self._wanted)
        return place

    def _another(self) -> str | None:
        """Why the source is another one now, in words, or None."""
        return None if monitors() == self.scene.monitors else "the monitors have changed"

    def _copy(self, surface: Surface) -> bool:
        """Copy the source; False when Windows does not give it."""
        return surface.copy(self._ring.screen, (self._place.left, self._place.top))

    def _look(self, surface: Surface) -> Frame | SourceChanged | Failed | None:
        """Copy the screen; None when it is as it was."""
        if (reason := self._another()) is not None:
            return SourceChanged(reason)
        now = time.monotonic()
        started_us = time.monotonic_ns() // 1000
        if not self._copy(surface):
            return Failed(_why())
        if self.draw_cursor:
            surface.draw_cursor((self._place.left, self._place.top))
        if self._last is not None and surface.equals(self._last):
            self._look_at = now + (self._interval_s if now < self._active_until else IDLE_LOOK_S)
            return None
        self._last = surface
        self._look_at = 0.0
        self._active_until = now + ACTIVE_S
        self._pacing.taken(now)
        grab_us = max(1, time.monotonic_ns() // 1000 - started_us)
        return Frame(surface.pixels, started_us, grab_us, self._ring.release_of(surface))


def monitors() -> tuple[Monitor, ...]:
    """Every monitor of this session; none in one that has no screen."""
    return tuple(Monitor(name, Box(*area), primary) for name, area, primary in win32.monitors())


def monitor_wanted(name: str | None) -> tuple[Scene, Box]:
    """What there is to show, and where on the desktop. Raises NotNow: there is no monitor."""
    there = monitors()
    if not there:
        raise NotNow(NO_MONITOR)
    shown = pick(there, name)
    return Scene(there, shown.name), shown.area


def _why() -> str:
    return f"Windows does not show the screen now: {last_error()}; is it locked, or does it ask for consent?"
