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

log = logging.getLogger(__name__)

POLL_S: Final = 0.05
LAST_CALL_S: Final = 1.0
"""After the window the sockets that are still open are closed with 1012."""


class Drainable(Protocol):
    """A session, as the drain sees it."""

    def drain(self, after_ms: int) -> None:
        """Go within this time."""

    def finish(self) -> None:
        """Go now."""


class Drain:
    """Runs once; `active` says that new sockets are not wanted."""

    def __init__(self, sessions: Callable[[], Collection[Drainable]], window_s: float) -> None:
        self._sessions = sessions
        self._window_s = window_s
        self.active = False

    async def run(self) -> None:
        """Ask, wait for the window, close what is left."""
        self.active = True
        metrics.DRAINING.set(1)
        log.info("draining %d sockets", len(self._sessions()))
        loop = asyncio.get_running_loop()
        for session in list(self._sessions()):
            session.drain(int(random.uniform(0, self._window_s) * 1000))  # noqa: S311 - jitter
        deadline = loop.time() + self._window_s
        while self._sessions() and loop.time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)
        for session in list(self._sessions()):
            session.finish()
        deadline = loop.time() + LAST_CALL_S
        while self._sessions() and loop.time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)
