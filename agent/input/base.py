"""What an input injector backend is: the last room that a key press passes before the host's desktop."""

from __future__ import annotations

from typing import ClassVar, Final, Protocol

from agent.capture.base import Box

QUANTUM: Final = 1 / 65_535
"""One step of the coordinates on the wire (docs/protocol.md 6.1)."""


class InputUnavailable(Exception):
    """Input cannot be injected here; the text says why and what to do."""


class Injector(Protocol):
    """Presses keys and moves the pointer of the host.

    Called from one thread. Making one may block, on a display server that stands still for ever; the
    calls do not, and only hand over: a server drops what it has not yet read when its client goes.
    """

    name: ClassVar[str]
    area: Box | None
    """What of the virtual desktop the fractions of `move` are of; None: the primary monitor, on X11 the screen."""

    def key(self, usage: int, *, down: bool) -> None:
        """Press or release a key by its USB HID usage (page 0x07). Unknown usages are ignored."""
        ...

    def button(self, button: int, *, down: bool) -> None:
        """Press or release a mouse button, W3C MouseEvent.button 0..4."""
        ...

    def move(self, x: float, y: float) -> None:
        """Move the pointer to a fraction (0..1) of the width and height of `area`."""
        ...

    def move_by(self, dx: int, dy: int) -> None:
        """Move the pointer by pixels, without acceleration."""
        ...

    def wheel(self, dx: int, dy: int) -> None:
        """Turn the wheel, in 1/120 notch; positive is right and down."""
        ...

    def text(self, text: str) -> None:
        """Type printable characters, whatever the keyboard layout; what cannot be typed is left out."""
        ...

    def sync(self, timeout_s: float = 0.0) -> bool:
        """Whether the display server has carried out every call so far; waits for that at most `timeout_s`."""
        ...

    def close(self) -> None:
        """Give back every resource; what was not carried out (`sync`) may be lost. Idempotent.

        Does not release keys (the guard does, before).
        """
        ...


def pixel_of(fraction: float, pixels: int) -> int:
    """The pixel that a fraction lies in; its quantisation to 16 bits must not lose the left edge."""
    return min(max(int((fraction + QUANTUM) * pixels), 0), pixels - 1)
