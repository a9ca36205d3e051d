"""What the captures of an app's windows share: which one is the one to work in (a core)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol, TypeVar

from agent.capture.base import Box

LEAST_PX: Final = 32
"""Smaller windows are no place to work in: icons of a tray, helpers of a toolkit."""
FOCUS_EVERY_S: Final = 1.0
"""Another program that wants the keyboard, too, is not fought with more often."""
NO_WINDOW: Final = "the app has no window now"


class AnyWindow(Protocol):
    """A window that can be seen."""

    @property
    def area(self) -> Box:
        """Where it is on the screen."""
        ...

    @property
    def popup(self) -> bool:
        """A menu, a tool tip, a dialogue of another window."""
        ...


Some = TypeVar("Some", bound=AnyWindow)


def main_of(windows: Sequence[Some]) -> Some | None:
    """The largest of these, the lowest first; of those the highest. None: there is none yet."""
    large = [
        one for one in windows if not one.popup and min(one.area.width, one.area.height) >= LEAST_PX
    ]
    return max(reversed(large), key=lambda one: one.area.width * one.area.height, default=None)
