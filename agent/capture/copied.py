"""What captures share whose pictures the graphics card has: Windows says when there is another, and it is copied.

DXGI's Desktop Duplication (agent/capture/dxgi.py) and Windows.Graphics.Capture (wgc.py) are the two.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol, TypeVar

from agent.capture.base import (
    NOWHERE,
    Box,
    CaptureUnavailable,
    Frame,
    Interrupted,
    NothingNew,
    NotNow,
    Outcome,
    Pixels,
    Scene,
    SourceChanged,
)
from agent.capture.pacing import FramePacing

if sys.platform != "win32":
    raise ImportError("agent.capture.copied is for Windows")

from agent.capture.d3d11 import Unsuitable, Update
from agent.capture.gdi import monitors
from agent.capture.gdi_surface import Surface
from agent.capture.surface_ring import SurfaceRing
from agent.com import ComError

SLICE_S: Final = 0.05
"""A wait for Windows cannot be ended from another thread, so it is cut: a stop is seen this late at most."""
FIRST_PICTURE_S: Final = 0.5
"""A new source gives its first picture at once, unless the monitor sleeps."""
LOOK_S: Final = 1.0
"""How often it is seen whether monitors came or went; one that is captured says so itself."""


class Pictures(Protocol):
    """Where the pictures come from; closed with the capture."""

    size: tuple[int, int]

    def begin(self, timeout_s: float) -> bool:
        """Have a first picture in memory; False when there is none in time. Raises as `wait`."""
        ...

    def wait(self, timeout_s: float) -> Update | None:
        """The next picture, None after `timeout_s`. Raises ComError and Unsuitable: it gives no more."""
        ...

    def read(self, place: Box, into: Pixels) -> None:
        """Copy a part of the newest to the same part of `into`. Raises ComError."""
        ...

    def close(self) -> None:
        """Idempotent."""
        ...


@dataclass(frozen=True, slots=True)
class Refusals:
    """How one way to have pictures fails, in words."""

    what: str
    """That it does."""
    no_library: str
    """That Windows lacks the libraries for it."""
    passing: Mapping[int, str]
    """The HRESULTs of what ends by itself, or by somebody's answer to Windows."""
    lasting: Mapping[int, str]

    def of(self, problem: ComError | Unsuitable | OSError) -> CaptureUnavailable:
        """The same for who opens a capture: NotNow where that will end."""
        passes = isinstance(problem, ComError) and problem.result in self.passing
        return (NotNow if passes else CaptureUnavailable)(self.words(problem))

    def words(self, problem: ComError | Unsuitable | OSError) -> str:
        """What went wrong, for the log."""
        if isinstance(problem, OSError):
            return f"{self.no_library}: {problem}"
        if isinstance(problem, Unsuitable):
            return f"{self.what}: {problem}"
        known = {**self.lasting, **self.passing}
        why = known.get(problem.result, "an error that the agent does not know")
        return f"{self.what}: {why} ({problem})"


_Begun = TypeVar("_Begun", bound=Pictures)


def begun(make: Callable[[], _Begun], refusals: Refusals, asleep: str) -> _Begun:
    """Pictures of which the first is there. Raises CaptureUnavailable, as NotNow(`asleep`) where none comes."""
    with ExitStack() as undone:
        try:
            pictures = make()
            undone.callback(pictures.close)
            if not pictures.begin(FIRST_PICTURE_S):
                raise NotNow(asleep)
        except (ComError, Unsuitable, OSError) as problem:
            raise refusals.of(problem) from problem
        undone.pop_all()
    return pictures


class CopiedCapture:
    """One source. A backend gives its words for errors, and may say when the source is another one."""

    name: ClassVar[str]
    refusals: ClassVar[Refusals]

    def __init__(self, fps: int, pictures: Pictures, scene: Scene, place: Box) -> None:
        """`pictures` have a first picture. Raises CaptureUnavailable, and closes them then."""
        self.draw_cursor = False
        self._drawn = False
        self._pacing = FramePacing(fps)
        self.scene, self._place = scene, place
        self._condition = threading.Condition()
        self._stop = False
        self._closed = False
        self._looked_at = time.monotonic()
        self._pictures = pictures
        width, height = self.size = pictures.size
        self._changed = self._everything = Box(0, 0, width, height)
        try:
            self._ring = SurfaceRing(self.size, self._condition)
        except CaptureUnavailable:
            pictures.close()
            raise

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
                if (reason := self._another()) is not None:
                    return SourceChanged(reason)
                self._listen(min(SLICE_S, deadline - time.monotonic()))
        except (ComError, Unsuitable) as problem:
            return SourceChanged(self.refusals.words(problem))

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
        self._pictures.close()

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
        update = self._pictures.wait(max(0.0, timeout_s))
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
            self._pictures.read(self._ring.stale_of(surface), surface.pixels)
        except ComError:
            self._ring.give_back(surface)
            raise
        self._ring.refreshed(surface, self._draw_over(surface))
        if self._drawn:
            surface.draw_cursor((self._place.left, self._place.top))
        changed, self._changed = self._changed, NOWHERE
        self._pacing.taken(now)
        grab_us = max(1, time.monotonic_ns() // 1000 - started_us)
        return Frame(surface.pixels, started_us, grab_us, self._ring.release_of(surface), changed)

    def _another(self) -> str | None:
        """Why the source is another one now, in words, or None."""
        now = time.monotonic()
        if now < self._looked_at + LOOK_S:
            return None
        self._looked_at = now
        return None if monitors() == self.scene.monitors else "the monitors have changed"

    def _draw_over(self, surface: Surface) -> Box:
        """Draw what is above the source, and say where: below it the next picture is read again."""
        return NOWHERE
