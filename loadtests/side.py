"""What the shell that holds the socket asks of a client, in whichever dialect it speaks (a core)."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from loadtests.conversation import Script
from loadtests.tally import Tally

BACK_OFF_FIRST_S: Final = 0.2
BACK_OFF_MOST_S: Final = 10.0
"""Full jitter below a bound that doubles, as the agent does."""
REFUSALS: Final = 6
"""In a row, after which a client gives up: about half a minute of waiting."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Something took so long, or failed; `error` is a text from a closed set."""

    name: str
    seconds: float
    error: str | None = None


class Side:
    """One client. The shell opens a socket to `path`, says `opened`, and drains `poll` after every call.

    It ends the socket when `hang_up` is set, opens another one after `wait_s` unless `over`, and takes `events`.
    """

    subprotocol: str | None = None

    def __init__(self, script: Script, chance: random.Random) -> None:
        self.script = script
        self.tally = Tally()
        """Of what has ended; the shell takes it."""
        self.chance = chance
        self.over = False
        self.joined = False
        self.stopping = False
        self.hang_up = False
        self.events: deque[Measured] = deque()
        self._out: deque[str] = deque()
        self._bound_s = BACK_OFF_FIRST_S
        self._after_s = 0.0
        self._refused = 0

    def path(self) -> str:
        """Where a node is asked for a socket; with a plain client's token, so it is never shown."""
        raise NotImplementedError

    def opened(self, now: float) -> None:
        """There is a socket."""
        raise NotImplementedError

    def receive(self, text: str, now: float) -> None:
        """A message has come. Raises MessageError."""
        raise NotImplementedError

    def lost(self, now: float, code: int, reason: str) -> None:
        """The socket is gone; 1006: without a close."""
        raise NotImplementedError

    def stop(self, now: float) -> None:
        """Come to an end in order."""
        raise NotImplementedError

    def close(self) -> None:
        """There is no more time: count what is not whole."""
        raise NotImplementedError

    def poll(self, now: float) -> Iterator[str]:
        """What is to be sent."""
        raise NotImplementedError

    def next_deadline(self) -> float | None:
        """When `poll` may have something without a message in between."""
        raise NotImplementedError

    def _drain(self) -> Iterator[str]:
        while self._out:
            yield self._out.popleft()

    def wait_s(self) -> float:
        """How long to wait before the next socket."""
        wait_s = self._after_s + self.chance.uniform(0, self._bound_s)
        self._bound_s = min(2 * self._bound_s, BACK_OFF_MOST_S)
        self._after_s = 0.0
        return wait_s

    def _welcomed(self) -> None:
        self.joined = True
        self._bound_s = BACK_OFF_FIRST_S
        self._refused = 0

    def refuse(self, what: str, why: str, after_s: float = 0.0) -> None:
        """An attempt has failed."""
        self.events.append(Measured(what, 0.0, why))
        self._after_s = after_s
        self._refused += 1
        if self._refused >= REFUSALS:
            self.over = True
