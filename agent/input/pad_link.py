"""One viewer's gamepads on the event loop: messages in, answers and rumble out, and the dead man's timer.

Flow: agent/session.py hands messages of the `input` channel in; agent/input/pads.py has the devices.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from typing import Final

from agent.input.dead_man import DeadMan
from agent.input.guard import Role
from agent.input.pad_events import decode_pads, encode_pads_ack, encode_rumble, is_pads
from agent.input.pad_guard import PadCall, PadGuard, Plug, SetPad, Unplug
from agent.input.pads import Owner, Pads

RUMBLE_EVERY_S: Final = 0.1
"""A page lets a motor run for 0.5 s after the last word about it (docs/protocol.md 6.2)."""
STILL_REPEATS: Final = 3
"""How often it is said again that the motors stand still."""
KEPT_S: Final = 3.0
"""So long after the end of a connection its gamepads wait for the first word on the one that takes its place."""
FULL: Final = 65_535

takes = is_pads


class _Motors:
    """What the page was last told of one pad's motors."""

    def __init__(self) -> None:
        self.strong = 0
        self.weak = 0
        self.still_repeats = 0

    @property
    def to_say(self) -> bool:
        return bool(self.strong or self.weak or self.still_repeats)


class PadLink:
    """`send` puts a message on the viewer's `input` channel, `acted` hears that the host was given something.

    `pads` is None where gamepads make no sense: messages are checked and go nowhere.
    """

    def __init__(
        self,
        viewer: str,
        role: Role,
        pads: Pads | None,
        send: Callable[[bytes], object],
        acted: Callable[[], None],
    ) -> None:
        self._viewer = viewer
        self._guard = PadGuard(role)
        self._pads = pads
        self._send = send
        self._acted = acted
        self._former: PadLink | None = None
        self._heir: PadLink | None = None
        self._over = False
        """Its gamepads are the heir's."""
        self._loop = asyncio.get_running_loop()
        self._dead_man = DeadMan(self._guard.next_deadline, self._expire)
        self._kept: asyncio.TimerHandle | None = None
        """Until its gamepads are unplugged, as nobody took them over."""
        self._rumbling: asyncio.TimerHandle | None = None
        self._motors: dict[int, _Motors] = {}
        self._stamp = 0

    def follow(self, former: PadLink) -> None:
        """This connection may take the place of that one, of the same browser: its gamepads stay plugged in."""
        self._former, former._heir = former, self

    def on_message(self, payload: bytes) -> None:
        """A message that `takes` says yes to. Raises InputError when it is none."""
        message = decode_pads(payload)
        if self._over:
            return  # the browser says it again on the next connection
        if self._former is not None and self._guard.allowed:
            self._inherit(self._former, message.stamp)
        calls = self._guard.connect(message, self._loop.time())
        if calls is None:
            return
        self._make(calls)
        calls, following = self._guard.apply(message, self._ready())
        self._make(calls)
        if following is not None:
            self._send(encode_pads_ack(following))
        self._dead_man.watch()

    def release(self) -> None:
        """The viewer goes: unplug its gamepads, at once or when the heir has not taken them over. Idempotent."""
        self._stop()
        former, self._former = self._former, None
        if former is not None:
            former._disinherit(self)
        if self._heir is None:
            self._make(self._guard.unplug_all())
            return
        self._make(self._guard.let_go())
        if self._kept is None:
            self._kept = self._loop.call_later(KEPT_S, self._disinherit, self._heir)

    def _stop(self) -> None:
        self._dead_man.stop()
        if self._rumbling is not None:
            self._rumbling.cancel()
        self._rumbling = None
        self._motors.clear()

    def _inherit(self, former: PadLink, stamp: int) -> None:
        self._former = None
        self._guard.succeed(former._guard, stamp)
        if self._pads is not None:
            for pad in self._guard.connected:
                told = partial(self._on_rumble, pad)
                self._pads.move(former._owner(pad), self._owner(pad), told)
        former._over = True
        former._stop()
        former._disinherit(self)

    def _disinherit(self, heir: PadLink) -> None:
        """That one has them, or will not come: what was kept for it is unplugged."""
        if self._heir is not heir:
            return
        self._heir = None
        if self._kept is not None:
            self._kept.cancel()
            self._kept = None
            self._make(self._guard.unplug_all())

    def counts(self) -> dict[str, int]:
        """For the log, by words."""
        counts = self._guard.counts
        return {
            "gamepad messages not allowed": counts.not_allowed,
            "gamepad messages limited": counts.limited,
            "gamepad silences": counts.silences,
        }

    def _owner(self, pad: int) -> Owner:
        return Owner(self._viewer, pad)

    def _ready(self) -> set[int]:
        """The pads that are not being plugged in just now."""
        pads, connected = self._pads, self._guard.connected
        if pads is None:
            return connected
        return {pad for pad in connected if pads.ready(self._owner(pad))}

    def _make(self, calls: list[PadCall]) -> None:
        if self._pads is None:
            return
        acted = False
        for call in calls:
            match call:
                case Plug(pad):
                    self._pads.plug(self._owner(pad), partial(self._on_rumble, pad))
                case SetPad(pad, state):
                    acted |= self._pads.set(self._owner(pad), state)
                case Unplug(pad):
                    self._pads.unplug(self._owner(pad))
                    self._motors.pop(pad, None)
        if acted:
            self._acted()

    def _expire(self, now: float) -> None:
        self._make(self._guard.expire(now))

    def _on_rumble(self, pad: int, strong: float, weak: float) -> None:
        """Of a gamepad, on a thread of its own."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody feels it
            self._loop.call_soon_threadsafe(self._rumble, pad, strong, weak)

    def _rumble(self, pad: int, strong: float, weak: float) -> None:
        if pad not in self._guard.connected:
            return  # it was unplugged meanwhile
        motors = self._motors.setdefault(pad, _Motors())
        motors.strong, motors.weak = _level(strong), _level(weak)
        motors.still_repeats = STILL_REPEATS
        self._say(pad, motors)
        if self._rumbling is None:
            self._rumbling = self._loop.call_later(RUMBLE_EVERY_S, self._repeat)

    def _repeat(self) -> None:
        self._rumbling = None
        for pad, motors in self._motors.items():
            if motors.to_say:
                if not (motors.strong or motors.weak):
                    motors.still_repeats -= 1
                self._say(pad, motors)
        if any(motors.to_say for motors in self._motors.values()):
            self._rumbling = self._loop.call_later(RUMBLE_EVERY_S, self._repeat)

    def _say(self, pad: int, motors: _Motors) -> None:
        self._stamp += 1
        self._send(encode_rumble(self._stamp, pad, motors.strong, motors.weak))


def _level(share: float) -> int:
    return round(min(max(share, 0.0), 1.0) * FULL)
