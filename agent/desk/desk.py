"""What is shared now: opens the source accordingly, tells every viewer, and lets players choose.

Flow: agent/session.py brings the viewers' messages, agent/capture/stage.py opens the source through `open`, and
agent/input/hands.py asks for the `area` that the viewers see, and whether they are `blind`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from agent.capture.base import EVERY_MONITOR, Box, Capture, CaptureUnavailable, Scene, pick
from agent.desk.apps import DeskApps
from agent.desk.messages import (
    TYPE_END,
    Choice,
    DeskError,
    Kind,
    State,
    decode,
    encode_desk,
    encode_said,
)
from agent.input.guard import Bucket, Role

logger = logging.getLogger(__name__)

OpenMonitor = Callable[[str | None], Capture]
"""Opens the source with a monitor wanted, by name; None: the one that the source takes by itself."""
MAX_SCREEN: Final = 255
DEFAULT_FPS: Final = 60
CHOICES_PER_S: Final = 2
CHOICES_AT_ONCE: Final = 10
"""Of one player, who clicks; each may open the source anew, or begin and end programs."""


@dataclass(frozen=True, slots=True)
class _Viewer:
    role: Role
    send: Callable[[bytes], bool]
    choices: Bucket


class Desk:
    """Lives on the event loop, but for `open`, `area` and `blind`, which are for any thread."""

    def __init__(
        self, open_monitor: OpenMonitor, apps: DeskApps | None = None, fps: int = DEFAULT_FPS
    ) -> None:
        self.open_anew: Callable[[], None] = _nothing
        """Closes the source and calls `open` again; of the video pipeline, set by the root."""
        self.on_shown: Callable[[], None] = _nothing
        """Called on the loop when something else is shown; set by the root."""
        self.screen = 0
        """The number of what is shown, 1 to 255 (docs/protocol.md 6.1); 0 before the first picture."""
        self._blind = False
        self._open_monitor = open_monitor
        self._apps = apps or DeskApps()
        self._fps = fps
        self._loop = asyncio.get_running_loop()
        self._wanted: str | None = None
        self._app: str | None = None
        """Whose windows are shown instead of the wanted monitor."""
        self._pending: str | None = None
        """The app to show when it runs."""
        self._capture: Capture | None = None
        self._scene = Scene()
        self._shown: tuple[Kind, str] | None = None
        self._viewers: dict[str, _Viewer] = {}
        self._keys: list[tuple[Kind, str]] = []
        """Of everything that could ever be chosen; a choice's number is its place here, from 1 on."""

    # On the capture thread

    def open(self) -> Capture:
        """Open what is wanted. Raises CaptureUnavailable."""
        app = self._app
        group = 0 if app is None else self._apps.group(app)
        if app is None or not group:
            capture, app = self._open_monitor(self._wanted), None
        else:
            try:
                capture = self._apps.open(group, self._fps)
            except CaptureUnavailable:
                self._blind = True
                self._soon(partial(self._seek, app))
                raise
        self._capture, self._blind = capture, False
        self._soon(partial(self._opened, capture.scene, app))
        return capture

    def blind(self) -> bool:
        """Whether the app that is shown has no window now: a press would reach what no viewer sees."""
        return self._blind

    def area(self) -> Box | None:
        """What of the virtual desktop the newest pictures show; None: all of it, or a picture that is not of it."""
        capture = self._capture
        return None if capture is None or capture.place.empty else capture.place

    def _soon(self, call: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            self._loop.call_soon_threadsafe(call)

    # On the loop

    def enter(self, viewer: str, role: Role, send: Callable[[bytes], bool]) -> None:
        """A viewer can be told: it is, now and at each change."""
        choices = Bucket(CHOICES_PER_S, CHOICES_AT_ONCE)
        self._viewers[viewer] = _Viewer(role, send, choices)
        if self.screen:
            self._tell(self._viewers[viewer])

    def leave(self, viewer: str) -> None:
        """A viewer is gone; unknown ones are ignored."""
        self._viewers.pop(viewer, None)

    def on_message(self, viewer: str, payload: bytes) -> None:
        """A viewer's message. Raises DeskError when it is none, or is not followed."""
        kind, number = decode(payload)
        known = self._viewers.get(viewer)
        if known is None or known.role != "player":
            raise DeskError("only a player may choose what is shown")
        if not known.choices.take(self._loop.time()):
            raise DeskError("more choices than a hand makes")
        key = self._keys[number - 1] if 1 <= number <= len(self._keys) else None
        if key is None or key not in self._offered():
            raise DeskError(f"there is no choice {number}")
        if key[0] is Kind.APP:
            self._choose_app(key[1], ends=kind == TYPE_END)
        elif kind == TYPE_END:
            raise DeskError("only an app can be ended")
        else:
            self._choose_monitor(EVERY_MONITOR if key[0] is Kind.EVERY_MONITOR else key[1])

    def app_changed(self, name: str, state: str, group: int, words: str) -> None:
        """How it is with an app now; `words` are for everybody."""
        self._apps.changed(name, state, group)
        if state == "running" and self._pending == name:
            self._pending = None
            if self._apps.windowed(name):
                self._seek(name)
            elif name in self._apps.names[1]:
                words = (
                    f"{name} runs. This host cannot show its window alone: the monitor is shown."
                )
        elif state == "ready" and self._pending == name:
            self._pending = None
        if state != "running" and self._app == name:
            self._app = None
            self.open_anew()
        self._tell_all()
        if words:
            self._say(words)

    def _choose_monitor(self, name: str) -> None:
        self._apps.forget()
        self._pending = None
        former, self._wanted = self._wanted, name
        app, self._app = self._app, None
        if app is not None or name != self._scene.shown or name != (former or self._scene.shown):
            logger.info("a player chose %s", name)
            self.open_anew()

    def _choose_app(self, name: str, *, ends: bool) -> None:
        logger.info("a player %s the app %s", "ends" if ends else "chose", name)
        if ends:
            self._apps.end(name)
        elif self._apps.state(name) is State.RUNNING:
            if self._apps.windowed(name) and self._app != name:
                self._seek(name)
        elif self._apps.state(name) in (State.READY, State.STARTING):
            self._pending = name
            if self._apps.state(name) is State.READY:
                self._apps.start(name)

    def _seek(self, name: str) -> None:
        def late() -> None:
            self._say(f"{name} has no window yet. It is shown as soon as there is one.")

        self._apps.seek(name, partial(self._show_app, name), late)

    def _show_app(self, name: str) -> None:
        self._app = name
        self.open_anew()

    def _offered(self) -> list[tuple[Kind, str]]:
        monitors = [(Kind.MONITOR, monitor.name) for monitor in self._scene.monitors]
        if len(monitors) > 1:
            monitors.append((Kind.EVERY_MONITOR, ""))
        return [*monitors, *((Kind.APP, name) for name in self._apps.names[0])]

    def _opened(self, scene: Scene, app: str | None) -> None:
        former, self._scene = self._scene, scene
        self._keys += [key for key in self._offered() if key not in self._keys]
        shown = (Kind.MONITOR, scene.shown)
        if app is not None:
            shown = (Kind.APP, app)
        elif scene.shown == EVERY_MONITOR:
            shown = (Kind.EVERY_MONITOR, "")
        before, self._shown = self._shown, shown
        if shown != before:
            self.screen = self.screen % MAX_SCREEN + 1
        gone = before is not None and before[0] is Kind.MONITOR and before not in self._offered()
        names = [monitor.name for monitor in scene.monitors]
        if self._wanted is not None and self._wanted not in (*names, EVERY_MONITOR):
            self._wanted = None  # it is not waited for: its way back would be a surprise
        self.on_shown()
        self._tell_all()
        if gone and former.shown:
            self._say(f"The monitor {former.shown} is gone; {scene.shown} is shown.")

    def _choices(self) -> list[Choice]:
        choices = []
        for key in self._offered():
            kind, name = key
            state = State.SHOWN if key == self._shown else State.READY
            size = (0, 0)
            if kind is Kind.APP:
                state = state if state is State.SHOWN else self._apps.state(name)
            else:
                area = pick(self._scene.monitors, name or EVERY_MONITOR).area
                size = (area.width, area.height)
            choices.append(Choice(self._keys.index(key) + 1, kind, state, *size, name))
        return choices

    def _tell_all(self) -> None:
        for viewer in self._viewers.values():
            self._tell(viewer)

    def _tell(self, viewer: _Viewer) -> None:
        if self.screen:
            viewer.send(encode_desk(self.screen, self._choices(), may=viewer.role == "player"))

    def _say(self, words: str) -> None:
        logger.warning("%s", words)
        for viewer in self._viewers.values():
            viewer.send(encode_said(words))


def _nothing() -> None:
    """Nobody is connected to it."""
