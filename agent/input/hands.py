"""The one pair of hands on the host's desktop: makes the calls of every viewer's guard on one injector.

Flow: agent/input/guard.py returns calls, these go to the injector. Two players may hold the same key:
it goes down with the first and up with the last. What will be held is told before it is pressed, so
that the watchdog can release it whatever happens to this process.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Final

from agent.input.base import Injector, InputUnavailable
from agent.input.guard import Call, MoveBy, MoveTo, PressButton, PressKey, TurnWheel

logger = logging.getLogger(__name__)

REOPEN_AFTER_S: Final = 1.0

Tell = Callable[[tuple[int, ...], tuple[int, ...]], None]
"""Gets every held key (usages) and button, before the first of them goes down and after one went up."""


class Hands:
    """Owns the injector. Lives on one thread; opens at the first call, again after a failure."""

    def __init__(self, open_injector: Callable[[], Injector], tell: Tell) -> None:
        self._open_injector = open_injector
        self._tell = tell
        self._injector: Injector | None = None
        self._not_before = 0.0
        self._complaint = ""
        self._keys: dict[int, set[str]] = {}
        self._buttons: dict[int, set[str]] = {}

    def apply(self, viewer: str, calls: Iterable[Call]) -> bool:
        """Make the calls in order; whether anything reached the injector."""
        done = False
        for call in calls:
            match call:
                case PressKey(usage, down):
                    done |= self._press(self._keys, (viewer, usage), call, down=down)
                case PressButton(button, down):
                    done |= self._press(self._buttons, (viewer, button), call, down=down)
                case _:
                    done |= self._inject(call)
        return done

    def close(self) -> None:
        """Release what is held and give the injector back. Idempotent."""
        for usage in sorted(self._keys):
            self._inject(PressKey(usage, down=False))
        for button in sorted(self._buttons):
            self._inject(PressButton(button, down=False))
        if self._keys or self._buttons:
            self._keys.clear()
            self._buttons.clear()
            self._say()
        self._shut()

    def rest(self) -> None:
        """No viewer is left: give the connection to the display back, until the next call."""
        if not (self._keys or self._buttons):
            self._shut()

    def _press(
        self, held: dict[int, set[str]], who: tuple[str, int], call: Call, *, down: bool
    ) -> bool:
        viewer, code = who
        holders = held.setdefault(code, set())
        if down:
            holders.add(viewer)
            if len(holders) > 1:
                return False
            self._say()
            return self._inject(call)
        holders.discard(viewer)
        if holders:
            return False
        del held[code]
        done = self._inject(call)
        self._say()
        return done

    def _say(self) -> None:
        self._tell(tuple(sorted(self._keys)), tuple(sorted(self._buttons)))

    def _inject(self, call: Call) -> bool:
        injector = self._injector or self._opened()
        if injector is None:
            return False
        try:
            _make(injector, call)
        except InputUnavailable as error:
            self._complain(f"input stopped: {error}")
            self._not_before = time.monotonic() + REOPEN_AFTER_S
            self._shut()
            return False
        return True

    def _opened(self) -> Injector | None:
        if time.monotonic() < self._not_before:
            return None
        try:
            self._injector = self._open_injector()
        except InputUnavailable as error:
            self._complain(f"no input: {error}")
            self._not_before = time.monotonic() + REOPEN_AFTER_S
        return self._injector

    def _complain(self, words: str) -> None:
        """Once for each reason, not for each key."""
        if words != self._complaint:
            logger.warning("%s", words)
        self._complaint = words

    def _shut(self) -> None:
        injector, self._injector = self._injector, None
        if injector is not None:
            injector.close()


def _make(injector: Injector, call: Call) -> None:
    match call:
        case PressKey(usage, down):
            injector.key(usage, down=down)
        case PressButton(button, down):
            injector.button(button, down=down)
        case MoveTo(x, y):
            injector.move(x, y)
        case MoveBy(dx, dy):
            injector.move_by(dx, dy)
        case TurnWheel(dx, dy):
            injector.wheel(dx, dy)
