"""The virtual gamepads of the host: plugs one in for each that a player has, and unplugs it again.

Flow: agent/input/pad_link.py says what a player's gamepads do, the backend (agent/input/uinput.py,
agent/input/vigem.py) shows it to the games.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from agent.input.base import InputUnavailable
from agent.input.gamepad import Gamepad, OnRumble
from agent.input.opening import Opening
from agent.input.pad_events import MAX_PADS, PadState

logger = logging.getLogger(__name__)

FULL: Final = f"{MAX_PADS} gamepads are plugged into this host already, and games know no more"


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose gamepad: the viewer's name and its number there."""

    viewer: str
    pad: int


@dataclass(slots=True)
class _Slot:
    opening: Opening[Gamepad] | None = None
    gamepad: Gamepad | None = None


class Pads:
    """Owns the gamepads of all players. Lives on one thread; see `ready` before `set`."""

    def __init__(
        self, open_gamepad: Callable[[OnRumble], Gamepad], complain: Callable[[str], None]
    ) -> None:
        self._open_gamepad = open_gamepad
        self._complain = complain
        """Gets, in words, why a player's gamepad does nothing."""
        self._slots: dict[Owner, _Slot] = {}

    def plug(self, owner: Owner, on_rumble: OnRumble) -> None:
        """Begin to plug one in for this owner."""
        self.unplug(owner)
        used = [slot for slot in self._slots.values() if slot.gamepad or slot.opening]
        slot = self._slots[owner] = _Slot()
        if len(used) >= MAX_PADS:
            self._complain(FULL)
        else:
            slot.opening = Opening(partial(self._open_gamepad, on_rumble), "gamepad")

    def ready(self, owner: Owner) -> bool:
        """False while it is being plugged in: states would be lost.

        True does not mean that there is one: where none can be had, states go nowhere.
        """
        slot = self._slots.get(owner)
        if slot is None or slot.opening is None:
            return True
        opening = slot.opening
        if not opening.ended.is_set():
            return False
        slot.opening, slot.gamepad = None, opening.opened
        if slot.gamepad is None:
            self._complain(opening.problem)
        else:
            logger.info("a gamepad is plugged in, by %s", slot.gamepad.name)
        return True

    def set(self, owner: Owner, state: PadState) -> bool:
        """Show a state; whether it reached a gamepad."""
        slot = self._slots.get(owner)
        if slot is None or slot.gamepad is None:
            return False
        try:
            slot.gamepad.set(state)
        except InputUnavailable as error:
            gamepad, slot.gamepad = slot.gamepad, None
            gamepad.close()
            self._complain(str(error))
            return False
        return True

    def unplug(self, owner: Owner) -> None:
        """This owner's gamepad is gone. Idempotent."""
        slot = self._slots.pop(owner, None)
        if slot is None:
            return
        if slot.opening is not None:
            slot.opening.abandon()
        if slot.gamepad is not None:
            slot.gamepad.close()

    def close(self) -> None:
        """Unplug all of them. Idempotent."""
        for owner in list(self._slots):
            self.unplug(owner)
