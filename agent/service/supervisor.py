"""The loop of the service: does what agent/service/keeper.py decides, and keeps the worker's lines in the log.

Flow: Windows -> agent/service/dispatcher.py -> here -> agent/service/console.py -> `tightbeam-agent run`.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, Final, Protocol, assert_never

from agent.service.keeper import End, Keeper, Kill, Start
from agent.service.logfile import WORKER

logger = logging.getLogger(__name__)
worker_logger = logging.getLogger(WORKER)

LOOK_EVERY_S: Final = 10.0
"""For the console session, should Windows not have told of a change."""
MAX_WAITING: Final = 64
MAX_LINE_BYTES: Final = 8192
READER_LIMIT_S: Final = 1.0
"""For a worker's last lines. Its media process has the same pipe, and may be 8 s longer."""


class Worker(Protocol):
    """A running agent. `wait` blocks, on a thread of its own; the rest does not."""

    pid: int
    output: BinaryIO

    def end(self) -> None:
        """Close the pipe whose end means to it that it shall end. May be called again."""
        ...

    def kill(self) -> None: ...

    def wait(self) -> int:
        """Its exit code, once it has ended."""
        ...


class Console(Protocol):
    """The screen of this machine, as this system counts sessions."""

    def session(self) -> int | None:
        """Whose turn it is; None while it changes."""
        ...

    def start(self, session: int) -> Worker:
        """Raises OSError."""
        ...


@dataclass(frozen=True, slots=True)
class _Exited:
    code: int


class _Stop: ...


class _Look: ...


class Supervisor:
    """`run` until `stop`; both and `look` may be called from any thread."""

    def __init__(self, console: Console, on_failure: Callable[[str], None]) -> None:
        """`on_failure` is told, in words, when the worker failed."""
        self._console = console
        self._on_failure = on_failure
        self._keeper = Keeper()
        self._worker: Worker | None = None
        # Drained by `run` alone, which never waits for who puts; a full one drops looks, one of which is enough.
        self._events: queue.Queue[_Exited | _Stop | _Look] = queue.Queue(MAX_WAITING)

    def stop(self) -> None:
        """End the worker in order, then let `run` return."""
        self._events.put(_Stop())

    def look(self) -> None:
        """The console session may have changed."""
        with contextlib.suppress(queue.Full):
            self._events.put_nowait(_Look())

    def run(self) -> None:
        """Keep a worker running in the session at the screen."""
        try:
            self._advance()
            while not self._keeper.stopped:
                until = min(self._keeper.next_deadline() - time.monotonic(), LOOK_EVERY_S)
                with contextlib.suppress(queue.Empty):
                    self._take(self._events.get(timeout=max(until, 0)))
                self._advance()
        finally:
            if self._worker is not None:  # only when this method failed
                self._worker.end()

    def _take(self, event: _Exited | _Stop | _Look) -> None:
        match event:
            case _Exited(code):
                if self._worker is not None:
                    self._worker.end()  # it has ended by itself; our end of its pipe is open still
                self._worker = None
                words = f"the agent ended with exit code {code}"
                if self._keeper.exited(code, time.monotonic()):
                    logger.info("%s", words)
                else:
                    self._failed(words)
            case _Stop():
                self._keeper.stop()
            case _Look():
                pass
            case _:
                assert_never(event)

    def _failed(self, words: str) -> None:
        logger.error("%s", words)
        self._on_failure(words)

    def _advance(self) -> None:
        self._keeper.console(self._console.session())
        while (effect := self._keeper.poll(time.monotonic())) is not None:
            match effect:
                case Start(session):
                    self._start(session)
                case End(reason):
                    logger.info("ending the agent: %s", reason)
                    if self._worker is not None:
                        self._worker.end()
                case Kill():
                    # Its media process releases what is held, and ends by its own pipe.
                    logger.error("the agent does not end; it is killed")
                    if self._worker is not None:
                        self._worker.kill()
                case _:
                    assert_never(effect)

    def _start(self, session: int) -> None:
        try:
            worker = self._console.start(session)
        except OSError as error:
            self._keeper.exited(None, time.monotonic())
            self._failed(f"the agent cannot be started in session {session}: {error}")
            return
        self._worker = worker
        logger.info("agent %d started in session %d", worker.pid, session)
        threading.Thread(target=self._follow, args=(worker,), name="worker", daemon=True).start()

    def _follow(self, worker: Worker) -> None:
        """On a thread of its own: the worker's lines into the log, and its end to the loop."""
        reader = threading.Thread(target=_copy, args=(worker.output,), name="log", daemon=True)
        reader.start()
        code = worker.wait()
        reader.join(READER_LIMIT_S)
        self._events.put(_Exited(code))


def _copy(output: BinaryIO) -> None:
    """Lines to the log, until the end of the pipe."""
    with output:
        while line := output.readline(MAX_LINE_BYTES):
            worker_logger.info("%s", line.decode(errors="replace").rstrip())
