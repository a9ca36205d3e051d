"""A real `tightbeam-agent run` for tests, with what /proc knows of it."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.agent.browser import until

ROOT = Path(__file__).parent.parent.parent
NOTHING_STORED = {"TIGHTBEAM_CONFIG": os.devnull, "XDG_STATE_HOME": "/nonexistent"}
"""Neither the configuration nor the enrolment of whoever runs the tests."""


class Agent:
    """The process and its log."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.log: list[str] = []
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stderr is not None
        while line := await self.process.stderr.readline():
            self.log.append(line.decode().rstrip())

    def said(self, words: str, times: int = 1) -> bool:
        return sum(words in line for line in self.log) >= times

    @property
    def media_pid(self) -> int:
        """Of the media process, its only child."""
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        pids = [pid for task in tasks for pid in (task / "children").read_text().split()]
        assert len(pids) == 1, pids
        return int(pids[0])

    def media_threads(self) -> int:
        """How many threads the media process has."""
        return len(os.listdir(f"/proc/{self.media_pid}/task"))

    async def exit_code(self) -> int:
        code = await asyncio.wait_for(self.process.wait(), 20)
        await self._reader
        return code


@asynccontextmanager
async def agent(
    url: str, *flags: str, pass_fds: tuple[int, ...] = (), **environment: str
) -> AsyncIterator[Agent]:
    """Start an agent; it is stopped at the end, whatever happened."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "agent.cli", "run", "--url", url, *flags,
        cwd=ROOT, env={**os.environ, **NOTHING_STORED, **environment}, stderr=asyncio.subprocess.PIPE,
        pass_fds=pass_fds,
    )  # fmt: skip
    started = Agent(process)
    try:
        yield started
    except BaseException:
        print("\n".join(started.log))
        raise
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 15)
            await asyncio.wait_for(started._reader, 15)  # the media process has its end too
        except TimeoutError:
            process.kill()
            raise


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


async def gone(pid: int) -> None:
    await until(lambda: not alive(pid), 15)
