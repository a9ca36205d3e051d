"""The processes that `tightbeam up` owns: each under a guard, so that none outlives it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cluster import guard

log = logging.getLogger(__name__)

BACKOFF_S: Final = (0.2, 5.0)
STEADY_S: Final = 10.0
"""A child that ran this long has its next restart at once."""
STOP_SLACK_S: Final = 3.0
TAIL_BYTES: Final = 2000
LOG_BYTES: Final = 8 << 20
"""A log that is longer when its program starts again is put aside; the one put aside before goes."""


class Lifeline:
    """A pipe whose write end only this process holds: its end of file tells every guard."""

    def __init__(self) -> None:
        self.read_fd, self._write_fd = os.pipe()

    def cut(self) -> None:
        """End everything that hangs on it."""
        os.close(self._write_fd)
        os.close(self.read_fd)


@dataclass(frozen=True, slots=True)
class Command:
    """One program: what to run, with what, and where its words go."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(repr=False)
    log_file: Path
    pass_fds: tuple[int, ...] = ()
    grace_s: float = guard.DEFAULT_GRACE_S
    remove: str | None = None


class Child:
    """One command under its guard; `stop` and `wait` may be called in any order, often."""

    def __init__(self, command: Command, process: asyncio.subprocess.Process) -> None:
        self.command = command
        self.process = process

    @classmethod
    async def start(cls, command: Command, lifeline: Lifeline) -> Child:
        """Start it; its output is added to that of the runs before, with a limit on what is kept."""
        with contextlib.suppress(FileNotFoundError):
            if command.log_file.stat().st_size > LOG_BYTES:
                command.log_file.replace(command.log_file.with_suffix(".log.1"))
        with command.log_file.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *guard.command_line(
                    lifeline.read_fd, command.argv, command.grace_s, command.remove
                ),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(command.env),
                pass_fds=(lifeline.read_fd, *command.pass_fds),
                start_new_session=True,
            )
        return cls(command, process)

    @property
    def running(self) -> bool:
        """False once it is known to have ended."""
        return self.process.returncode is None

    async def wait(self) -> int:
        """Until it and its whole tree have ended; its exit status."""
        return await self.process.wait()

    async def stop(self) -> None:
        """SIGTERM, the grace, SIGKILL: all by the guard; a guard that hangs is killed here."""
        if not self.running:
            return
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        try:
            # Not asyncio.timeout: in Python 3.11.2 it raises no TimeoutError in a task that was cancelled.
            await asyncio.wait_for(self.process.wait(), self.command.grace_s + STOP_SLACK_S)
        except TimeoutError:
            log.warning("%s did not end in time; killing it", self.command.name)
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()

    def log_tail(self) -> str:
        """Its last words."""
        with contextlib.suppress(OSError):
            return self.command.log_file.read_bytes()[-TAIL_BYTES:].decode(errors="replace").strip()
        return ""


class Kept:
    """A command that is started again whenever it ends, until `stop`."""

    def __init__(self, command: Command, lifeline: Lifeline) -> None:
        self._command = command
        self._lifeline = lifeline
        self._child: Child | None = None
        self._stopping = False
        self.restarts = 0

    async def run(self) -> None:
        """Until `stop`; cancelled, it stops the command first."""
        delay = BACKOFF_S[0]
        try:
            while not self._stopping:
                started = time.monotonic()
                self._child = await Child.start(self._command, self._lifeline)
                status = await self._child.wait()
                if self._stopping:
                    return
                if time.monotonic() - started > STEADY_S:
                    delay = BACKOFF_S[0]
                log.warning(
                    "the %s ended (status %d); starting it again in %.1f s, its words are in %s",
                    self._command.name,
                    status,
                    delay,
                    self._command.log_file,
                )
                self.restarts += 1
                await asyncio.sleep(delay)
                delay = min(delay * 2, BACKOFF_S[1])
        finally:
            await self.stop()

    async def stop(self) -> None:
        """End it for good."""
        self._stopping = True
        if self._child is not None:
            await self._child.stop()
