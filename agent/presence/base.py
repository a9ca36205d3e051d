"""What talks to the person at the host: a listener for the shortcut, and an indicator on the screen."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Protocol

OnKey = Callable[[int, bool], None]
"""Gets the USB HID usage (page 0x07) of a key that went down (True) or up, on the listener's thread."""


class PresenceUnavailable(Exception):
    """It cannot be had here, or not any more; the text says why and what to do."""


class Part(Protocol):
    """Made, served and closed once. Making it raises PresenceUnavailable."""

    def serve(self) -> None:
        """Do its work on this thread, until `close`. Raises PresenceUnavailable when the desktop is gone."""
        ...

    def close(self) -> None:
        """Let `serve` return. From any thread; idempotent."""
        ...


class KeyListener(Part, Protocol):
    """Tells every key of this machine's own keyboards, and none that a program injected. Made with an `OnKey`.

    It takes no key away from the desktop, and nothing that a program holds down keeps it from hearing.
    """

    name: ClassVar[str]

    @staticmethod
    def probe() -> str | None:
        """Why it cannot be used here, in words, or None."""
        ...


class Indicator(Part, Protocol):
    """A line of text over everything else on the screen, which no click and no key ever reaches."""

    name: ClassVar[str]

    @staticmethod
    def probe() -> str | None:
        """Why it cannot be used here, in words, or None."""
        ...

    def show(self, text: str) -> None:
        """From now on this line; an empty one is no indicator. From any thread; returns at once."""
        ...
