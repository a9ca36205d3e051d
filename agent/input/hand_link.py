"""One viewer's keys, buttons, wheel and motion on the event loop: messages in, answers out, and the dead man's timer.

Flow: agent/session.py hands messages of the `input` channel in; agent/input/guard.py decides, hands.py acts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from agent.frame_reports import clock_us
from agent.input import events
from agent.input.dead_man import DeadMan
from agent.input.guard import Call, Guard, Role
from agent.input.hands import Hands


class HandLink:
    """`send` puts a message on the viewer's `input` channel.

    `injected` hears of what reached the host: the newest event's number, and the host's clock in us before it.
    """

    def __init__(
        self,
        viewer: str,
        role: Role,
        hands: Hands,
        send: Callable[[bytes], object],
        injected: Callable[[int, int], None],
    ) -> None:
        self._viewer = viewer
        self._role = role
        self._hands = hands
        self._send = send
        self._injected = injected
        self._guard = Guard(role)
        self._former: HandLink | None = None
        self._over = False
        self._loop = asyncio.get_running_loop()
        self._dead_man = DeadMan(self._guard.next_deadline, self._expire)

    @property
    def relative(self) -> bool:
        """The viewer's last motion was one: its browser draws no pointer of its own."""
        return self._guard.relative

    def follow(self, former: HandLink) -> None:
        """This connection may take the place of that one, of the same browser."""
        self._former = former

    def hand_over(self) -> int:
        """Let go of everything and hear nothing more; the newest event that was applied."""
        self._over = True
        self.release()
        return self._guard.applied

    def on_message(self, payload: bytes, screen: int) -> None:
        """A message, with the number of what is shown now; raise InputError for one that is none."""
        message = events.decode(payload)
        if self._over:
            return  # the browser says it again on the next connection
        if isinstance(message, events.Events) and not self._open():
            return  # not acknowledged, so they come again
        if isinstance(message, events.Events) and message.carried and self._former is not None:
            self._guard.carry(message.carried, self._former.hand_over())
            self._former = None
        self._guard.screen = screen
        calls, following = self._guard.receive(message, self._loop.time())
        self._inject(calls)
        if following is not None:
            self._send(events.encode_ack(following))
        self._dead_man.watch()

    def release(self) -> None:
        """Let go of everything."""
        self._inject(self._guard.release_all())

    def close(self) -> None:
        """The session is over. Idempotent."""
        self._dead_man.stop()
        self._former = None

    def counts(self) -> dict[str, int]:
        """What was not done, by why."""
        counts = self._guard.counts
        return {
            "messages not allowed": counts.not_allowed,
            "gaps": counts.gaps,
            "events limited": counts.limited,
            "events out of range": counts.out_of_range,
            "motions over an earlier picture": counts.elsewhere,
            "silences": counts.silences,
        }

    def _open(self) -> bool:
        """Nobody opens the display for a viewer, whose messages the guard ignores."""
        return self._role == "viewer" or self._hands.open()

    def _inject(self, calls: list[Call]) -> None:
        # Before it: the answer may be on the screen, and captured, before the call returns.
        at_us = clock_us()
        if calls and self._hands.apply(self._viewer, calls):
            self._injected(self._guard.applied, at_us)

    def _expire(self, now: float) -> None:
        self._inject(self._guard.expire(now))
