"""A capture of the test's card: moving pictures."""

from __future__ import annotations

from typing import ClassVar

from av.filter import Graph

from agent.capture.base import NOWHERE, Scene
from agent.capture.hardware_frames import HardwareCapture
from tests import card

SEEN_FPS = 40


class CardCapture(HardwareCapture):
    """It notes what its graphs were asked for."""

    name: ClassVar[str] = "card"

    def __init__(self, fps: int = 60, source: str = "testsrc2", options: str = "") -> None:
        self._shown, self._options = source, options
        self.graphs: list[tuple[int, bool, int]] = []
        """Pictures a second, whether with the pointer, and how many there were on the card then."""
        self.others = False
        super().__init__(fps, Scene(), NOWHERE)

    def _graph_of(self, fps: int, *, cursor: bool) -> Graph:
        self.graphs.append((fps, cursor, card.counts().alive))
        return card.screen(SEEN_FPS, self._shown, self._options)

    def _has_other_monitors(self) -> bool:
        return self.others
