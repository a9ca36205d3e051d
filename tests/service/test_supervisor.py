"""The service's loop with real processes, which is the same on every system."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.service import logfile
from agent.service.supervisor import Supervisor
from tests.eventually import eventually
from tests.service.child import Child

ORDERLY = "import sys; print('here', flush=True); sys.stdin.read(); print('orderly', flush=True)"
LIMIT_S = 20.0


class Screen:
    """A console whose session the test chooses."""

    def __init__(self, *programs: str | OSError) -> None:
        """What is started, in this order; the last one again and again."""
        self.current: int | None = 1
        self.started: list[tuple[int, Child]] = []
        self._programs = list(programs)

    def session(self) -> int | None:
        return self.current

    def start(self, session: int) -> Child:
        program = self._programs.pop(0) if len(self._programs) > 1 else self._programs[0]
        if isinstance(program, OSError):
            raise program
        child = Child((sys.executable, "-c", program), stderr=subprocess.STDOUT)
        self.started.append((session, child))
        return child


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    logfile.open_in(tmp_path / "logs")
    ours = root.handlers[0]
    try:
        yield tmp_path / "logs" / logfile.NAME
    finally:
        ours.close()
        root.handlers[:] = handlers
        root.setLevel(level)


@contextmanager
def running(screen: Screen, failures: list[str]) -> Iterator[Supervisor]:
    supervisor = Supervisor(screen, failures.append)
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    try:
        yield supervisor
    finally:
        supervisor.stop()
        thread.join(LIMIT_S)
        assert not thread.is_alive()


def test_a_stop_ends_the_worker_in_order_and_its_lines_are_in_the_log(log: Path) -> None:
    failures: list[str] = []
    screen = Screen(ORDERLY)
    with running(screen, failures):
        eventually(lambda: "here" in log.read_text(), "the worker's line")
    assert screen.started[0][1].wait() == 0
    assert "orderly" in log.read_text()
    assert not failures


def test_a_worker_moves_to_the_session_at_the_screen(log: Path) -> None:
    failures: list[str] = []
    screen = Screen(ORDERLY)
    with running(screen, failures) as supervisor:
        eventually(lambda: "here" in log.read_text(), "the worker's line")
        screen.current = 7
        supervisor.look()
        eventually(lambda: len(screen.started) == 2, "the next worker")
    assert [session for session, _ in screen.started] == [1, 7]
    assert not failures


def test_a_worker_that_fails_is_told_of_and_started_again(log: Path) -> None:
    failures: list[str] = []
    screen = Screen(OSError("no such file"), "import sys; sys.exit('broken')", ORDERLY)
    with running(screen, failures):
        eventually(lambda: "here" in log.read_text(), "the third start", LIMIT_S)
    assert failures == [
        "the agent cannot be started in session 1: no such file",
        "the agent ended with exit code 1",
    ]
    assert "broken" in log.read_text()
    assert screen.started[0][1].ended  # one descriptor for each death would end all starts some day


def test_many_looks_never_block_who_looks() -> None:
    supervisor = Supervisor(Screen(ORDERLY), lambda words: None)
    for _ in range(1000):
        supervisor.look()


def test_the_log_is_bounded(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = "x" * 1000
    for _ in range((logfile.KEPT + 3) * logfile.MAX_BYTES // len(line)):
        logging.getLogger(logfile.WORKER).info("%s", line)
    files = list(log.parent.iterdir())
    assert len(files) == logfile.KEPT + 1
    assert all(file.stat().st_size <= logfile.MAX_BYTES for file in files)
