"""Which monitor is shared now: opens the source accordingly, tells every viewer, and lets players choose.

Flow: agent/session.py brings the viewers' messages, agent/capture/stage.py opens the source through `open`, and
agent/input/hands.py asks for the `area` that the viewers see.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from agent.capture.base import EVERY_MONITOR, Box, Capture, Scene, pick
from agent.desk.messages import Choice, DeskError, Kind, State, decode, encode_desk, encode_said
from agent.input.guard import Role

logger = logging.getLogger(__name__)

OpenMonitor = Callable[[str | None], Capture]
"""Opens the source with a monitor wanted, by name; None: the one that the source takes by itself."""
MAX_SCREEN: Final = 255


@dataclass(frozen=True, slots=True)
class _Viewer:
    role: Role
    send: Callable[[bytes], bool]


class Desk:
    """Lives on the event loop, but for `open` and `area`, which are for any thread."""

    def __init__(self, open_monitor: OpenMonitor) -> None:
        self.open_anew: Callable[[], None] = _nothing
        """Closes the source and calls `open` again; of the video pipeline, set by the root."""
        self.on_shown: Callable[[], None] = _nothing
        """Called on the loop when something else is shown; set by the root."""
        self.screen = 0
        """The number of what is shown, 1 to 255 (docs/protocol.md 6.1); 0 before the first picture."""
        self._open_monitor = open_monitor
        self._loop = asyncio.get_running_loop()
        self._wanted: str | None = None
        self._capture: Capture | None = None
        self._scene = Scene()
        self._viewers: dict[str, _Viewer] = {}
        self._names: list[str] = []
        """Of all monitors that were ever there; a choice's number is its place here, from 1 on."""

    # On the capture thread

    def open(self) -> Capture:
        """Open what is wanted. Raises CaptureUnavailable."""
        capture = self._open_monitor(self._wanted)
        self._capture = capture
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            self._loop.call_soon_threadsafe(self._opened, capture.scene)
        return capture

    def area(self) -> Box | None:
        """What of the virtual desktop the newest pictures show; None: nothing of it."""
        capture = self._capture
        return None if capture is None or capture.place.empty else capture.place

    # On the loop

    def enter(self, viewer: str, role: Role, send: Callable[[bytes], bool]) -> None:
        """A viewer can be told: it is, now and at each change."""
        self._viewers[viewer] = _Viewer(role, send)
        if self.screen:
            self._tell(self._viewers[viewer])

    def leave(self, viewer: str) -> None:
        """A viewer is gone; unknown ones are ignored."""
        self._viewers.pop(viewer, None)

    def on_message(self, viewer: str, payload: bytes) -> None:
        """A viewer's message. Raises DeskError when it is none, or is not followed."""
        number = decode(payload)
        known = self._viewers.get(viewer)
        if known is None or known.role != "player":
            raise DeskError("only a player may choose what is shown")
        name = self._names[number - 1] if 1 <= number <= len(self._names) else None
        if name is None or name not in self._offered():
            raise DeskError(f"there is no choice {number}")
        former, self._wanted = self._wanted, name
        if name != (former or self._scene.shown) or name != self._scene.shown:
            logger.info("a player chose %s", name)
            self.open_anew()

    def _offered(self) -> list[str]:
        names = [monitor.name for monitor in self._scene.monitors]
        return [*names, EVERY_MONITOR] if len(names) > 1 else names

    def _opened(self, scene: Scene) -> None:
        former, self._scene = self._scene, scene
        names = [monitor.name for monitor in scene.monitors]
        self._names += [name for name in (*names, EVERY_MONITOR) if name not in self._names]
        if scene.shown != former.shown or not self.screen:
            self.screen = self.screen % MAX_SCREEN + 1
        if self._wanted is not None and self._wanted not in self._offered():
            self._wanted = None  # it is not waited for: its way back would be a surprise
        self.on_shown()
        for viewer in self._viewers.values():
            self._tell(viewer)
        if former.shown and former.shown not in (*names, EVERY_MONITOR):
            self._say(f"The monitor {former.shown} is gone; {scene.shown} is shown.")

    def _choices(self) -> list[Choice]:
        choices = []
        for name in self._offered():
            every = name == EVERY_MONITOR
            area = pick(self._scene.monitors, name).area
            choices.append(
                Choice(
                    self._names.index(name) + 1,
                    Kind.EVERY_MONITOR if every else Kind.MONITOR,
                    State.SHOWN if name == self._scene.shown else State.READY,
                    area.width,
                    area.height,
                    "" if every else name,
                )
            )
        return choices

    def _tell(self, viewer: _Viewer) -> None:
        viewer.send(encode_desk(self.screen, self._choices(), may=viewer.role == "player"))

    def _say(self, words: str) -> None:
        logger.warning("%s", words)
        for viewer in self._viewers.values():
            viewer.send(encode_said(words))


def _nothing() -> None:
    """Nobody is connected to it."""
