"""Capture of an X11 display: XDamage says when, MIT-SHM brings the pixels."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from Xlib import X, display, error
from Xlib.ext import damage, xinput

from agent.capture import mit_shm, x11_monitors, x11_wire
from agent.capture.base import (
    MOST_ALIVE,
    NOWHERE,
    Box,
    CaptureUnavailable,
    Failed,
    Frame,
    Interrupted,
    NothingNew,
    Outcome,
    Pixels,
    Scene,
    SourceChanged,
    pick,
)
from agent.capture.cursor import blend_cursor
from agent.capture.damage_area import DamageArea
from agent.capture.pacing import FramePacing
from agent.capture.x11_screen import unsuitable
from agent.capture.x11_wire import ServerSilent, Wire
from agent.wake_pipe import WakePipe
from agent.x11 import GONE, close, connect, connected, told_when_gone, words

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Drawn:
    """Where a picture comes from."""

    window: Any
    """Whose damage says when it has changed."""
    pixels: Any
    """What is read: the window, or a pixmap of it."""
    damaged: Box
    """The part of the window that is shown."""
    corner: tuple[int, int]
    """Where in `pixels` that part begins."""


class X11Capture:
    """One monitor of an X screen, or all of it. Constructing it raises CaptureUnavailable in words.

    Events come at most once a picture: the damage object reports only the first change after it
    was emptied, and it is emptied in the same breath as the pixels are read.
    """

    name: ClassVar[str] = "x11"

    def __init__(
        self,
        fps: int = 60,
        display_name: str | None = None,
        *,
        draw_cursor: bool = False,
        monitor: str | None = None,
    ) -> None:
        self._server = connect(CaptureUnavailable, display_name)
        self._pacing = FramePacing(fps)
        self._waker = WakePipe()
        self._lock = threading.Lock()
        self._stop = False
        self._changed = True
        self._everywhere = True
        self._area: DamageArea | None = None
        self._last_changed = self._ahead = NOWHERE
        self._wanted = monitor
        self._rearranged = False
        self.draw_cursor = draw_cursor
        self._cursor_watched = False
        self._ring: list[mit_shm.Segment] = []
        self._free: list[mit_shm.Segment] = []
        try:
            with told_when_gone(CaptureUnavailable):
                self._open()
        except BaseException:
            self.close()
            raise

    @staticmethod
    def probe() -> str | None:
        """None when $DISPLAY can be captured, else the reason in words."""
        try:
            with connected(CaptureUnavailable) as server:
                return unsuitable(server)
        except CaptureUnavailable as problem:
            return str(problem)

    @property
    def shared_memory(self) -> bool:
        """False when pictures come over the connection, which is slower."""
        return bool(self._ring)

    def next(self, timeout_s: float) -> Outcome:
        """Wait for damage, then read the rows that it touched; never more often than the pacing allows."""
        deadline = time.monotonic() + timeout_s
        try:
            while True:
                if self._stop:
                    return Interrupted()
                self._read_events()
                if self._rearranged:
                    self._rearranged = False
                    if (reason := self._another()) is not None:
                        return SourceChanged(reason)
                now = time.monotonic()
                due = max(now, self._pacing.due_at()) if self._changed else deadline
                if self._changed and due <= now and (segment := self._take_segment()) is not None:
                    if (outcome := self._grab(segment, now)) is not None:
                        return outcome
                    continue
                if now >= deadline:
                    return NothingNew()
                self._waker.wait(
                    self._server, min(due, deadline) - now if due > now else deadline - now
                )
                self._wire.receive()
        except GONE as problem:
            return Failed(words(problem))
        except ServerSilent:
            return Failed(f"the X server has not answered for {x11_wire.REPLY_LIMIT_S:.0f} s")

    def wake(self, *, stop: bool = False) -> None:
        """See Capture.wake; harmless after close."""
        with self._lock:
            self._stop = self._stop or stop
        self._waker.wake()

    def close(self) -> None:
        """Close the connection, with which the server gives up the damage and the segments."""
        if not self._waker.close():
            return
        self._ring = []
        self._free = []
        close(self._server)

    def _open(self) -> None:
        """Check the server, ask for the events that make `next` return, share memory."""
        reason = unsuitable(self._server)
        if reason is not None:
            raise CaptureUnavailable(reason)
        self._root = self._server.screen().root
        x11_monitors.watch(self._server)
        damage.query_version(self._server)
        self._damage_event = int(self._server.extension_event.DamageNotify)
        self._wire = Wire(self._server, self._damage_event)
        self._drawn = self._choose()
        self.size = (self._drawn.damaged.width, self._drawn.damaged.height)
        window = self._drawn.window
        self._damage = damage.damage_create(window, damage.DamageReportNonEmpty)
        if self._server.has_extension("XFIXES"):
            self._server.xfixes_query_version()
            self._area = DamageArea(self._server, self._wire, self._damage, self._drawn.damaged)
        self._ring = _attach_ring(self._server, self.size)
        self._free = list(self._ring)

    def _choose(self) -> Drawn:
        """Decide what is shown."""
        monitors = x11_monitors.monitors(self._server)
        shown = pick(monitors, self._wanted)
        self.scene = Scene(monitors, shown.name)
        self.place = shown.area
        return Drawn(self._root, self._root, shown.area, (shown.area.left, shown.area.top))

    def _tells(self, event: Any) -> bool:
        """Whether the source may be another one now."""
        return x11_monitors.tells(event)

    def _another(self) -> str | None:
        """Why the source is another one now, in words, or None."""
        if x11_monitors.monitors(self._server) != self.scene.monitors:
            return "the monitors of the X screen have changed"
        return None

    def _read_events(self) -> None:
        if self.draw_cursor != self._cursor_watched:
            self._watch_cursor(self.draw_cursor)
        for event in self._wire.events():
            if event.type == self._damage_event:
                self._changed = True
            elif self._tells(event):
                self._rearranged = True
            elif self._cursor_watched:
                self._changed = self._everywhere = True
        if self._wire.has_noted:
            self._wire.has_noted, self._changed = False, True

    def _watch_cursor(self, wanted: bool) -> None:
        """Have pointer movement reported (XInput 2 raw motion reaches a root window always)."""
        if self._server.has_extension("XInputExtension"):
            xinput.query_version(self._server)
            mask = xinput.RawMotionMask if wanted else 0
            xinput.select_events(self._root, [(xinput.AllMasterDevices, mask)])
        self._cursor_watched = wanted
        self._changed = self._everywhere = True

    def _take_segment(self) -> mit_shm.Segment | _NoSegment | None:
        if not self._ring:
            return _NO_SEGMENT
        with self._lock:
            return self._free.pop() if self._free else None

    def _grab(self, segment: mit_shm.Segment | _NoSegment, now: float) -> Outcome | None:
        """Read what changed into a picture; None when nothing did, for it was read before."""
        started_us = time.monotonic_ns() // 1000
        self._changed = False
        release = self._give_back(segment) if isinstance(segment, mit_shm.Segment) else _nothing
        try:
            ahead = self._read_ahead(segment) if isinstance(segment, mit_shm.Segment) else b""
            changed = self._take_damage(ahead)
            if changed.empty:
                release()
                return None
            self._pacing.taken(now)
            if isinstance(segment, mit_shm.Segment):
                pixels = self._read_shared(segment, changed)
            else:
                pixels = self._read_over_connection()
            if self.draw_cursor and self._server.has_extension("XFIXES"):
                origin = (self.place.left, self.place.top)
                blend_cursor(pixels, self._server.xfixes_get_cursor_image(self._root), origin)
                self._everywhere = True  # the next picture has the pointer elsewhere
        except error.XError as problem:
            release()
            return self._why(problem)
        grab_us = time.monotonic_ns() // 1000 - started_us
        return Frame(pixels, started_us, grab_us, release, changed)

    def _read_ahead(self, segment: mit_shm.Segment) -> bytes:
        """The request for what will have changed if it is what changed last: most often no other is needed.

        Nothing where that is not known.
        """
        last = NOWHERE if self._area is None else self._last_changed
        self._ahead = NOWHERE if last.empty else segment.stale.joined(last)
        return b"" if self._ahead.empty else self._get_rows(segment, self._ahead)

    def _take_damage(self, ahead: bytes) -> Box:
        """Empty the damage object, and read ahead: what changed of the picture since the last call."""
        everything = Box(0, 0, *self.size)
        if self._area is None:
            damage.damage_subtract(self._server, self._damage)
            return everything
        corner = self._drawn.damaged
        changed = self._area.take(ahead).moved(-corner.left, -corner.top)
        if self._everywhere:
            self._everywhere, changed = False, everything
        self._last_changed = changed
        return changed

    def _read_shared(self, segment: mit_shm.Segment, changed: Box) -> Pixels:
        """Bring a segment up to date: the rows that changed since it was read last."""
        for other in self._ring:
            other.stale = other.stale.joined(changed)
        stale = segment.stale
        if stale.top < self._ahead.top or stale.bottom > self._ahead.bottom:
            self._wire.ask(self._get_rows(segment, stale), 1)
        segment.stale = NOWHERE
        return segment.pixels

    def _get_rows(self, segment: mit_shm.Segment, box: Box) -> bytes:
        """The request to read the rows of a box. MIT-SHM writes without gaps, so they are as wide as the picture."""
        left, top = self._drawn.corner
        rows = Box(left, top + box.top, left + self.size[0], top + box.bottom)
        opcode = self._server.display.get_extension_major(mit_shm.EXTENSION_NAME)
        return mit_shm.get_image(opcode, segment, self._drawn.pixels.id, rows, box.top)

    def _read_over_connection(self) -> Pixels:
        width, height = self.size
        left, top = self._drawn.corner
        image = self._drawn.pixels.get_image(left, top, width, height, X.ZPixmap, 0xFFFFFFFF)
        return np.frombuffer(bytearray(image.data), np.uint8).reshape(height, width, 4)

    def _why(self, problem: error.XError) -> Outcome:
        """An X error while reading: the screen shrank under the request, or something is wrong."""
        if (reason := self._another()) is not None:
            return SourceChanged(reason)
        return Failed(f"the X server refused to hand out the picture: {type(problem).__name__}")

    def _give_back(self, segment: mit_shm.Segment) -> Callable[[], None]:
        def release() -> None:
            with self._lock:
                self._free.append(segment)
                starved = len(self._free) == 1
            if starved:
                self.wake()

        return release


class _NoSegment:
    """Stands for reading over the connection."""


_NO_SEGMENT = _NoSegment()


def _nothing() -> None:
    """The release of a picture that owns its memory."""


def _attach_ring(server: display.Display, size: tuple[int, int]) -> list[mit_shm.Segment]:
    """The shared segments, or an empty list when the server cannot share memory with us."""
    if server.query_extension(mit_shm.EXTENSION_NAME) is None:
        logger.warning("the X server lacks MIT-SHM: pictures come over the connection, slowly")
        return []
    opcode = server.query_extension(mit_shm.EXTENSION_NAME).major_opcode
    server.display.set_extension_major(mit_shm.EXTENSION_NAME, opcode)
    ring: list[mit_shm.Segment] = []
    refused = error.CatchError()
    try:
        for _ in range(MOST_ALIVE):
            segment = mit_shm.Segment(*size)
            ring.append(segment)
            segment.shmseg = server.display.allocate_resource_id()
            mit_shm.Attach(
                display=server.display,
                onerror=refused,
                opcode=opcode,
                shmseg=segment.shmseg,
                shmid=segment.shmid,
                read_only=0,
            )
        server.sync()
    except OSError as problem:
        logger.warning("no shared memory (%s): pictures come over the connection, slowly", problem)
        return []
    finally:
        for segment in ring:
            segment.remove()
    if refused.get_error() is not None:
        logger.warning(
            "the X server is on another machine or in another container and cannot share memory:"
            " pictures come over the connection, slowly"
        )
        return []
    return ring
