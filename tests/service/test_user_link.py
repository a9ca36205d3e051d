"""Apps of an agent that is a service's: real processes for the user, and real pipes, by what is the same everywhere."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent import ipc, lifeline
from agent.apps import group
from agent.apps.app import App
from agent.apps.runner import AppState
from agent.apps.user_apps import UserApps
from agent.service.user_link import UserLink
from tests.agent.process import ROOT, agent
from tests.eventually import until
from tests.service.child import Child

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="its apps are of Linux")
FOR_APPS = (sys.executable, "-P", "-m", "agent.apps.user_process")


class Bench:
    """The agent's side and the service's, and who is signed in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.problem = ""
        """Why no process can be started."""
        self.command: tuple[str, ...] = FOR_APPS
        self.started: list[Child] = []
        self.told: list[AppState] = []
        answers, answering = os.pipe()
        asked, asking = os.pipe()
        self.link = UserLink(self._start, asked, answering)
        self.thread = threading.Thread(target=self.link.run)
        self.thread.start()
        app = App(
            "Game", ("echo $$ > notes; exec sleep 600",), directory=str(folder), shell=True,
            undo=(("echo undone >> undone",),),
        )  # fmt: skip
        self.apps = UserApps((app,), (answers, asking), self.told.append)
        self.asking = asking

    def _start(self) -> Child:
        if self.problem:
            raise OSError(1008, self.problem)
        ours = {"XDG_STATE_HOME": str(self.folder), "PYTHONPATH": str(ROOT)}
        self.started.append(Child(self.command, env={**os.environ, **ours}))
        return self.started[-1]

    @property
    def notes(self) -> list[str]:
        """The pid of the app that was begun last."""
        return self._read("notes")

    @property
    def undone(self) -> int:
        """How often it was undone."""
        return len(self._read("undone"))

    def _read(self, name: str) -> list[str]:
        file = self.folder / name
        return file.read_text().split() if file.exists() else []

    def states(self) -> list[str]:
        return [state.state for state in self.told]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    await bench.apps.close()
    await asyncio.to_thread(bench.thread.join, 20)
    assert not bench.thread.is_alive()
    for process in bench.started:
        assert await asyncio.to_thread(process.wait) is not None
        await until(lambda process=process: process.output.closed, "its end to be seen")  # type: ignore[misc]


async def test_an_app_runs_in_the_users_process_and_is_ended_and_undone(bench: Bench) -> None:
    bench.apps.recover()
    bench.apps.start("Game")
    bench.apps.start("Game")
    bench.apps.start("Another")
    await until(lambda: bench.states()[-1:] == ["running"] and bench.notes, "the app", 30)
    (state,) = bench.apps.states
    assert state.group == int(bench.notes[0])
    assert os.getsid(bench.started[0].pid) != os.getsid(state.group)
    bench.apps.end("Game")
    bench.apps.end("Game")
    await until(lambda: bench.states()[-1:] == ["ready"], "its end", 30)
    assert bench.undone == 1
    assert list(dict.fromkeys(bench.states())) == ["starting", "running", "ending", "ready"]
    assert bench.told[-1].words == "Game has ended."
    assert bench.apps.states == []
    assert len(bench.started) == 1
    assert (bench.folder / "tightbeam" / "logs" / "agent.log").exists()


async def test_the_agents_end_ends_the_users_process_which_undoes(bench: Bench) -> None:
    bench.apps.recover()
    bench.apps.start("Game")
    await until(lambda: bench.states()[-1:] == ["running"] and bench.notes, "the app", 30)
    await bench.apps.close()
    await bench.apps.close()
    assert await asyncio.to_thread(bench.started[0].wait) == 0
    assert bench.undone == 1
    assert bench.states()[-1] == "running"  # nobody is left to be told


async def test_with_nobody_signed_in_an_app_is_refused_in_words(bench: Bench) -> None:
    bench.problem = "nobody is signed in at the host"
    bench.apps.recover()
    bench.apps.start("Game")
    await until(lambda: bench.states()[-1:] == ["ready"], "the refusal", 30)
    assert bench.told[-1].words == "Game was not started: nobody is signed in at the host."
    assert bench.apps.states == []
    bench.problem = ""
    bench.apps.start("Game")
    await until(lambda: bench.states()[-1:] == ["running"], "the app", 30)


async def test_a_killed_users_process_is_told_of_and_the_next_one_undoes(bench: Bench) -> None:
    bench.apps.recover()
    bench.apps.start("Game")
    await until(lambda: bench.states()[-1:] == ["running"] and bench.notes, "the app", 30)
    first = int(bench.notes[0])
    bench.started[0].kill()
    await until(lambda: bench.states()[-1:] == ["ready"], "its end", 30)
    assert bench.told[-1].words == "Game has ended: its process has ended."
    bench.apps.start("Game")
    await until(lambda: bench.states()[-1:] == ["running"], "the app", 30)
    assert bench.undone == 1
    assert not group.alive(first)
    assert len(bench.started) == 2


async def test_what_is_none_of_the_users_process_goes_neither_way(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    lie = ipc.encode(ipc.StartApp("Game")) + ipc.encode(ipc.AppChanged("Game", "on fire", 1, ""))
    bench.command = (
        sys.executable, "-c",
        f"import sys; sys.stdout.buffer.write({lie!r}); sys.stdout.flush(); sys.stdin.read()",
    )  # fmt: skip
    bench.apps.recover()
    ipc.PipeWriter(bench.asking).send(ipc.Stop())
    bench.apps.start("Game")
    await until(lambda: bench.started, "the process")
    await until(lambda: "the agent sent Stop" in caplog.text)
    bench.started[0].end()
    await until(lambda: bench.states()[-1:] == ["ready"], "its end", 30)
    assert bench.states() == ["starting", "ready"]
    assert "sent StartApp" not in caplog.text


async def test_a_users_process_that_sends_no_frames_is_killed(bench: Bench) -> None:
    bench.command = (sys.executable, "-c", "print('x' * 99); import time; time.sleep(600)")
    bench.apps.recover()
    await until(lambda: bench.started, "the process")
    assert await asyncio.to_thread(bench.started[0].wait) != 0


def test_pipes_that_are_not_there_are_not_adopted(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.set_inheritable(read, True)
    assert lifeline.adopt(read, write) == (read, write)
    assert not os.get_inheritable(read)
    os.close(write)
    assert lifeline.adopt(read, write) is None
    with (tmp_path / "file").open("w") as file:
        assert lifeline.adopt(read, file.fileno()) is None
    os.close(read)
    assert lifeline.adopt(read, read) is None


async def test_a_services_agent_asks_by_the_pipes_that_it_was_given() -> None:
    answers, answering = os.pipe()
    asked, asking = os.pipe()
    async with agent(
        "http://127.0.0.1:9", "--source", "testpattern", "--user-pipes", f"{answers},{asking}",
        pass_fds=(answers, asking), TIGHTBEAM_APPS='[{"name": "Game", "command": ["true"]}]',
    ):  # fmt: skip
        os.close(answers)
        os.close(asking)
        messages = ipc.messages(asked)
        assert await asyncio.to_thread(next, messages) == ipc.Ping()
    assert list(messages) == []
    os.close(answering)
    os.close(asked)
