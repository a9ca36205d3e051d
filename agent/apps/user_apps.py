"""The apps of an agent that is the Windows service's: they run in a process of the user who is signed in.

Flow: agent/host.py -> here -> agent/service/user_link.py, in the supervisor -> agent/apps/user_process.py; the states
come back. The agent itself can become nobody: the supervisor alone may start a process as that user.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from agent import ipc
from agent.apps.app import App, write_apps
from agent.apps.runner import STATES, AppState, Board

logger = logging.getLogger(__name__)

MAX_WORDS: Final = 1000
"""Of what that process says for the players: it is a user's, and trusted as little."""


class UserApps:
    """What agent/host.py uses of AppRunner; lives on the event loop, on which `on_state` is called, too."""

    def __init__(
        self,
        apps: Sequence[App],
        pipes: tuple[int, int],
        on_state: Callable[[AppState], None],
    ) -> None:
        """Owns the two descriptors: what is read from, and written to."""
        self._apps = {app.name: app for app in apps}
        self._read, self._write = pipes
        self._writer = ipc.PipeWriter(self._write)
        # One thread, so that wishes keep their order; at most one of each app and state is waiting.
        self._sender = ThreadPoolExecutor(1, thread_name_prefix="user")
        self._board = Board(on_state)
        self._closed = False

    @property
    def states(self) -> list[AppState]:
        """Of every app that is not just ready."""
        return self._board.states

    def recover(self) -> None:
        """Have the user's process run what one before it owes. Nothing where there are no apps."""
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._follow, args=(loop,), name="apps", daemon=True).start()
        if self._apps:
            self._send(ipc.Ping())

    def start(self, name: str) -> None:
        """Start an app, unless it is started already; one that is not of the configuration is ignored."""
        app = self._apps.get(name)
        if app is None or name in self._board:
            return
        self._board.tell(AppState(name, "starting"))
        self._send(ipc.RunApp(write_apps((app,))))

    def end(self, name: str) -> None:
        """Have a running app end, unless that goes on already."""
        if name in self._board and self._board[name].state == "running":
            self._board.tell(AppState(name, "ending", self._board[name].group))
            self._send(ipc.EndApp(name))

    async def close(self) -> None:
        """The end of the pipe ends every app and undoes what was prepared, without us. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._sender.submit(os.close, self._write)
        self._sender.shutdown(wait=False)

    def _send(self, message: ipc.Message) -> None:
        if not self._closed:
            self._sender.submit(self._say, message, asyncio.get_running_loop())

    def _say(self, message: ipc.Message, loop: asyncio.AbstractEventLoop) -> None:
        """On the thread: the other end may take its time."""
        try:
            self._writer.send(message)
        except ipc.IpcError as error:
            logger.error("the service was not told of an app: %s", error)  # noqa: TRY400 - no bug of ours
            _soon(loop, self._take, ipc.UserProcessEnded("the service does not answer"))

    def _follow(self, loop: asyncio.AbstractEventLoop) -> None:
        """On a thread of its own, to the end of the pipe."""
        try:
            for message in ipc.messages(self._read):
                _soon(loop, self._take, message)
        except ipc.IpcError as error:
            logger.error("the service's pipe failed: %s", error)  # noqa: TRY400 - no bug of ours
        _soon(loop, self._take, ipc.UserProcessEnded("the service has closed its pipe"))

    def _take(self, message: ipc.Message) -> None:
        if self._closed:
            return
        match message:
            case ipc.AppChanged(name, state, group, words) if name in self._apps:
                if state in STATES:
                    self._board.tell(AppState(name, state, group, words[:MAX_WORDS]))
            case ipc.UserProcessEnded(words):
                self._ended(words)
            case ipc.Pong():
                pass
            case _:
                logger.error("the user's process sent %s", type(message).__name__)

    def _ended(self, words: str) -> None:
        """Every app of it is gone; those that were running it undoes itself, or its successor does."""
        logger.info("no process of the user who is signed in: %s", words)
        for state in self.states:
            what = "was not started" if state.state == "starting" else "has ended"
            self._board.tell(AppState(state.name, "ready", 0, f"{state.name} {what}: {words}."))


def _soon(
    loop: asyncio.AbstractEventLoop, call: Callable[[ipc.Message], None], message: ipc.Message
) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
        loop.call_soon_threadsafe(call, message)
