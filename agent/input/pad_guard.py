"""Decides what a viewer's gamepads do to the host, and that nothing stays pressed: a core.

Flow: agent/input/pad_events.py decodes, the guard returns calls as values, agent/input/pad_link.py makes
them on agent/input/pads.py. `now` is in seconds of a monotonic clock. After every call look at
`next_deadline`, and call `expire` then.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from agent.input.guard import BURST_S, SILENCE_S, Bucket, Role
from agent.input.pad_events import MAX_PADS, NEUTRAL, Pads, PadState

STATES_PER_S: Final = 2500
"""Four pads, polled each 4 ms, whose sticks all move, are 1250 with their messages; repeats come to it."""


PLUGS_PER_S: Final = 1
"""Each makes a device on the host, which its desktop notices."""
PLUGS_AT_ONCE: Final = 2 * MAX_PADS


@dataclass(frozen=True, slots=True)
class Plug:
    """Plug a neutral one in."""

    pad: int


@dataclass(frozen=True, slots=True)
class SetPad:
    pad: int
    state: PadState


@dataclass(frozen=True, slots=True)
class Unplug:
    pad: int


PadCall = Plug | SetPad | Unplug


@dataclass(slots=True)
class PadCounts:
    """What was not done, and why."""

    not_allowed: int = 0
    """Messages of a viewer."""
    limited: int = 0
    """Messages over the rate; what they say is said again."""
    silences: int = 0
    """Times that everything went neutral because no message came."""


class PadGuard:
    """The gamepads of one viewer: what they were last set to, and when they were last heard."""

    def __init__(self, role: Role) -> None:
        self.allowed = role == "player"
        self.counts = PadCounts()
        self._set: dict[int, PadState] = {}
        self._next = 1
        self._following: dict[int, int] = {}
        """By pad, the next change to apply, where some were that are not acknowledged."""
        self._stamp = -1
        self._heard = 0.0
        self._states = Bucket(STATES_PER_S, STATES_PER_S * BURST_S)
        self._plugs = Bucket(PLUGS_PER_S, PLUGS_AT_ONCE)

    def succeed(self, former: PadGuard, stamp: int) -> None:
        """Take over the gamepads of a connection whose place this one takes, with a first message of this stamp.

        Its numbers too, unless the browser began them anew: by them it is known what was heard there.
        """
        self._set, former._set = former._set, {}
        if stamp > former._stamp:
            self._stamp, self._next = former._stamp, former._next
            self._following = former._following

    def connect(self, message: Pads, now: float) -> list[PadCall] | None:
        """Which pads to plug in and to unplug before `apply`; None: the message is to be dropped.

        Else call `apply` with the pads that are plugged in by now.
        """
        if not self.allowed:
            self.counts.not_allowed += 1
            return None
        self._heard = now
        if message.stamp <= self._stamp:
            return None  # overtaken by a newer message
        connected = {entry.pad for entry in message.newest}
        fresh = sorted(connected - self._set.keys())
        states = 1 + len(message.changes) + len(message.newest)
        if not self._states.take(now, states) or not self._plugs.take(now, len(fresh)):
            self.counts.limited += 1
            return None
        gone = sorted(self._set.keys() - connected)
        for pad in gone:
            del self._set[pad]
        self._set.update(dict.fromkeys(fresh, NEUTRAL))
        return [*map(Unplug, gone), *map(Plug, fresh)]

    def apply(self, message: Pads, ready: set[int]) -> tuple[list[PadCall], int | None]:
        """The calls of a message that `connect` let through, in order, and the PADS_ACK to send, if one is due.

        A message repeats all that earlier ones said and that was not acknowledged, so whatever was lost or
        overtaken, the newest says enough. None is acknowledged while a connected pad is not among the `ready`
        ones, for which nothing is done: what they are told comes again.
        """
        self._stamp = message.stamp
        calls: list[PadCall] = []
        for number, entry in enumerate(message.changes, message.first):
            heard = number < max(self._next, self._following.get(entry.pad, 0))
            if not heard and entry.pad in self._set and entry.pad in ready:
                calls.extend(self._to(entry.pad, entry.state))
        following = max(self._next, message.first + len(message.changes))
        for entry in message.newest:
            if entry.pad in ready:
                self._following[entry.pad] = following
                calls.extend(self._to(entry.pad, entry.state))
        if not self._set.keys() <= ready:
            return calls, None
        self._next = following
        return calls, self._next if message.changes else None

    def next_deadline(self) -> float | None:
        """When `expire` has something to do, if no message comes before."""
        if all(state == NEUTRAL for state in self._set.values()):
            return None
        return self._heard + SILENCE_S

    def expire(self, now: float) -> list[PadCall]:
        """Let go of everything when the deadline has passed; the next message says what is pressed then."""
        deadline = self.next_deadline()
        if deadline is None or now < deadline:
            return []
        self.counts.silences += 1
        return self.let_go()

    def let_go(self) -> list[PadCall]:
        """Everything goes neutral, and stays plugged in."""
        calls: list[PadCall] = []
        for pad in self._set:
            calls.extend(self._to(pad, NEUTRAL))
        return calls

    @property
    def connected(self) -> set[int]:
        """The pads that this viewer has."""
        return set(self._set)

    def unplug_all(self) -> list[PadCall]:
        """The session ends."""
        calls: list[PadCall] = [Unplug(pad) for pad in self._set]
        self._set.clear()
        return calls

    def _to(self, pad: int, state: PadState) -> Iterator[PadCall]:
        if self._set.get(pad) != state:
            self._set[pad] = state
            yield SetPad(pad, state)
