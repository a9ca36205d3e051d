"""The virtual gamepads of the host: plugs one in for each that a player has, and unplugs it again.

Flow: agent/input/pad_link.py says what a player's gamepads do, the backend (agent/input/uinput.py,
agent/input/vigem.py) shows it to the games.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from agent.input.base import InputUnavailable
from agent.input.gamepad import Gamepad, OnRumble
from agent.input.opening import Opening
from agent.input.pad_events import MAX_PADS, NEUTRAL, PadState

logger = logging.getLogger(__name__)

FULL: Final = f"{MAX_PADS} gamepads are plugged into this host already, and games know no more"
AGAIN_S: Final = 1.0
"""After so long one that was refused or failed is plugged in again; each time doubles it."""
AGAIN_MOST_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose gamepad: the viewer's name and its number there."""

    viewer: str
    pad: int


@dataclass(slots=True)
class _Slot:
    on_rumble: OnRumble
    tried_at: float
    opening: Opening[Gamepad] | None = None
    gamepad: Gamepad | None = None
    again_s: float = AGAIN_S
    state: PadState = NEUTRAL
    """The newest one told, which one that is plugged in later shows at once."""
    told: str = ""
    """Why it does nothing, as was complained."""

    def rumble(self, strong: float, weak: float) -> None:
        """Of the gamepad: for whoever owns it now."""
        self.on_rumble(strong, weak)


class Pads:
    """Owns the gamepads of all players. Lives on one thread; see `ready` before `set`."""

    def __init__(
        self,
        open_gamepad: Callable[[OnRumble], Gamepad],
        complain: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open_gamepad = open_gamepad
        self._complain = complain
        """Gets, in words, why a player's gamepad does nothing."""
        self._clock = clock
        self._slots: dict[Owner, _Slot] = {}

    def plug(self, owner: Owner, on_rumble: OnRumble) -> None:
        """Begin to plug one in for this owner."""
        self.unplug(owner)
        slot = _Slot(on_rumble, self._clock())
        self._open(slot)
        self._slots[owner] = slot

    def ready(self, owner: Owner) -> bool:
        """False while it is being plugged in: states would be lost.

        True does not mean that there is one: where none can be had, states go nowhere, and it is tried again
        at times.
        """
        slot = self._slots.get(owner)
        if slot is None or slot.gamepad is not None:
            return True
        if slot.opening is None:
            if self._clock() - slot.tried_at >= slot.again_s and self._open(slot):
                slot.again_s = min(2 * slot.again_s, AGAIN_MOST_S)
            return slot.opening is None
        opening = slot.opening
        if not opening.ended.is_set():
            return False
        slot.opening, slot.gamepad = None, opening.opened
        if slot.gamepad is None:
            self._failed(slot, opening.problem)
            return True
        slot.told = ""
        logger.info("a gamepad is plugged in, by %s", slot.gamepad.name)
        if slot.state != NEUTRAL:
            self._show(slot)
        return True

    def set(self, owner: Owner, state: PadState) -> bool:
        """Show a state; whether it reached a gamepad."""
        slot = self._slots.get(owner)
        if slot is None:
            return False
        slot.state = state
        return self._show(slot)

    def move(self, owner: Owner, to: Owner, on_rumble: OnRumble) -> None:
        """It is another owner's from now on, and stays plugged in."""
        slot = self._slots.pop(owner, None)
        if slot is not None:
            self.unplug(to)
            slot.on_rumble = on_rumble
            self._slots[to] = slot

    def unplug(self, owner: Owner) -> None:
        """This owner's gamepad is gone. Idempotent."""
        slot = self._slots.pop(owner, None)
        if slot is None:
            return
        if slot.opening is not None:
            slot.opening.abandon()
        if slot.gamepad is not None:
            slot.gamepad.close()

    def _open(self, slot: _Slot) -> bool:
        """Begin to; False: there is no place."""
        used = [other for other in self._slots.values() if other.gamepad or other.opening]
        if len(used) >= MAX_PADS:
            self._tell(slot, FULL)
            return False
        slot.opening = Opening(partial(self._open_gamepad, slot.rumble), "gamepad")
        return True

    def _show(self, slot: _Slot) -> bool:
        if slot.gamepad is None:
            return False
        try:
            slot.gamepad.set(slot.state)
        except InputUnavailable as error:
            gamepad, slot.gamepad = slot.gamepad, None
            gamepad.close()
            self._failed(slot, str(error))
            return False
        return True

    def _failed(self, slot: _Slot, problem: str) -> None:
        slot.tried_at = self._clock()
        self._tell(slot, problem)

    def _tell(self, slot: _Slot, problem: str) -> None:
        """Complain, but not each time of the same."""
        if slot.told != problem:
            slot.told = problem
            self._complain(problem)
