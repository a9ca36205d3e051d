"""Supervises the media process: starts it, passes messages, starts it again when it dies.

Flow: agent/host.py <-> here <-> pipes (agent/ipc.py) <-> agent/media.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import time
from collections.abc import AsyncIterator, Sequence
from typing import Final, Protocol

from agent import host_token, ipc
from agent.exit_code import ending

logger = logging.getLogger(__name__)

COMMAND: Final = (sys.executable, "-P", "-m", "agent.media")
"""-P: the directory that we are started in is not searched for modules."""
START_LIMIT_S: Final = 60.0
"""From the start to `Ready`: the imports alone take a second, on a loaded machine several."""
STOP_LIMIT_S: Final = 5.0
PING_S: Final = 1.0
MAX_UNANSWERED: Final = 3
"""Pings; a process that answers none of them hangs, and is killed. Counted, not timed, so that a pause
of this process (a suspended machine) is not taken for one of the other."""
BACK_OFF_FIRST_S: Final = 0.2
BACK_OFF_MOST_S: Final = 10.0
STEADY_S: Final = 30.0
"""A process that lived this long is started again at once."""
MAX_WAITING: Final = 64
"""Messages kept for a process that is starting; more are refused."""
MAX_UNREAD_BYTES: Final = 4 << 20
"""A process that leaves this much unread hangs, and is killed."""
READ_BYTES: Final = 65_536


class MediaListener(Protocol):
    """Who is told, on the event loop, what the media process says."""

    def on_media(self, message: ipc.Message) -> None: ...

    async def on_media_died(self, reason: str) -> None:
        """Every session is gone, and nobody released what was held."""
        ...


class MediaProcess:
    """One media process at a time. Run `run` in a task; cancel it to stop the process."""

    def __init__(
        self,
        configure: ipc.Configure,
        listener: MediaListener,
        log_format: str = "text",
        command: Sequence[str] = COMMAND,
    ) -> None:
        self.ready = asyncio.Event()
        """Set while a process is there and has said `Ready`."""
        self._configure = configure
        self._listener = listener
        self._command = command
        self._environment = host_token.without(os.environ) | {"TIGHTBEAM_LOG_FORMAT": log_format}
        self._process: asyncio.subprocess.Process | None = None
        self._waiting: list[ipc.Message] = []
        self._unanswered = 0

    @property
    def pid(self) -> int | None:
        """Of the running process."""
        return None if self._process is None else self._process.pid

    def send(self, message: ipc.Message) -> bool:
        """Pass a message, now or as soon as the process is ready; False: it cannot be passed."""
        if self.ready.is_set() and self._process is not None:
            return self._write(self._process, message)
        if len(self._waiting) >= MAX_WAITING:
            return False
        self._waiting.append(message)
        return True

    def kill(self) -> None:
        """End the process at once, whatever it does; `run` hears of it as of any death."""
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()

    async def run(self) -> None:
        """Keep a process running until cancelled."""
        back_off_s = BACK_OFF_FIRST_S
        while True:
            started = time.monotonic()
            reason = await self._one_process()
            self._waiting.clear()  # theirs who are told of the death now
            logger.error("the media process ended: %s", reason)
            await self._listener.on_media_died(reason)
            if time.monotonic() - started > STEADY_S:
                back_off_s = BACK_OFF_FIRST_S
            await asyncio.sleep(back_off_s)
            back_off_s = min(2 * back_off_s, BACK_OFF_MOST_S)

    async def _one_process(self) -> str:
        """Start a process and serve it to its end; why it ended."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=self._environment,
            )
        except OSError as error:
            return f"it cannot be started: {error}"
        self._process = process
        decoder = ipc.FrameDecoder()
        problem = ""
        try:
            self._write(process, self._configure)
            async with asyncio.TaskGroup() as tasks:
                pings = tasks.create_task(self._ping(process), name="pings")
                problem = await self._serve(process, decoder)
                pings.cancel()
        finally:
            self.ready.clear()
            self._process = None
            code = await self._stop(process, decoder)
        return problem or ending(code)

    async def _serve(self, process: asyncio.subprocess.Process, decoder: ipc.FrameDecoder) -> str:
        """Take messages until the end of the pipe; a complaint, if there is one."""
        limit: asyncio.Timeout
        try:
            async with asyncio.timeout(START_LIMIT_S) as limit:
                async for message in _messages(process, decoder):
                    if isinstance(message, ipc.Ready):
                        limit.reschedule(None)
                        self._now_ready(process)
                    self._take(message)
        except TimeoutError:
            return f"it was not ready within {START_LIMIT_S:.0f} s"
        except ipc.IpcError as error:
            return f"it sent a bad frame: {error}"
        return ""

    def _take(self, message: ipc.Message) -> None:
        if isinstance(message, ipc.Pong):
            self._unanswered = 0
        else:
            self._listener.on_media(message)

    async def _ping(self, process: asyncio.subprocess.Process) -> None:
        """Kill a process that is there and does not answer, until cancelled."""
        await self.ready.wait()
        self._unanswered = 0
        while self._unanswered < MAX_UNANSWERED:
            self._write(process, ipc.Ping())
            self._unanswered += 1
            await asyncio.sleep(PING_S)
        logger.error("the media process does not answer; it is killed")
        process.kill()

    def _now_ready(self, process: asyncio.subprocess.Process) -> None:
        self.ready.set()
        waiting, self._waiting = self._waiting, []
        for message in waiting:
            self._write(process, message)

    def _write(self, process: asyncio.subprocess.Process, message: ipc.Message) -> bool:
        pipe = process.stdin
        if pipe is None or pipe.is_closing():
            return False
        if pipe.transport.get_write_buffer_size() > MAX_UNREAD_BYTES:
            logger.error("the media process does not read; it is killed")
            process.kill()
            return False
        pipe.write(ipc.encode(message))
        return True

    async def _stop(self, process: asyncio.subprocess.Process, decoder: ipc.FrameDecoder) -> int:
        """Ask, wait, then kill; returns the exit code."""
        if process.returncode is None and process.stdin is not None:
            self._write(process, ipc.Stop())
            process.stdin.close()
        if not await self._hear_out(process, decoder):
            logger.warning("the media process hangs after %.0f s; it is killed", STOP_LIMIT_S)
            process.kill()
            await self._hear_out(process, decoder)
        return await process.wait()

    async def _hear_out(
        self, process: asyncio.subprocess.Process, decoder: ipc.FrameDecoder
    ) -> bool:
        """Take its last messages, what it holds among them; whether it ends in time."""

        async def to_its_end() -> None:
            with contextlib.suppress(ipc.IpcError):  # nothing more can be read then
                async for message in _messages(process, decoder):
                    self._take(message)
            await process.wait()

        try:
            # Not asyncio.timeout: in Python 3.11.2 it raises no TimeoutError in a task that was cancelled.
            await asyncio.wait_for(to_its_end(), STOP_LIMIT_S)
        except TimeoutError:
            return False
        return True


async def _messages(
    process: asyncio.subprocess.Process, decoder: ipc.FrameDecoder
) -> AsyncIterator[ipc.Message]:
    """What the process says until it closes its pipe. Raises IpcError."""
    assert process.stdout is not None  # noqa: S101 - PIPE above
    while piece := await process.stdout.read(READ_BYTES):
        for message in decoder.feed(piece):
            yield message
