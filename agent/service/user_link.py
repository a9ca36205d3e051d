"""In the supervisor: has the agent's apps run in a process of the user who is signed in, started when first wanted.

Flow: agent/apps/user_apps.py -> pipes (agent/ipc.py) -> here -> pipes -> agent/apps/user_process.py, and back. The
agent, which the network reaches, gets no token and no handle of that process; what passes is the few messages below.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import BinaryIO, Final, Protocol

from agent import ipc

logger = logging.getLogger(__name__)

TO_USER: Final = (ipc.RunApp, ipc.EndApp, ipc.Ping)
TO_AGENT: Final = (ipc.AppChanged, ipc.Pong)


class UserProcess(Protocol):
    """A running `python -m agent.apps.user_process`; `wait` blocks, the rest does not."""

    pid: int
    input: int
    output: BinaryIO

    def end(self) -> None:
        """Close its input, at whose end it ends. May be called again."""
        ...

    def kill(self) -> None: ...

    def wait(self) -> int: ...


class UserLink:
    """Of one agent; `run` on a thread of its own until the agent closes its end."""

    def __init__(self, start: Callable[[], UserProcess], read: int, write: int) -> None:
        """Owns the two descriptors. `start` raises OSError, in words."""
        self._start = start
        self._read, self._write = read, write
        self._to_agent = ipc.PipeWriter(write)
        self._lock = threading.Lock()
        self._process: UserProcess | None = None
        self._to_user: ipc.PipeWriter  # of that process
        self._over = False

    def run(self) -> None:
        """Pass what the agent says, and what comes back."""
        try:
            for message in ipc.messages(self._read):
                if isinstance(message, TO_USER):
                    self._pass(message)
                else:
                    logger.error("the agent sent %s, which is not passed", type(message).__name__)
        except ipc.IpcError as error:
            logger.error("the agent's pipe failed: %s", error)  # noqa: TRY400 - no bug of ours
        finally:
            os.close(self._read)
            with self._lock:
                self._over = True
                if self._process is None:
                    os.close(self._write)
                else:
                    self._process.end()

    def _pass(self, message: ipc.Message) -> None:
        with self._lock:
            if self._process is None:
                try:
                    self._process = self._begin()
                except OSError as error:
                    words = (error.strerror or str(error)).rstrip(".")
                    logger.warning("there is no process for apps: %s", words)
                    self._tell(ipc.UserProcessEnded(words))
                    return
            try:
                self._to_user.send(message)
            except ipc.IpcError:  # it has ended, of which `_follow` tells, or it hangs
                self._process.kill()

    def _begin(self) -> UserProcess:
        process = self._start()
        logger.info("process %d started for apps, as the user who is signed in", process.pid)
        self._to_user = ipc.PipeWriter(process.input)
        threading.Thread(target=self._follow, args=(process,), name="user", daemon=True).start()
        return process

    def _follow(self, process: UserProcess) -> None:
        """On a thread of its own: what the process says, until it has ended."""
        try:
            for message in ipc.messages(process.output.fileno()):
                if isinstance(message, TO_AGENT):
                    self._tell(message)
        except ipc.IpcError as error:
            logger.warning("the process for apps is killed: %s", error)
            process.kill()
        code = process.wait()
        logger.info("the process for apps ended with exit code %d", code)
        with self._lock:
            self._process = None
            process.end()
            process.output.close()
            if self._over:
                os.close(self._write)
            else:
                self._tell(ipc.UserProcessEnded("its process has ended"))

    def _tell(self, message: ipc.Message) -> None:
        try:
            self._to_agent.send(message)
        except ipc.IpcError as error:  # as when the agent has just ended
            logger.info("the agent was not told: %s", error)
