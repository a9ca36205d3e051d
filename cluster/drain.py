"""The drain: before the server stops, every peer is asked to come back elsewhere, spread over a window.

uvicorn would close every socket in one instant on SIGTERM, and all clients would come back in that instant.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Collection
from typing import Final, Protocol

from cluster import metrics
from cluster.websocket import CLOSE_LIMIT_S

log = logging.getLogger(__name__)

POLL_S: Final = 0.05
SPREAD: Final = 0.8
"""Of the window: the last peers that are asked need time to go, too."""
LAST_CALL_S: Final = CLOSE_LIMIT_S + 0.5
"""After the window the sockets that are still open are closed with 1012, and cut off when their peers do not answer."""


class Drainable(Protocol):
    """A session, as the drain sees it."""

    def drain(self, after_ms: int) -> None:
        """Go at this time."""

    def finish(self) -> None:
        """Go now."""


def turns(count: int, window_s: float, chance: random.Random) -> list[float]:
    """When each of `count` peers goes, in seconds from now and in random order.

    One falls into each of `count` equal parts of the spread: jitter, but never a crowd.
    """
    spread_s = SPREAD * window_s
    moments = [(part + chance.random()) * spread_s / count for part in range(count)]
    chance.shuffle(moments)
    return moments


class Drain:
    """Runs once; `active` says that new sockets are not wanted."""

    def __init__(self, sessions: Callable[[], Collection[Drainable]], window_s: float) -> None:
        self._sessions = sessions
        self._running: asyncio.Task[None] | None = None
        self.window_s = window_s
        self.on_over: Callable[[], None] = lambda: None
        """Called when every socket is gone or was told to go: the server can stop."""

    @property
    def active(self) -> bool:
        """True from the first moment on."""
        return self._running is not None

    @property
    def sockets(self) -> int:
        """How many peers are still here."""
        return len(self._sessions())

    def begin(self) -> None:
        """Start it; a second call changes nothing."""
        if self._running is None:
            log.info("draining %d sockets within %g s", self.sockets, self.window_s)
            metrics.DRAINING.set(1)
            self._running = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        """Ask, wait for the window, close what is left."""
        try:
            waiting = list(self._sessions())
            chance = random.Random()  # noqa: S311 - jitter
            for session, after_s in zip(
                waiting, turns(len(waiting), self.window_s, chance), strict=True
            ):
                session.drain(int(after_s * 1000))
            await self._empty_within(self.window_s)
            for session in list(self._sessions()):
                session.finish()
            await self._empty_within(LAST_CALL_S)
        finally:
            metrics.DRAINING.set(0)
            self.on_over()

    async def _empty_within(self, limit_s: float) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + limit_s
        while self._sessions() and loop.time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)
