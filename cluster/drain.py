"""The drain: before the server stops, every peer is asked to come back elsewhere, spread over a window.

uvicorn would close every socket in one instant on SIGTERM, and all clients would come back in that instant.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final, Protocol

from cluster import metrics
from cluster.websocket import CLOSE_LIMIT_S

log = logging.getLogger(__name__)

POLL_S: Final = 0.05
SPREAD: Final = 0.8
"""Of the window: the last peers that are asked need time to go, too."""
LAST_CALL_S: Final = CLOSE_LIMIT_S + 0.5
SERVER_S: Final = 1.0
EXIT_S: Final = 1.0
"""Thrice what an idle machine takes: the server looks every 0.1 s whether it may end, then the interpreter ends."""


@dataclass(frozen=True, slots=True)
class Phases:
    """How the time from the signal to the end of the process is divided, in seconds.

    In the window peers go at moments of their own. At the last call those who are left have their 1012, and are cut off
    when they do not answer. Then the server ends, with the connections that are no peers', and the process, which
    first waits for Redis to hear of the last leaves.
    """

    window_s: float
    last_call_s: float
    server_s: float
    leaves_s: float

    @classmethod
    def within(cls, limit_s: float) -> Phases:
        """The window has what the others do not need, and never less than half of what the process's end leaves."""
        exit_s = min(EXIT_S, limit_s / 2)
        closing_s = min(LAST_CALL_S + SERVER_S, (limit_s - exit_s) / 2)
        server_s = closing_s * SERVER_S / (LAST_CALL_S + SERVER_S)
        window_s = limit_s - exit_s - closing_s
        return cls(window_s, closing_s - server_s, server_s, exit_s / 2)


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

    def __init__(self, sessions: Callable[[], Collection[Drainable]], limit_s: float) -> None:
        self._sessions = sessions
        self._running: asyncio.Task[None] | None = None
        self.limit_s = limit_s
        self.phases = Phases.within(limit_s)
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
            log.info("draining %d sockets within %g s", self.sockets, self.limit_s)
            metrics.DRAINING.set(1)
            metrics.DRAIN_DEADLINE.set(time.time() + self.limit_s)
            self._running = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        """Ask, wait for the window, close what is left."""
        phases, began = self.phases, asyncio.get_running_loop().time()
        try:
            waiting = list(self._sessions())
            chance = random.Random()  # noqa: S311 - jitter
            moments = turns(len(waiting), phases.window_s, chance)
            for session, after_s in zip(waiting, moments, strict=True):
                session.drain(int(after_s * 1000))
            await self._empty_until(began + phases.window_s)
            for session in list(self._sessions()):
                session.finish()
            await self._empty_until(began + phases.window_s + phases.last_call_s)
        finally:
            metrics.DRAINING.set(0)
            metrics.DRAIN_DEADLINE.set(0)
            self.on_over()

    async def _empty_until(self, deadline: float) -> None:
        loop = asyncio.get_running_loop()
        while self._sessions() and (left_s := deadline - loop.time()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(min(POLL_S, left_s))
