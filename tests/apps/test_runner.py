"""Real programs: how an app begins and ends, and that what was prepared is undone whatever happens."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.apps import group, runner
from agent.apps.app import App
from agent.apps.group import AppFailed
from agent.apps.journal import Journal
from agent.apps.runner import AppRunner, AppState
from tests.agent.process import ROOT
from tests.eventually import eventually, until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="process groups of Linux")


class Bench:
    """A runner in a folder, and what it told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told: list[AppState] = []
        self.runner = AppRunner((), Journal(folder / "state"), self.told.append)

    def app(self, name: str, command: str, **keys: Any) -> None:
        """An app of shell lines that note what they do in a file."""
        lines: dict[str, Any] = {
            key: tuple((line,) for line in keys.pop(key, ())) for key in ("prepare", "undo")
        }
        app = App(name, (command,), directory=str(self.folder), shell=True, **lines, **keys)
        self.runner._apps[name] = app

    @property
    def notes(self) -> list[str]:
        file = self.folder / "notes"
        return file.read_text().split() if file.exists() else []

    def states(self) -> list[str]:
        return [state.state for state in self.told]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    await bench.runner.close()
    assert not list(tmp_path.glob("state/*"))  # noqa: ASYNC240


async def test_an_app_is_prepared_run_and_undone(bench: Bench) -> None:
    bench.app(
        "Game", "echo $LEVEL >> notes", environment={"LEVEL": "hard"},
        prepare=("echo first >> notes", "echo second >> notes"),
        undo=("echo third >> notes", "exit 3", "echo last >> notes"),
    )  # fmt: skip
    bench.runner.start("Game")
    bench.runner.start("Game")
    await until(lambda: bench.states()[-1:] == ["ready"])
    assert bench.notes == ["first", "second", "hard", "third", "last"]
    assert bench.states() == ["starting", "running", "ending", "ready"]
    assert bench.told[1].group > 0
    assert bench.told[-1].words.startswith("Game has ended. Of its undo commands 'exit 3' failed")


async def test_a_prepare_command_that_fails_ends_the_start_and_is_undone(bench: Bench) -> None:
    bench.app(
        "Game", "echo never >> notes", prepare=("exit 7", "echo no"), undo=("echo u >> notes",)
    )
    bench.runner.start("Game")
    await until(lambda: bench.states()[-1:] == ["ready"])
    assert bench.notes == ["u"]
    assert bench.told[-1].words == "Game was not started: 'exit 7' failed with exit code 7"


async def test_a_command_that_does_not_end_is_ended_at_its_limit(bench: Bench) -> None:
    bench.app("Game", "echo never", prepare=("sleep 600 & echo $! > notes; wait",), limit_s=1)
    bench.runner.start("Game")
    await until(lambda: bench.states()[-1:] == ["ready"])
    assert "did not end within 1 s" in bench.told[-1].words
    await until(lambda: not group.birth(int(bench.notes[0])))


async def test_a_program_that_is_not_there_is_told_in_words(bench: Bench) -> None:
    bench.runner._apps["Game"] = App("Game", ("/no/such/game",))
    bench.runner.start("Game")
    await until(lambda: bench.states()[-1:] == ["ready"])
    assert "'/no/such/game' cannot be started: No such file" in bench.told[-1].words


async def test_a_launcher_that_goes_leaves_an_app_that_runs(bench: Bench) -> None:
    bench.app("Game", "sleep 600 & echo $! > notes", undo=("echo u >> notes",))
    bench.runner.start("Game")
    await until(lambda: bench.notes)
    await asyncio.sleep(2 * group.LOOK_S)
    assert bench.states() == ["starting", "running"]
    os.kill(int(bench.notes[0]), signal.SIGKILL)
    await until(lambda: bench.states()[-1:] == ["ready"])
    assert bench.notes[1:] == ["u"]


async def test_an_app_that_is_ended_is_killed_when_it_does_not_listen(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group, "TERMINATE_WAIT_S", 0.3)
    bench.app("Game", "trap '' TERM; echo $$ > notes; while :; do sleep 600; done", undo=("true",))
    bench.runner.end("Game")
    bench.runner.start("Game")
    await until(lambda: bench.notes)
    bench.runner.end("Game")
    await until(lambda: bench.states()[-1:] == ["ready"])
    assert not group.alive(int(bench.notes[0]))


async def test_many_wishes_to_end_an_app_end_it_once_and_leave_the_loop_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking: set[int] = set()
    look = group.members

    def members(leader: int) -> list[int]:
        looking.add(threading.get_ident())
        return look(leader)

    monkeypatch.setattr(group, "members", members)
    monkeypatch.setattr(group, "TERMINATE_WAIT_S", 0.3)
    bench.app("Game", "trap '' TERM; echo $$ > notes; while :; do sleep 600; done", undo=("true",))
    bench.runner.start("Game")
    await until(lambda: bench.notes)
    for _ in range(50):
        bench.runner.end("Game")
    assert bench.states()[-1] == "ending"  # at once
    ends = [task for task in asyncio.all_tasks() if task.get_name() == "end of Game"]
    assert len(ends) == 1
    await until(lambda: bench.states()[-1:] == ["ready"])
    assert bench.states() == ["starting", "running", "ending", "ready"]
    assert looking
    assert threading.get_ident() not in looking


async def test_the_agents_end_ends_and_undoes(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.app("Game", "echo $$ > notes; exec sleep 600", undo=("echo u >> notes",))
    bench.runner.start("Game")
    await until(lambda: bench.notes)
    await bench.runner.close()
    assert bench.notes[1:] == ["u"]
    assert not group.alive(int(bench.notes[0]))


async def test_the_environment_has_no_host_token(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIGHTBEAM_HOST_TOKEN", "secret")
    bench.app("Game", "echo [$TIGHTBEAM_HOST_TOKEN] > notes")
    bench.runner.start("Game")
    await until(lambda: bench.states()[-1:] == ["ready"])
    assert bench.notes == ["[]"]


KILLED = """
import asyncio, sys
from pathlib import Path
from agent.apps.app import App
from agent.apps.journal import Journal
from agent.apps.runner import AppRunner

async def main() -> None:
    folder = sys.argv[1]
    app = App("Game", (sys.argv[2],), directory=folder, shell=True,
              undo=(("echo undone >> notes",),))
    runner = AppRunner((app,), Journal(Path(folder, "state")), lambda state: None)
    runner.recover()
    runner.start("Game")
    await asyncio.sleep(600)

asyncio.run(main())
"""


@contextmanager
def killed_agent(bench: Bench, command: str) -> Iterator[int]:
    """An agent until it is killed, and its app's process that has noted its number."""
    agent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(bench.folder), command], cwd=ROOT
    )
    try:
        eventually(lambda: bench.notes, "the app")
        app = int(bench.notes[0])
        leader = f'"leader": [{os.getpgid(app)}'
        eventually(lambda: leader in "".join(p.read_text() for p in state_files(bench)))
        yield app
    finally:
        agent.kill()
        agent.wait(10)


async def test_what_a_killed_agent_owes_is_done_by_the_next_one_and_by_no_other(
    bench: Bench,
) -> None:
    with killed_agent(bench, "echo $$ > notes; exec sleep 600") as app:
        bench.runner.recover()  # of an agent that lives nothing is taken
        assert bench.runner._undoing is None
    assert group.alive(app)
    bench.runner.recover()
    assert bench.runner._undoing is not None
    bench.app("Other", "true")
    bench.runner.start("Other")  # waits for the undoing
    await until(lambda: bench.states()[-1:] == ["ready"])
    assert bench.notes[1:] == ["undone"]
    assert not group.alive(app)


async def test_what_a_launcher_left_behind_is_ended_before_it_is_undone(bench: Bench) -> None:
    with killed_agent(bench, "sleep 600 & echo $! > notes") as app:
        leader = os.getpgid(app)
        await until(lambda: not group.birth(leader))
    assert group.alive(leader)
    bench.runner.recover()
    await until(lambda: bench.notes[1:] == ["undone"])
    assert not group.alive(leader)


async def test_a_group_of_another_boot_is_not_taken_for_the_apps(bench: Bench) -> None:
    bench.app("Game", "sleep 600 & echo $! > notes")
    bench.runner.start("Game")
    await until(lambda: bench.notes)
    leader = os.getpgid(int(bench.notes[0]))
    await until(lambda: not group.birth(leader))
    gone, boot = group.mark(leader).split(" ")
    assert gone == ""  # as where a launcher was gone before it was noted
    assert group.is_left(leader, f" {boot}")
    assert not group.is_left(leader, " another-boot")
    assert not group.is_left(os.getpid(), f"1 {boot}")  # its number is another's now


async def test_where_no_app_may_be_started_nothing_that_was_left_is_run(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise AppFailed("a service")

    with killed_agent(bench, "echo $$ > notes; exec sleep 600"):
        pass
    with monkeypatch.context() as patch:
        patch.setattr(runner, "refuse", refuse)
        bench.runner.recover()
    assert bench.runner._undoing is None
    assert len(state_files(bench)) == 1
    bench.runner.recover()
    await until(lambda: bench.notes[1:] == ["undone"])


async def test_a_lock_that_cannot_be_opened_keeps_no_agent_from_starting(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    folder = bench.folder / "state"
    (folder / "apps-1.lock").mkdir(parents=True)  # root's own file would stop no test run by root
    (folder / "apps-1.json").write_text("[]")
    bench.runner.recover()
    assert "is not undone" in caplog.text
    (folder / "apps-1.lock").rmdir()
    (folder / "apps-1.json").unlink()


def test_an_app_that_could_not_be_noted_is_owed_to_nobody(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.write_text("in the way")
    journal = Journal(folder)
    with pytest.raises(OSError, match="exists"):
        journal.note(App("First", ("true",)))
    folder.unlink()
    owed = journal.note(App("Second", ("true",)))
    (file,) = folder.glob("apps-*.json")
    assert [row["app"]["name"] for row in json.loads(file.read_text())] == ["Second"]
    journal.done(owed)
    journal.close()


def state_files(bench: Bench) -> list[Path]:
    return list(bench.folder.glob("state/apps-*.json"))


async def test_a_damaged_journal_is_told_of(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    folder = bench.folder / "state"
    folder.mkdir()
    (folder / "apps-1.json").write_text("[{}]")
    bench.runner.recover()
    assert "is not undone" in caplog.text
    for path in folder.iterdir():
        path.unlink()
    assert runner.CLOSE_LIMIT_S < 8  # the grace of agent/lifeline.py
