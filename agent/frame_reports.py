"""Tells one viewer when each of its frames went through the host, while it asks (docs/protocol.md 6.3).

Flow: agent/session.py hands over what the `stats` channel brings, and when inputs were injected.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Final

from agent.frames import (
    Arrivals,
    Ask,
    Freezes,
    InputTimes,
    Legs,
    SentFrame,
    decode,
    encode_clock,
    encode_frames,
)

EVERY_S: Final = 0.5
"""60 frames a second then fit in one message; the page waits a second for what is told of a frame."""
ASKED_S: Final = 3.0
"""How long an ASK holds; the page asks twice a second."""
LEGS_S: Final = 12.0
"""How long what the page measured is told on; while nobody looks it measures for three seconds of every ten."""
MAX_LEG_S: Final = 10.0


def clock_us() -> int:
    """The host's clock in all that it tells."""
    return time.monotonic_ns() // 1000


class FrameReports:
    """Lives on the event loop. `take` gives what was sent since it was called last, and forgets it.

    `arrived` gets what the browser says of arrivals, for which it has to be asked (`agent.frames.encode_want`).
    """

    def __init__(
        self,
        send: Callable[[bytes], bool],
        take: Callable[[], list[SentFrame]],
        arrived: Callable[[Arrivals], None],
    ) -> None:
        self._send = send
        self._take = take
        self._arrived = arrived
        self._loop = asyncio.get_running_loop()
        self._inputs = InputTimes()
        self._asked_until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._legs: Mapping[str, float] = {}
        self._legs_until = 0.0
        self.freezes: int | None = None
        """Since the connection began, for the host's telemetry; None: the browser told nothing."""

    def injected(self, sequence: int, at_us: int) -> None:
        """Everything up to event `sequence` was injected from `at_us` on."""
        self._inputs.note(sequence, at_us)

    def on_message(self, payload: bytes) -> None:
        """A message of the browser; raises StatsError when it is none."""
        heard_us = clock_us()
        match decode(payload):
            case Ask(asked_us):
                self._send(encode_clock(asked_us, heard_us, clock_us()))
                self._asked_until = self._loop.time() + ASKED_S
                if self._timer is None:
                    self._take()  # of before it asked
                    self._timer = self._loop.call_later(EVERY_S, self._tell)
            case Arrivals() as arrivals:
                self._arrived(arrivals)
            case Freezes(count):
                self.freezes = count
            case Legs(seconds):
                self._legs = {leg: min(value, MAX_LEG_S) for leg, value in seconds.items()}
                self._legs_until = self._loop.time() + LEGS_S

    def legs_s(self) -> Mapping[str, float] | None:
        """What the browser measured lately, for the host's telemetry; None: it told nothing."""
        return self._legs or None if self._loop.time() < self._legs_until else None

    def close(self) -> None:
        """Tell nothing more. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()

    def _tell(self) -> None:
        asked = self._loop.time() < self._asked_until
        self._timer = self._loop.call_later(EVERY_S, self._tell) if asked else None
        if asked:
            for message in encode_frames(self._take(), self._inputs):
                self._send(message)
