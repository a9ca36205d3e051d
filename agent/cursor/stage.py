"""The cursor stage: one thread that reads the host's cursor while any viewer wants to know of it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from agent.capture.base import Box
from agent.cursor.base import Cursor, CursorSource, CursorUnavailable
from agent.cursor.wire import Packed, pack

logger = logging.getLogger(__name__)

LOOK_S: Final = 2.0
"""How long one `next` may wait; `wake` ends it early."""
FIRST_BACK_OFF_S: Final = 0.5
LAST_BACK_OFF_S: Final = 10.0

OpenCursor = Callable[[], CursorSource]
Area = Callable[[], Box | None]
"""What of the desktop the viewers see; for any thread. None: all of it."""
Told = Callable[[Cursor | None, Packed | None], None]
"""Called on the stage's thread with the cursor and its shape, packed; (None, None): nothing is known of it."""


class CursorStage:
    """A thread named `cursor` runs from the first watcher to the last. Methods are for any thread; none blocks."""

    def __init__(self, open_cursor: OpenCursor, area: Area = lambda: None) -> None:
        self._open_cursor = open_cursor
        self._area = area
        self._lock = threading.Lock()
        self._run: _Run | None = None

    def watch(self, name: str, told: Told) -> None:
        """Tell a watcher of the cursor, at first as it is now."""
        with self._lock:
            first = self._run is None
            run = self._run = self._run or _Run(self._open_cursor, self._area)
            run.watch(name, told)
            if first:
                run.start()

    def follow(self, name: str, *, wanted: bool) -> None:
        """Whether this watcher is told of every place too."""
        with self._lock:
            if self._run is not None:
                self._run.follow(name, wanted=wanted)

    def look(self) -> None:
        """The area is another one."""
        with self._lock:
            if self._run is not None:
                self._run.look()

    def leave(self, name: str) -> None:
        """Tell a watcher nothing more; unknown ones are ignored."""
        with self._lock:
            if self._run is not None and not self._run.leave(name):
                self._run = None


def _seen(cursor: Cursor, area: Box | None) -> Cursor:
    """The cursor as it is in the picture, which shows this area of the desktop; None: all of it."""
    if area is None:
        return cursor
    return replace(
        cursor,
        x=cursor.x - area.left,
        y=cursor.y - area.top,
        screen=(area.width, area.height),
    )


class _Run:
    """One thread from a first watcher to a last one; it closes what it opened."""

    def __init__(self, open_cursor: OpenCursor, area: Area) -> None:
        self._open_cursor = open_cursor
        self._area = area
        self._lock = threading.Lock()
        self._watchers: dict[str, Told] = {}
        self._followers: set[str] = set()
        self._stop = threading.Event()
        self._source: CursorSource | None = None
        self._last: tuple[Cursor | None, Packed | None] = (None, None)
        self._complaint = ""
        self._back_off_s = FIRST_BACK_OFF_S

    def start(self) -> None:
        threading.Thread(target=self._work, name="cursor", daemon=True).start()

    def watch(self, name: str, told: Told) -> None:
        with self._lock:
            self._watchers[name] = told
            told(*self._last)

    def follow(self, name: str, *, wanted: bool) -> None:
        with self._lock:
            (self._followers.add if wanted else self._followers.discard)(name)
            self._wake()

    def leave(self, name: str) -> bool:
        """Whether anybody is left; without, the thread ends."""
        with self._lock:
            self._watchers.pop(name, None)
            self._followers.discard(name)
            if not self._watchers:
                self._stop.set()
            self._wake()
            return bool(self._watchers)

    def look(self) -> None:
        with self._lock:
            self._wake()

    def _wake(self) -> None:
        if self._source is not None:
            self._source.wake()

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                self._read_until_it_ends()
            except CursorUnavailable as problem:
                words = str(problem)
            except Exception as problem:
                logger.exception("the cursor backend broke")
                words = f"it failed unexpectedly ({type(problem).__name__}): see the log"
            else:
                return
            if words != self._complaint:
                logger.info("viewers do not see the shape of the pointer: %s", words)
            self._complaint = words
            self._tell(None, None)
            self._stop.wait(self._back_off_s)
            self._back_off_s = min(2 * self._back_off_s, LAST_BACK_OFF_S)

    def _read_until_it_ends(self) -> None:
        source = self._open_cursor()
        with self._lock:
            self._source = source
        try:
            packed: Packed | None = None
            newest: Cursor | None = None
            area: Box | None = None
            while not self._stop.is_set():
                with self._lock:
                    follow = bool(self._followers)
                changed = source.next(LOOK_S, follow=follow)
                newest = changed or newest
                if newest is None or (changed is None and area == self._area()):
                    continue
                area = self._area()
                cursor = _seen(newest, area)
                self._complaint = ""
                self._back_off_s = FIRST_BACK_OFF_S
                before, _ = self._last
                if before is None or cursor.shape is not before.shape:
                    packed = None if cursor.shape is None else pack(cursor.shape)
                self._tell(cursor, packed)
        finally:
            with self._lock:
                self._source = None
            source.close()

    def _tell(self, cursor: Cursor | None, packed: Packed | None) -> None:
        with self._lock:
            self._last = cursor, packed
            for told in self._watchers.values():
                told(cursor, packed)
