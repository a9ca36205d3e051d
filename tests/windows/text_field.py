"""A text field over the whole Windows screen, what has reached it, and what its program does there."""

from __future__ import annotations

import json
from typing import Any

from tests.eventually import eventually
from tests.windows.wine import START_LIMIT_S, Program


class TextField:
    """The window of tests/windows/inside/window.py, alone on the Windows screen."""

    def __init__(self, program: Program) -> None:
        self._program = program
        eventually(lambda: program.lines, "the window", START_LIMIT_S)

    @property
    def text(self) -> str:
        return str(self._last()["text"])

    @property
    def down(self) -> set[int]:
        """The virtual keys that are down on the desktop."""
        return set(self._last()["down"])

    @property
    def pointer(self) -> tuple[int, int]:
        """Where Windows has the pointer."""
        x, y = self._last()["pointer"]
        return x, y

    def copy(self, text: str) -> None:
        """Into the clipboard of Windows."""
        self._program.say(json.dumps({"copy": text}))

    def pasted(self) -> str | None:
        """The text in the clipboard of Windows."""
        before = self._last()["pasted"][0]
        self._program.say(json.dumps({"paste": True}))
        eventually(lambda: self._last()["pasted"][0] > before, "the text")
        text: str | None = self._last()["pasted"][1]
        return text

    def show_pointer(self, shown: bool) -> None:
        """As programs do that draw their own, or none."""
        self._program.say(json.dumps({"pointer": shown}))

    def _last(self) -> dict[str, Any]:
        return dict(json.loads(self._program.lines[-1]))
