"""Capture of one monitor by FFmpeg's ddagrab: Desktop Duplication whose pictures stay on the card, for its encoder.

For those who ask for it (docs/windows.md says what it costs); where it cannot be had agent/capture/dxgi.py shows the
screen, and GDI where that cannot. Not yet run on a graphics card.
"""

from __future__ import annotations

import sys
import time
from contextlib import closing
from typing import ClassVar, Final

from av.filter import Graph, filters_available

from agent.capture.base import CaptureUnavailable
from agent.capture.hardware_frames import HardwareCapture

if sys.platform != "win32":
    raise ImportError("agent.capture.ddagrab is for Windows")

from agent.capture.copied import LOOK_S
from agent.capture.duplication import Library
from agent.capture.dxgi import duplicate
from agent.capture.gdi import monitor_wanted, monitors
from agent.probe import why_not
from agent.win32 import follow_input_desktop, use_real_pixels

FILTER: Final = "ddagrab"


class DdagrabCapture(HardwareCapture):
    """One monitor. Constructing it raises CaptureUnavailable in words, as NotNow where that will end."""

    name: ClassVar[str] = "ddagrab"

    def __init__(
        self, fps: int = 60, *, monitor: str | None = None, library: Library | None = None
    ) -> None:
        if FILTER not in filters_available:
            raise CaptureUnavailable(
                f"the installed PyAV is built without {FILTER}; PyAV's own wheels for Windows have it (pip install av)"
            )
        use_real_pixels()
        follow_input_desktop()
        scene, place = monitor_wanted(monitor)
        # Tried first by our own calls: FFmpeg waits for ever for the first picture of a monitor that sleeps, and
        # tells few reasons apart.
        with closing(duplicate(library, scene.shown)) as tried:
            card, self._output = tried.number
        if card != 0:
            raise CaptureUnavailable(
                f"the monitor {scene.shown} is not on the first graphics card, the only one that {FILTER} reads"
            )
        self._looked_at = time.monotonic()
        super().__init__(fps, scene, place)

    @classmethod
    def probe(cls) -> str | None:
        """None when the primary monitor can be captured now, else why not in words."""
        return why_not(cls, CaptureUnavailable)

    def _graph_of(self, fps: int, *, cursor: bool) -> Graph:
        """See HardwareCapture."""
        return duplicating(self._output, fps, cursor=cursor)

    def _has_other_monitors(self) -> bool:
        """See HardwareCapture."""
        now = time.monotonic()
        if now < self._looked_at + LOOK_S:
            return False
        self._looked_at = now
        return monitors() != self.scene.monitors


def duplicating(output: int, fps: int, *, cursor: bool) -> Graph:
    """A graph that shows one of the first graphics card's outputs. Raises FFmpegError, ValueError."""
    graph = Graph()
    source = graph.add(
        FILTER,
        output_idx=str(output),
        framerate=str(fps),
        draw_mouse=str(int(cursor)),
        # Without them it would wait in C for a change of the screen, and nobody could end that.
        dup_frames="1",
    )
    graph.link_nodes(source, graph.add("buffersink")).configure()
    return graph
