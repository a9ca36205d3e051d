"""The capture stage: one thread that keeps a source open and hands on its pictures."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from agent.capture.base import (
    Capture,
    CaptureUnavailable,
    Failed,
    Frame,
    Interrupted,
    NothingNew,
    SourceChanged,
)
from agent.capture.pacing import FramePacing

logger = logging.getLogger(__name__)

POLL_S = 0.5
"""How long one `next` may wait; `wake` ends it early."""

FIRST_BACK_OFF_S = 0.25
LAST_BACK_OFF_S = 5.0

OpenCapture = Callable[[], Capture]


class CaptureStage:
    """Runs a Capture in a thread named `capture`, and opens it again whenever it ends.

    `on_frame` and `on_fault` are called on that thread; `on_frame` owns the frame.
    """

    def __init__(
        self,
        open_capture: OpenCapture,
        on_frame: Callable[[Frame], None],
        on_fault: Callable[[str], None],
    ) -> None:
        self._open_capture = open_capture
        self._on_frame = on_frame
        self._on_fault = on_fault
        self._stop = threading.Event()
        self._anew = threading.Event()
        """Set: open the source again without waiting, or, with `_stop`, end."""
        self._lock = threading.Lock()
        self._capture: Capture | None = None
        self._cursor_drawn = False
        self._limit: FramePacing | None = None
        self._back_off_s = FIRST_BACK_OFF_S
        self._last_fault = ""
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)

    def start(self) -> None:
        """Start the thread, which opens the source."""
        self._thread.start()

    def nudge(self) -> None:
        """Look for a new picture at once."""
        with self._lock:
            if self._capture is not None:
                self._capture.wake()

    def draw_cursor(self, *, drawn: bool) -> None:
        """Draw the host's pointer into the pictures from the next one on."""
        with self._lock:
            if drawn == self._cursor_drawn:
                return
            self._cursor_drawn = drawn
            if self._capture is not None:
                self._capture.draw_cursor = drawn
                self._capture.wake()

    def limit(self, fps: int | None) -> None:
        """Take no more than this many pictures a second from now on; None: as many as the source gives.

        What the source does not read costs nothing.
        """
        self._limit = None if fps is None else FramePacing(fps)

    def open_anew(self) -> None:
        """Close the source and open it again at once, as what it is to show has changed."""
        self._anew.set()
        with self._lock:
            if self._capture is not None:
                self._capture.wake(stop=True)

    @property
    def fails(self) -> bool:
        """Whether there has been no picture since the source failed."""
        return bool(self._last_fault)

    def request_stop(self) -> None:
        """Ask the thread to close the source and end."""
        self._stop.set()
        self.open_anew()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread; False when it still runs."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                reason = self._capture_until_it_ends()
            except CaptureUnavailable as problem:
                reason = str(problem)
            except Exception as problem:
                logger.exception("the capture backend broke")
                reason = f"capturing failed unexpectedly ({type(problem).__name__}): see the log"
            if reason is not None:
                self._report(reason)
                self._anew.wait(self._back_off_s)
                self._back_off_s = min(2 * self._back_off_s, LAST_BACK_OFF_S)

    def _capture_until_it_ends(self) -> str | None:
        """Open the source and hand on pictures; returns why it failed, None to open it again."""
        self._anew.clear()
        capture = self._open_capture()
        try:
            with self._lock:
                capture.draw_cursor = self._cursor_drawn
                self._capture = capture
            logger.info("capturing %s at %dx%d", capture.name, *capture.size)
            while not (self._stop.is_set() or self._anew.is_set()):
                limit = self._limit
                if limit is not None:
                    self._anew.wait(max(0.0, limit.due_at() - time.monotonic()))
                match capture.next(POLL_S):
                    case Frame() as frame:
                        if limit is not None:
                            limit.taken(frame.captured_us / 1e6)
                        self._back_off_s = FIRST_BACK_OFF_S
                        self._last_fault = ""
                        self._on_frame(frame)
                    case NothingNew():
                        continue
                    case SourceChanged(reason):
                        logger.info("opening the source again: %s", reason)
                        return None
                    case Interrupted():
                        return None
                    case Failed(reason):
                        return reason
            return None
        finally:
            with self._lock:
                self._capture = None
            capture.close()

    def _report(self, reason: str) -> None:
        """Tell about a fault once, not at every try."""
        if reason != self._last_fault:
            self._last_fault = reason
            logger.warning("no picture: %s", reason)
            self._on_fault(reason)
