"""The apps among what a player can choose: how it is with each, and the wait for its first window.

Flow: agent/desk/desk.py brings the players' wishes; they go to agent/apps/runner.py, whose states come back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from agent.capture.base import Capture
from agent.desk.messages import State

logger = logging.getLogger(__name__)

LOOK_S: Final = 0.25
PATIENCE_S: Final = 20.0
"""After so long without a window the players are told that it is waited for."""
STATES: Final = {
    "ready": State.READY,
    "starting": State.STARTING,
    "running": State.RUNNING,
    "ending": State.ENDING,
}


class Windows(Protocol):
    """Shows the windows of an app; `group` is its process group, or its first process (agent/apps/group.py)."""

    def find(self, group: int) -> bool:
        """Whether it shows a window now."""
        ...

    def open(self, group: int, fps: int) -> Capture:
        """Open what it shows. Raises CaptureUnavailable while it has no window."""
        ...


@dataclass(slots=True)
class _Row:
    state: State = State.READY
    group: int = 0


@dataclass(slots=True)
class DeskApps:
    """Lives on the event loop. `windows` is None where nothing can show windows."""

    names: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    """Of all apps, and of those whose windows are shown instead of a monitor."""
    windows: Windows | None = None
    start: Callable[[str], None] = lambda _: None
    end: Callable[[str], None] = lambda _: None
    _rows: dict[str, _Row] = field(default_factory=dict)
    _seeking: asyncio.Task[None] | None = None

    def state(self, name: str) -> State:
        """How it is with an app, SHOWN left to the desk."""
        return self._row(name).state

    def group(self, name: str) -> int:
        """Its process group, 0 while it does not run."""
        return self._row(name).group

    def changed(self, name: str, state: str, group: int) -> None:
        """The runner told of an app."""
        self._rows[name] = _Row(STATES[state], group)

    def windowed(self, name: str) -> bool:
        """Whether its windows are to be shown."""
        return name in self.names[1] and self.windows is not None

    def open(self, group: int, fps: int) -> Capture:
        """Open the windows of a process group. Raises CaptureUnavailable while there are none."""
        assert self.windows is not None  # noqa: S101 - of a windowed app only
        return self.windows.open(group, fps)

    def seek(self, name: str, found: Callable[[], None], late: Callable[[], None]) -> None:
        """Wait until an app shows a window, instead of any wait before; `late` is called once after a while."""
        self.forget()
        work = self._seek(name, self.group(name), found, late)
        self._seeking = asyncio.get_running_loop().create_task(work, name="window of an app")

    def forget(self) -> None:
        """Wait no more."""
        if self._seeking is not None:
            self._seeking.cancel()
            self._seeking = None

    async def _seek(
        self, name: str, group: int, found: Callable[[], None], late: Callable[[], None]
    ) -> None:
        loop = asyncio.get_running_loop()
        impatient_at: float | None = loop.time() + PATIENCE_S
        while group and self.group(name) == group and self.windows is not None:
            if await loop.run_in_executor(None, self.windows.find, group):
                self._seeking = None
                found()
                return
            if impatient_at is not None and loop.time() > impatient_at:
                impatient_at = None
                late()
            await asyncio.sleep(LOOK_S)

    def _row(self, name: str) -> _Row:
        return self._rows.get(name) or _Row()
