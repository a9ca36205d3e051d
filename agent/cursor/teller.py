"""Tells one viewer of the host's cursor by its `cursor` channel (docs/protocol.md 6.5).

Flow: agent/session.py says what its page does; agent/cursor/stage.py what the cursor does. A page without that
channel, or a host whose cursor cannot be read, has the pointer drawn into the picture while the mouse is locked.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from agent.cursor.base import Cursor
from agent.cursor.stage import CursorStage
from agent.cursor.wire import CursorWriter, Packed

TRY_AGAIN_S: Final = 0.02
"""When the channel was full."""


@dataclass(frozen=True, slots=True)
class Ways:
    """How a teller reaches its viewer."""

    send: Callable[[bytes], bool]
    """On the channel; False: not now."""
    draw: Callable[..., None]
    """With `wanted`: whether the pointer is drawn into this viewer's picture."""


class CursorTeller:
    """Lives on the event loop. A `viewer` controls nothing, so the pointer's place is always told."""

    def __init__(self, name: str, stage: CursorStage, ways: Ways, *, viewer: bool) -> None:
        self._name = name
        self._stage = stage
        self._ways = ways
        self._viewer = viewer
        self._loop = asyncio.get_running_loop()
        self._writer = CursorWriter(apart=viewer)
        self._open = False
        self._relative = False
        self._known = False
        self._drawn = False
        self._retry: asyncio.TimerHandle | None = None
        self._lock = threading.Lock()
        self._newest: tuple[Cursor | None, Packed | None] | None = None

    def open(self) -> None:
        """The viewer's channel is open."""
        if self._open:
            return
        self._open = True
        self._stage.watch(self._name, self._told)
        self._decide()

    def set_relative(self, relative: bool) -> None:
        """The page has locked the mouse, and draws the pointer where the host says; or not any more."""
        if relative != self._relative:
            self._relative = relative
            self._decide()

    def close(self) -> None:
        """Tell nothing more. Idempotent."""
        self._stage.leave(self._name)
        self._open = False
        if self._retry is not None:
            self._retry.cancel()

    def _decide(self) -> None:
        follow = self._open and (self._viewer or self._relative)
        if follow != self._writer.follow:
            self._writer.follow = follow
            self._stage.follow(self._name, wanted=follow)
        drawn = self._relative and not self._known
        if drawn != self._drawn:
            self._drawn = drawn
            self._ways.draw(wanted=drawn)
        self._pump()

    def _told(self, cursor: Cursor | None, packed: Packed | None) -> None:
        """Of the stage, on any thread: only the newest waits for the loop."""
        with self._lock:
            waits, self._newest = self._newest is not None, (cursor, packed)
        if not waits:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
                self._loop.call_soon_threadsafe(self._take)

    def _take(self) -> None:
        with self._lock:
            newest, self._newest = self._newest, None
        if newest is None or not self._open:
            return
        self._writer.update(*newest)
        self._known = newest[0] is not None
        self._decide()

    def _pump(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        while self._open and (message := self._writer.peek()) is not None:
            if not self._ways.send(message):
                self._retry = self._loop.call_later(TRY_AGAIN_S, self._pump)
                return
            self._writer.sent()
