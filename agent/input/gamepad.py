"""What a gamepad backend is: a virtual controller that games on the host see as an Xbox 360 pad."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Protocol

from agent.input.pad_events import PadState

OnRumble = Callable[[float, float], None]
"""Gets what the strong (left) and the weak (right) motor do from now on, 0 to 1; from any thread."""


class Gamepad(Protocol):
    """One virtual controller. Made with an `OnRumble`; making one may block and raises InputUnavailable.

    It is plugged in when it has been made, and neutral. Called from one thread. The system unplugs it by
    itself when its process dies, so nothing stays pressed.
    """

    name: ClassVar[str]

    @staticmethod
    def probe() -> str | None:
        """Why it cannot be used here, in words with what to do, or None."""
        ...

    def set(self, state: PadState) -> None:
        """Show a state to the games; does not block. Raises InputUnavailable."""
        ...

    def close(self) -> None:
        """Unplug it. `OnRumble` is not called any more. Idempotent."""
        ...
