"""Capture of one monitor by DXGI's Desktop Duplication: Windows says when the picture changed, and where.

FFmpeg's ddagrab is beside it, not before it: docs/windows.md says why. What is lost with a UAC prompt, the lock
screen, another resolution or graphics card is SourceChanged; while it cannot be had again, GDI shows the screen
(agent/capture/stand_in.py). Not yet run on a graphics card.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import ClassVar, Final

from agent.capture.base import (
    EVERY_MONITOR,
    NOWHERE,
    Box,
    CaptureUnavailable,
    Frame,
    Interrupted,
    NothingNew,
    NotNow,
    Outcome,
    Scene,
    SourceChanged,
    pick,
)
from agent.capture.pacing import FramePacing

if sys.platform != "win32":
    raise ImportError("agent.capture.dxgi is for Windows")

from agent.capture.duplication import Duplication, Library, Unsuitable
from agent.capture.gdi import NO_MONITOR, monitors
from agent.capture.gdi_surface import Screen, Surface
from agent.capture.surface_ring import SurfaceRing
from agent.com import ComError
from agent.win32 import follow_input_desktop, use_real_pixels

SLICE_S: Final = 0.05
"""A wait for Windows cannot be ended from another thread, so it is cut: a stop is seen this late at most."""
FIRST_PICTURE_S: Final = 0.5
"""A new duplication gives its first picture at once, unless the monitor sleeps."""
LOOK_S: Final = 1.0
"""How often it is seen whether monitors came or went; one that is captured says so itself."""

_NOT_NOW: Final = {
    0x80070005: "Windows shows its lock screen or asks for consent",  # E_ACCESSDENIED
    0x00000080: "the graphics card let go of it",  # WAIT_ABANDONED
    0x887A0001: "the graphics card let go of it",  # DXGI_ERROR_INVALID_CALL
    0x887A0005: "the graphics card was taken out, or its driver updated",  # DEVICE_REMOVED
    0x887A0007: "the graphics card's driver broke down",  # DEVICE_RESET
    0x887A0022: "four programs capture this monitor, which is as many as may",  # NOT_CURRENTLY_AVAILABLE
    0x887A0025: "the resolution changes",  # MODE_CHANGE_IN_PROGRESS
    0x887A0026: "the resolution changed, or Windows asks for consent",  # ACCESS_LOST
    0x887A0028: "this session is not at the screen",  # SESSION_DISCONNECTED
}
"""What ends, of the HRESULTs that the documentation of DuplicateOutput, AcquireNextFrame and ReleaseFrame names."""
_NEVER: Final = {
    0x80004001: "this Windows does not have it (Wine does not)",  # E_NOTIMPL
    0x80004002: "it needs Windows 8 or newer",  # E_NOINTERFACE
    0x80070057: "the graphics card of this monitor does not do it",  # E_INVALIDARG
    0x8007000E: "the graphics card has no memory left",  # E_OUTOFMEMORY
    0x887A0004: "the driver does not have it, or on a notebook with two graphics cards Windows runs"
    " this program on the other one: Settings, Display, Graphics",  # DXGI_ERROR_UNSUPPORTED
}


class DxgiCapture:
    """One monitor. Constructing it raises CaptureUnavailable in words, as NotNow where that will end."""

    name: ClassVar[str] = "dxgi"

    def __init__(
        self, fps: int = 60, *, monitor: str | None = None, library: Library | None = None
    ) -> None:
        use_real_pixels()
        follow_input_desktop()
        self.draw_cursor = False
        self._drawn = False
        self._pacing = FramePacing(fps)
        there = monitors()
        if not there:
            raise NotNow(NO_MONITOR)
        shown = pick(there, monitor)
        self._scene, self._place = Scene(there, shown.name), shown.area
        self._condition = threading.Condition()
        self._stop = False
        self._closed = False
        self._looked_at = time.monotonic()
        self._duplication = duplicate(library, shown.name)
        width, height = self._size = self._duplication.size
        self._changed = self._everything = Box(0, 0, width, height)
        self._screen = Screen()
        try:
            self._ring = SurfaceRing(self._screen, self._size, self._condition)
        except CaptureUnavailable:
            self._screen.close()
            self._duplication.close()
            raise

    @classmethod
    def probe(cls) -> str | None:
        """None when the primary monitor can be duplicated now, else why not in words."""
        try:
            cls().close()
        except CaptureUnavailable as problem:
            return str(problem)
        return None

    @property
    def size(self) -> tuple[int, int]:
        """See Capture.size."""
        return self._size

    @property
    def scene(self) -> Scene:
        """See Capture.scene."""
        return self._scene

    @property
    def place(self) -> Box:
        """See Capture.place."""
        return self._place

    def next(self, timeout_s: float) -> Outcome:
        """See Capture.next."""
        deadline = time.monotonic() + timeout_s
        try:
            while True:
                turn = self._wait_for_turn(deadline)
                if isinstance(turn, Surface):
                    return self._grab(turn)
                if turn is not None:
                    return turn
                if self._has_other_monitors():
                    return SourceChanged("the monitors have changed")
                self._listen(min(SLICE_S, deadline - time.monotonic()))
        except (ComError, Unsuitable) as problem:
            return SourceChanged(_words(problem))

    def wake(self, *, stop: bool = False) -> None:
        """See Capture.wake; harmless after close."""
        with self._condition:
            self._stop = self._stop or stop
            self._condition.notify()

    def close(self) -> None:
        """Pictures that others hold live until they release them."""
        with self._condition:
            if self._closed:
                return
            self._closed = True
        self._ring.close()
        self._screen.close()
        self._duplication.close()

    def _wait_for_turn(self, deadline: float) -> Surface | Interrupted | NothingNew | None:
        """Where to put what has changed; None: nothing has, so it is Windows's turn to say what."""
        with self._condition:
            while True:
                if self._stop:
                    return Interrupted()
                if self.draw_cursor != self._drawn:
                    self._drawn = self.draw_cursor
                    self._take_note(self._everything)
                now = time.monotonic()
                if self._changed.empty:
                    return NothingNew() if now >= deadline else None
                due = self._pacing.due_at()
                if now >= due and (surface := self._ring.take()) is not None:
                    return surface
                if now >= deadline:
                    return NothingNew()
                self._condition.wait((min(due, deadline) if due > now else deadline) - now)

    def _listen(self, timeout_s: float) -> None:
        """Let Windows say what changed. Raises ComError, Unsuitable."""
        update = self._duplication.wait(max(0.0, timeout_s))
        if update is None:
            return
        if not self._drawn:
            self._take_note(update.changed)
        elif update.pointer or not update.changed.empty:
            self._take_note(self._everything)  # of the pointer's place before nothing is kept

    def _take_note(self, changed: Box) -> None:
        self._changed = self._changed.joined(changed)
        self._ring.outdate(changed)

    def _grab(self, surface: Surface) -> Frame:
        """Bring a surface up to date. Raises ComError."""
        now = time.monotonic()
        started_us = time.monotonic_ns() // 1000
        try:
            self._duplication.read(self._ring.stale_of(surface), surface.pixels)
        except ComError:
            self._ring.give_back(surface)
            raise
        self._ring.refreshed(surface)
        if self._drawn:
            surface.draw_cursor((self._place.left, self._place.top))
        changed, self._changed = self._changed, NOWHERE
        self._pacing.taken(now)
        grab_us = max(1, time.monotonic_ns() // 1000 - started_us)
        return Frame(surface.pixels, started_us, grab_us, self._ring.release_of(surface), changed)

    def _has_other_monitors(self) -> bool:
        now = time.monotonic()
        if now < self._looked_at + LOOK_S:
            return False
        self._looked_at = now
        return monitors() != self._scene.monitors


def duplicate(library: Library | None, name: str) -> Duplication:
    """A duplication whose first picture is there. Raises CaptureUnavailable."""
    if name == EVERY_MONITOR:
        raise CaptureUnavailable("a duplication is of one monitor, not of all of them")
    duplication: Duplication | None = None
    try:
        duplication = Duplication(library or Library.of_windows(), name)
        if duplication.begin(FIRST_PICTURE_S):
            opened, duplication = duplication, None
            return opened
        raise NotNow(f"the monitor {name} gives no picture: is it asleep?")
    except ComError as problem:
        kind = NotNow if problem.result in _NOT_NOW else CaptureUnavailable
        raise kind(_words(problem)) from problem
    except Unsuitable as problem:
        raise CaptureUnavailable(_words(problem)) from problem
    except OSError as problem:
        raise CaptureUnavailable(f"this Windows has no Direct3D 11: {problem}") from problem
    finally:
        if duplication is not None:
            duplication.close()


def _words(problem: ComError | Unsuitable) -> str:
    if isinstance(problem, Unsuitable):
        return f"the screen cannot be duplicated: {problem}"
    words = _NOT_NOW.get(problem.result) or _NEVER.get(
        problem.result, "an error that the agent does not know"
    )
    return f"the screen cannot be duplicated: {words} ({problem})"
