"""Starts the apps of the configuration, sees their end, and undoes what was prepared for them, whatever the end was.

Flow: agent/host.py passes a player's wish; the states go back to the media process, which shows the app's windows.
It lives in the agent's own process, so that an app outlives a media process that dies; with the Windows service in
one of the user who is signed in (agent/apps/user_process.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from agent.apps import group
from agent.apps.app import App
from agent.apps.group import AppFailed
from agent.apps.journal import Journal, Owed

logger = logging.getLogger(__name__)

CLOSE_LIMIT_S: Final = 6.0
"""Below the grace that the agent's end has (agent/lifeline.py); what is not undone then is by the next start."""

State = Literal["ready", "starting", "running", "ending"]
STATES: Final[tuple[State, ...]] = get_args(State)


@dataclass(frozen=True, slots=True)
class AppState:
    """How it is with an app; `group` is its process group while it runs, else 0. `words` are for the players."""

    name: str
    state: State
    group: int = 0
    words: str = ""


class Board:
    """The apps that are not just ready, by name; every change is told."""

    def __init__(self, on_state: Callable[[AppState], None]) -> None:
        self._on_state = on_state
        self._states: dict[str, AppState] = {}

    @property
    def states(self) -> list[AppState]:
        """Of every app that is not just ready."""
        return list(self._states.values())

    def __contains__(self, name: str) -> bool:
        return name in self._states

    def __getitem__(self, name: str) -> AppState:
        return self._states[name]

    def tell(self, state: AppState) -> None:
        """An app is in another state."""
        if state.state == "ready":
            self._states.pop(state.name, None)
        else:
            self._states[state.name] = state
        if state.words:
            logger.info("%s", state.words)
        self._on_state(state)


class AppRunner:
    """Lives on the event loop; `on_state` is called on it at each change."""

    def __init__(
        self, apps: Sequence[App], journal: Journal, on_state: Callable[[AppState], None]
    ) -> None:
        self._apps = {app.name: app for app in apps}
        self._journal = journal
        self._board = Board(on_state)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._groups: dict[str, int] = {}
        self._endings: dict[int, asyncio.Task[None]] = {}
        """By group: asked for, and not over."""
        self._undoing: asyncio.Task[None] | None = None

    @property
    def states(self) -> list[AppState]:
        """Of every app that is not just ready."""
        return self._board.states

    def recover(self) -> None:
        """Run what an agent that was killed owes; starts wait for it. Nothing where no app may be started."""
        try:
            refuse()
        except AppFailed:
            return  # whoever put a file there would have its commands run with our rights
        owed = self._journal.adopt()
        if owed:
            self._undoing = asyncio.get_running_loop().create_task(self._recover(owed))

    def start(self, name: str) -> None:
        """Start an app, unless it is started already; one that is not of the configuration is ignored."""
        app = self._apps.get(name)
        if app is not None:
            self.run(app)

    def run(self, app: App) -> None:
        """The same with an app of the caller's."""
        name = app.name
        if name in self._tasks:
            return
        self._board.tell(AppState(name, "starting"))
        task = asyncio.get_running_loop().create_task(self._run(app), name=f"app {name}")
        self._tasks[name] = task
        task.add_done_callback(lambda _: self._tasks.pop(name, None))

    def end(self, name: str) -> None:
        """Have a running app end, unless that goes on already."""
        running = self._groups.get(name)
        if running is None or running in self._endings:
            return
        self._board.tell(AppState(name, "ending"))
        task = asyncio.get_running_loop().create_task(group.end(running), name=f"end of {name}")
        self._endings[running] = task
        task.add_done_callback(lambda _: self._endings.pop(running))

    async def close(self) -> None:
        """End every app and undo; what does not within the limit is left to the next agent."""
        try:
            await self._end_all()
        finally:
            self._journal.close()

    async def _end_all(self) -> None:
        tasks = [*self._tasks.values(), *self._endings.values()]
        if self._undoing is not None:
            tasks.append(self._undoing)
        for task in self._tasks.values():
            task.cancel()
        if not tasks:
            return
        _, left = await asyncio.wait(tasks, timeout=CLOSE_LIMIT_S)
        for task in left:
            logger.warning("%s is not undone yet: the next start does it", task.get_name())
            task.cancel()

    async def _run(self, app: App) -> None:
        words, owed = "", None
        try:
            if self._undoing is not None:
                await asyncio.shield(self._undoing)
            refuse()
            owed = self._journal.note(app)
            for command in app.prepare:
                await group.run(app, command)
            await self._live(owed)
            words = f"{app.name} has ended."
        except AppFailed as error:
            words = f"{app.name} was not started: {error}"
        except OSError as error:
            words = f"{app.name} was not started: the agent cannot keep note of it ({error})"
        finally:
            problems = []
            if owed is not None:
                if self._board[app.name].state != "ending":
                    self._board.tell(AppState(app.name, "ending"))
                problems = await self._undo(owed)
            self._board.tell(AppState(app.name, "ready", 0, " ".join((words, *problems)).strip()))

    async def _live(self, owed: Owed) -> None:
        """From its start to its end, which may be ours."""
        app = owed.app
        process = await group.begin(app, app.command)
        leader = process.pid
        try:
            self._journal.started(owed, (leader, group.mark(leader)))
            self._groups[app.name] = leader
            logger.info("%s runs as process %d", app.name, leader)
            self._board.tell(AppState(app.name, "running", leader))
            code = await process.wait()
            # A launcher has gone, what it launched has not.
            while await group.lives(leader):  # noqa: ASYNC110 - nobody tells of a group's end
                await asyncio.sleep(group.LOOK_S)
            logger.info("%s ended with exit code %s", app.name, code)
        finally:
            self._groups.pop(app.name, None)
            if process.returncode is None or await group.lives(leader):
                await group.end(leader)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(process.wait(), group.TERMINATE_WAIT_S)

    async def _undo(self, owed: Owed) -> list[str]:
        """Run all of its undo commands; what failed, in words."""
        app, problems = owed.app, []
        for command in app.undo:
            try:
                await group.run(app, command)
            except AppFailed as error:
                problems.append(f"Of its undo commands {error}.")
        try:
            self._journal.done(owed)
        except OSError as error:
            problems.append(f"The agent could not note that it was undone ({error}).")
        for problem in problems:
            logger.warning("%s: %s", app.name, problem)
        return problems

    async def _recover(self, owed: list[Owed]) -> None:
        for one in owed:
            logger.warning("%s was cut off with the agent: undoing it now", one.app.name)
            if one.leader is not None and group.is_left(*one.leader):
                await group.end(one.leader[0])
            await self._undo(one)
        self._undoing = None


def refuse() -> None:
    """Raises AppFailed where no app may be started: it would have the rights of Windows itself."""
    if sys.platform == "win32":
        from agent.win32 import is_system  # noqa: PLC0415 - of Windows only

        if is_system():
            raise AppFailed("not with the rights of Windows itself: run the agent as its service")
