"""A text field over the whole Windows screen, and what has reached it."""

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

    def _last(self) -> dict[str, Any]:
        return dict(json.loads(self._program.lines[-1]))
