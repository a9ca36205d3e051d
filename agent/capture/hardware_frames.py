"""A capture whose pictures stay in the graphics card's memory (`Frame.surface`): those of a graph of FFmpeg's filters.

Flow: a subclass makes the graph (agent/capture/ddagrab.py); agent/encode/pyav.py reads a surface where it is, or
copies it out.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import ClassVar, Final

import av
import numpy as np
from av.filter import Graph

from agent import ffmpeg
from agent.capture.base import (
    MOST_ALIVE,
    Box,
    CaptureUnavailable,
    Frame,
    Interrupted,
    NothingNew,
    Outcome,
    Scene,
    SourceChanged,
)
from agent.capture.pacing import FramePacing

GRID: Final = 2
"""Such a source looks at the screen at fixed times: at two a picture, so a change waits for half of one at most."""


@dataclass(slots=True)
class _Source:
    """A graph, and the newest picture that it gave."""

    graph: Graph
    picture: av.VideoFrame
    read_us: int
    unseen: bool = True

    def pull(self) -> None:
        """Wait for the next time of the grid. Raises FFmpegError when the source is lost."""
        picture = self.graph.vpull()
        # The one before is held here, so its memory cannot have been given to another picture.
        if picture.planes[0].buffer_ptr != self.picture.planes[0].buffer_ptr:
            self.picture, self.read_us, self.unseen = picture, time.monotonic_ns() // 1000, True


class HardwareCapture:
    """Subclasses give name and graph, and say when the monitors are others. Constructing raises CaptureUnavailable.

    The graph must give a picture at each time of its grid, the same surface again when nothing is new: a pull
    cannot be ended from another thread, so that a wake or a stop is seen at the next such time.
    """

    name: ClassVar[str]

    def __init__(self, fps: int, scene: Scene, place: Box) -> None:
        self.draw_cursor = False
        self._drawn = False
        self._grid_fps = GRID * fps
        self._pacing = FramePacing(fps)
        self.scene, self.place = scene, place
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._held = 0
        self._source: _Source | None = None
        why = ""
        try:
            with av.logging.Capture() as logged:
                self._source = self._opened()
        except (av.FFmpegError, ValueError) as problem:
            # The cause comes first, then what could not be done because of it.
            why = "; ".join(text.strip() for _, _, text in logged) or str(problem)
        if self._source is None:
            # Not from within: the traceback would keep the graph, and so the screen, while another capture is tried.
            raise CaptureUnavailable(f"FFmpeg cannot have the screen on the card: {why}")
        self.size = (self._source.picture.width, self._source.picture.height)

    def _graph_of(self, fps: int, *, cursor: bool) -> Graph:
        """Configured, with one sink, on a grid of so many pictures a second."""
        raise NotImplementedError

    def _has_other_monitors(self) -> bool:
        """Whether `scene` is out of date."""
        raise NotImplementedError

    def next(self, timeout_s: float) -> Outcome:
        """See Capture.next."""
        deadline = time.monotonic() + timeout_s
        outcome: Outcome | None = None
        while outcome is None:
            try:
                outcome = self._look(deadline)
            except (av.FFmpegError, ValueError) as problem:
                outcome = SourceChanged(f"the screen is lost: {ffmpeg.words(problem)}")
        return outcome

    def wake(self, *, stop: bool = False) -> None:
        """See Capture.wake; harmless after close."""
        if stop:
            self._stop.set()

    def close(self) -> None:
        """Pictures that others hold live until they release them."""
        self._source = None

    def _look(self, deadline: float) -> Outcome | None:
        """At the next time of the grid; None: look again. Raises FFmpegError, ValueError."""
        if self._stop.is_set():
            return Interrupted()
        if self._source is None or self.draw_cursor != self._drawn:
            self._drawn = self.draw_cursor
            self._source = None  # of two at once the second would be refused
            self._source = self._opened()
        source = self._source
        if (source.picture.width, source.picture.height) != self.size:
            return SourceChanged("the resolution has changed")
        if self._has_other_monitors():
            return SourceChanged("the monitors have changed")
        now = time.monotonic()
        if source.unseen and now >= self._pacing.due_at() and self._hold():
            self._pacing.taken(now)
            return self._frame_of(source)
        if now >= deadline:
            return NothingNew()
        source.pull()
        return None

    def _opened(self) -> _Source:
        """A graph and its first picture. Raises FFmpegError, ValueError."""
        graph = self._graph_of(self._grid_fps, cursor=self._drawn)
        return _Source(graph, graph.vpull(), time.monotonic_ns() // 1000)

    def _frame_of(self, source: _Source) -> Frame:
        source.unseen = False
        nothing = np.empty((0, self.size[0], 4), np.uint8)
        grab_us = 1  # the card copies by itself, and does not say how long that takes
        return Frame(nothing, source.read_us, grab_us, self._release, None, source.picture)

    def _hold(self) -> bool:
        """Whether one more picture may be out."""
        with self._lock:
            if self._held == MOST_ALIVE:
                return False
            self._held += 1
            return True

    def _release(self) -> None:
        with self._lock:
            self._held -= 1
