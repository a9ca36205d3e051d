"""When the supervisor starts and ends the worker: by the console session, a back-off, and the service's stop. A core.

After each call of `console`, `exited` or `stop` drain `poll`, then wait until `next_deadline`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

BACK_OFF_FIRST_S: Final = 1.0
BACK_OFF_MOST_S: Final = 60.0
STEADY_S: Final = 60.0
"""After a life this long the back-off begins anew."""
HOPELESS: Final = frozenset({2, 3})
"""Exit codes of `tightbeam-agent run` that only somebody's act changes: its settings, or the node's refusal."""
END_LIMIT_S: Final = 10.0
"""For an orderly end: the agent takes at most 8 s (agent/lifeline.py)."""


@dataclass(frozen=True, slots=True)
class Start:
    """Start the worker in this session."""

    session: int


@dataclass(frozen=True, slots=True)
class End:
    """Close the worker's pipe, and let it come to its end."""

    reason: str


@dataclass(frozen=True, slots=True)
class Kill:
    """The worker did not end in time."""


Effect = Start | End | Kill


class _State(Enum):
    IDLE = auto()
    RUNNING = auto()
    ENDING = auto()
    STOPPED = auto()


class Keeper:
    """At most one worker at a time. `now` is monotonic, in seconds."""

    def __init__(self) -> None:
        self._state = _State.IDLE
        self._console: int | None = None
        self._session: int | None = None
        self._stopping = False
        self._started_at = 0.0
        self._start_at = -math.inf
        self._end_by = math.inf
        self._back_off_s = BACK_OFF_FIRST_S

    @property
    def stopped(self) -> bool:
        """The service stops, and no worker is left."""
        return self._state is _State.STOPPED

    def console(self, session: int | None) -> None:
        """The session at the screen now; None while Windows changes it."""
        self._console = session

    def stop(self) -> None:
        """Start nothing any more, and end what runs."""
        self._stopping = True

    def exited(self, code: int | None, now: float) -> bool:
        """The worker ended, or could not be started (None); whether it was asked to end.

        Raises ValueError when there was none.
        """
        if self._state not in (_State.RUNNING, _State.ENDING):
            raise ValueError(f"no worker can end while {self._state.name}")
        asked = self._state is _State.ENDING
        if asked:
            self._start_at = now
        else:
            if now - self._started_at >= STEADY_S:
                self._back_off_s = BACK_OFF_FIRST_S
            if code in HOPELESS:
                self._back_off_s = BACK_OFF_MOST_S
            self._start_at = now + self._back_off_s
            self._back_off_s = min(2 * self._back_off_s, BACK_OFF_MOST_S)
        self._state, self._session = _State.IDLE, None
        return asked

    def poll(self, now: float) -> Effect | None:
        """The next thing to do, if there is one."""
        match self._state:
            case _State.IDLE if self._stopping:
                self._state = _State.STOPPED
            case _State.IDLE if self._console is not None and now >= self._start_at:
                self._state, self._session = _State.RUNNING, self._console
                self._started_at = now
                return Start(self._console)
            case _State.RUNNING if self._stopping:
                return self._end("the service stops", now)
            case _State.RUNNING if self._console not in (None, self._session):
                return self._end(f"session {self._console} is at the screen now", now)
            case _State.ENDING if now >= self._end_by:
                self._end_by = math.inf
                return Kill()
        return None

    def _end(self, reason: str, now: float) -> End:
        self._state, self._end_by = _State.ENDING, now + END_LIMIT_S
        return End(reason)

    def next_deadline(self) -> float:
        """When `poll` may have something to do without a call before; infinite: never."""
        if self._state is _State.IDLE and self._console is not None:
            return self._start_at
        return self._end_by if self._state is _State.ENDING else math.inf
