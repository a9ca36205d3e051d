"""What a clipboard backend is: it reads and writes the text of the host's clipboard, and says when it changes."""

from __future__ import annotations

from typing import ClassVar, Final, Literal, Protocol

MAX_TEXT_BYTES: Final = 1 << 20
"""In UTF-8. A longer text is none."""
READ_LIMIT_S: Final = 3.0
"""A program that owns the clipboard and does not hand it out within this time has none."""

Policy = Literal["both", "to-host", "to-client", "off"]
POLICIES: Final[tuple[Policy, ...]] = ("both", "to-host", "to-client", "off")
"""The default first. Which ways text may go; for players only."""


class ClipboardUnavailable(Exception):
    """The clipboard cannot be used here; the text says why and what to do. Never what is in the clipboard."""


class Clipboard(Protocol):
    """The clipboard of one desktop. Making it opens it, and raises ClipboardUnavailable in words.

    All calls but `wake` come from one thread, the one that made it, and raise ClipboardUnavailable when the
    desktop is gone. Lines end with a line feed on our side.
    """

    name: ClassVar[str]

    def next(self, timeout_s: float) -> bool | None:
        """Block until another program has changed the clipboard; whether it has text for us then; None: no change.

        Text that its program asks to be kept from histories and remote copies is not for us. Meanwhile other
        programs get the text that was written.
        """
        ...

    def read(self) -> str | None:
        """The text there now; None: none for us, or one above MAX_TEXT_BYTES. Takes READ_LIMIT_S at most."""
        ...

    def write(self, text: str) -> None:
        """Put a text there, which stays until another program puts something there or `close`."""
        ...

    def wake(self) -> None:
        """Have the running or the next `next` return soon; from any thread. Harmless after `close`."""
        ...

    def close(self) -> None:
        """Take back what was written, if it is still there, and every resource. Idempotent."""
        ...
