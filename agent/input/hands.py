"""The one pair of hands on the host's desktop: makes the calls of every viewer's guard on one injector.

Flow: agent/input/guard.py returns calls, these go to the injector. Two players may hold the same key:
it goes down with the first and up with the last. What will be held is told before it is pressed, and
stays told until the display server has carried its release out, so that the watchdog can release it
whatever happens to this process.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Final

from agent.capture.base import Box
from agent.input.base import Injector, InputUnavailable
from agent.input.guard import (
    Call,
    MoveBy,
    MoveTo,
    PressButton,
    PressKey,
    TurnWheel,
    TypeText,
)
from agent.input.opening import Opening

logger = logging.getLogger(__name__)

REOPEN_AFTER_S: Final = 1.0
SLOW_OPENING_S: Final = 2.0
"""It takes some 10 ms, on two cores with eight busy processes up to 0.8 s; more is worth a word."""
CLOSE_WAIT_S: Final = 1.0

Tell = Callable[[tuple[int, ...], tuple[int, ...]], None]
"""Gets every held key (usages) and button, before the first of them goes down and after one went up."""


class Hands:
    """Owns the injector. Lives on one thread, and waits nowhere but in `close`.

    Call `open` before `apply`, and `settle` from time to time: a release is owed until it is carried out.
    """

    def __init__(
        self,
        open_injector: Callable[[], Injector],
        tell: Tell,
        area: Callable[[], Box | None] = lambda: None,
        blind: Callable[[], bool] = lambda: False,
    ) -> None:
        """`area`: what of the desktop the viewers see, of which the guards' motions are fractions; None: all of it.

        `blind`: they see nothing of what a call would reach, so that nothing but releases is made.
        """
        self._open_injector = open_injector
        self._area = area
        self._blind = blind
        self._tell = tell
        self._injector: Injector | None = None
        self._opening: Opening[Injector] | None = None
        self._not_before = 0.0
        self._complaint = ""
        # By code: the viewers that hold it; nobody means that its release is owed.
        self._keys: dict[int, set[str]] = {}
        self._buttons: dict[int, set[str]] = {}
        self._given = False
        """Every owed release has been given to this injector, and perhaps waits in it."""

    def open(self) -> bool:
        """Begin to open the injector, if there is none. False while that goes on: calls would be lost.

        True does not mean that there is one: where none can be opened, calls do nothing.
        """
        self._ready()
        return self._opening is None

    def apply(self, viewer: str, calls: Iterable[Call]) -> bool:
        """Make the calls in order; whether anything reached the injector."""
        self.settle()
        done = False
        blind = self._blind()
        for call in calls:
            if blind and not _releases(call):
                continue
            match call:
                case PressKey(usage, down):
                    done |= self._press(self._keys, (viewer, usage), call, down=down)
                case PressButton(button, down):
                    done |= self._press(self._buttons, (viewer, button), call, down=down)
                case _:
                    done |= self._inject(call)
        return done

    def settle(self) -> None:
        """Forget the releases that were carried out; make again what an injector took with it."""
        owed = self._owed()
        if not owed or self._ready() is None:
            return
        if not self._given and not all(self._inject(call) for call in owed):
            return
        self._given = True
        if self._synced():
            self._forget(owed)

    def close(self) -> None:
        """Release what is held and give the injector back. Idempotent.

        What the display server does not do in time stays told, for the watchdog.
        """
        for holders in (*self._keys.values(), *self._buttons.values()):
            holders.clear()
        owed = self._owed()
        if owed:
            self._not_before = 0.0
            self._ready(CLOSE_WAIT_S)
        made = all(self._inject(call) for call in owed)
        # Also when nothing is owed: the second half of a wheel's click must not be lost either.
        if self._synced(CLOSE_WAIT_S) and made:
            self._forget(owed)
        self._take_over()
        self._shut()

    def rest(self) -> None:
        """No viewer is left: give the connection to the display back when all that was made is carried out.

        Call it again from time to time, until the next `open`.
        """
        self.settle()
        self._take_over()  # of a viewer who left while it was opened
        if not (self._keys or self._buttons) and self._synced():
            self._shut()

    def _press(
        self, held: dict[int, set[str]], who: tuple[str, int], call: Call, *, down: bool
    ) -> bool:
        viewer, code = who
        if down:
            if code not in held and self._ready() is None:
                return False  # never down, so nothing to release
            holders = held.setdefault(code, set())
            holders.add(viewer)
            if len(holders) > 1:
                return False
            self._say()
            return self._inject(call)
        if viewer not in held.get(code, ()):
            return False
        held[code].remove(viewer)
        if held[code]:
            return False
        done = self._inject(call)
        if done and self._synced():
            self._forget([call])
        return done

    def _owed(self) -> list[Call]:
        keys = sorted(usage for usage, holders in self._keys.items() if not holders)
        buttons = sorted(button for button, holders in self._buttons.items() if not holders)
        return [
            *(PressKey(usage, down=False) for usage in keys),
            *(PressButton(button, down=False) for button in buttons),
        ]

    def _forget(self, released: list[Call]) -> None:
        for call in released:
            match call:
                case PressKey(usage):
                    del self._keys[usage]
                case PressButton(button):
                    del self._buttons[button]
        if released:
            self._say()

    def _say(self) -> None:
        self._tell(tuple(sorted(self._keys)), tuple(sorted(self._buttons)))

    def _inject(self, call: Call) -> bool:
        injector = self._ready()
        if injector is None:
            return False
        try:
            injector.area = self._area()
            _make(injector, call)
        except InputUnavailable as error:
            self._fail(error)
            return False
        return True

    def _synced(self, timeout_s: float = 0.0) -> bool:
        if self._injector is None:
            return False
        try:
            return self._injector.sync(timeout_s)
        except InputUnavailable as error:
            self._fail(error)
            return False

    def _fail(self, error: InputUnavailable) -> None:
        self._complain(f"input stopped: {error}")
        self._not_before = time.monotonic() + REOPEN_AFTER_S
        self._shut()

    def _ready(self, wait_s: float = 0.0) -> Injector | None:
        """The injector; a thread opens it if need be, for which this waits so long."""
        if self._injector is None:
            if self._opening is None and time.monotonic() >= self._not_before:
                self._opening = Opening(self._open_injector, "injector")
            self._take_over(wait_s)
        return self._injector

    def _take_over(self, wait_s: float = 0.0) -> None:
        """Take the injector of an opening that has ended."""
        opening = self._opening
        if opening is None:
            return
        if not opening.ended.wait(wait_s):
            if time.monotonic() - opening.began > SLOW_OPENING_S:
                self._complain("no input: the display server does not answer")
            return
        self._opening = None
        self._injector = opening.opened
        self._given = not self._owed()
        if self._injector is None:
            self._complain(f"no input: {opening.problem}")
            self._not_before = time.monotonic() + REOPEN_AFTER_S

    def _complain(self, words: str) -> None:
        """Once for each reason, not for each key."""
        if words != self._complaint:
            logger.warning("%s", words)
        self._complaint = words

    def _shut(self) -> None:
        injector, self._injector = self._injector, None
        if injector is not None:
            injector.close()


def _releases(call: Call) -> bool:
    return isinstance(call, PressKey | PressButton) and not call.down


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
        case TypeText(text):
            injector.text(text)
