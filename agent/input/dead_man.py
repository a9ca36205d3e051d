"""The dead man's timer on the event loop: what a viewer holds is let go of when nothing is heard of it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Final

LATE_S: Final = 0.02
SECOND_LOOK_S: Final = 0.05
"""A busy machine must not look like a silent browser (and release Shift in the middle of a word)."""


class DeadMan:
    """`next_deadline` is when something has to be let go of, on the loop's clock; None: nothing is held.

    `expire` gets the time, and lets go.
    """

    def __init__(
        self, next_deadline: Callable[[], float | None], expire: Callable[[float], None]
    ) -> None:
        self._next_deadline = next_deadline
        self._expire = expire
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def watch(self) -> None:
        """Keep one timer while anything is held; call it after each message."""
        deadline = self._next_deadline()
        if deadline is not None and self._timer is None:
            self._timer = self._loop.call_at(deadline, self._silent, deadline)

    def stop(self) -> None:
        """Until the next `watch`. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

    def _silent(self, due: float) -> None:
        """The timer of the deadline, or the second look after it."""
        now, deadline = self._loop.time(), self._next_deadline()
        self._timer = None
        if now - due > LATE_S and deadline is not None and deadline <= due:
            # It was this process that stood still: first read what waits in the socket.
            self._timer = self._loop.call_later(SECOND_LOOK_S, self._silent, math.inf)
            return
        self._expire(now)
        self.watch()
