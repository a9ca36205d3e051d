"""What every clipboard backend promises, run here over the fake and X selections, under Wine over Windows's."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

from agent.clipboard.base import MAX_TEXT_BYTES, Clipboard

LIMIT_S = 20.0
TEXTS = (
    "a",
    "two lines\nand an end\n",
    "Grüße, мир, 世界, 🎉",
    "x" * 70_000,
    "é" * (MAX_TEXT_BYTES // 2),
)


class OtherProgram(Protocol):
    """Another program of the desktop."""

    def copy(self, text: str) -> None:
        """Put a text into the clipboard."""

    def paste(self) -> str | None:
        """The clipboard's text; None: it has none. While this goes on the backend is served."""


def changed(clipboard: Clipboard, has_text: bool) -> bool:
    """Wait for a change by another program."""
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        if clipboard.next(0.2) is has_text:
            return True
    return False


def while_served(clipboard: Clipboard, call: Callable[[], str | None]) -> str | None:
    """What another program gets while the backend is served."""
    got: list[str | None] = []

    def run() -> None:
        got.append(call())
        clipboard.wake()

    thread = threading.Thread(target=run)
    thread.start()
    end = time.monotonic() + LIMIT_S
    while thread.is_alive() and time.monotonic() < end:
        clipboard.next(0.2)
    thread.join(LIMIT_S)
    assert got, "the other program got no answer"
    return got[0]


def keep_the_contract(clipboard: Clipboard, other: OtherProgram) -> None:
    """Texts go both ways whole, changes of others are told, and what was written ends with the backend."""
    for text in TEXTS:
        clipboard.write(text)
        assert clipboard.read() == text
        assert while_served(clipboard, other.paste) == text
        assert clipboard.next(0.1) is None, "a change of our own is none"
    for text in TEXTS:
        other.copy(text)
        assert changed(clipboard, True)
        assert clipboard.read() == text
    other.copy("y" * (MAX_TEXT_BYTES + 1))
    assert changed(clipboard, True)
    assert clipboard.read() is None
    other.copy("of another")
    assert changed(clipboard, True)
    clipboard.write("of ours")
    timer = threading.Timer(0.05, clipboard.wake)
    timer.start()
    began = time.monotonic()
    clipboard.next(LIMIT_S)
    assert time.monotonic() - began < LIMIT_S
    timer.join()
    clipboard.close()
    clipboard.close()
    clipboard.wake()
    assert other.paste() is None
