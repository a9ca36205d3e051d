"""What the service gives to those that it starts: restricted tokens, a job, and the user's process for apps."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from ctypes import wintypes
from pathlib import Path

import pytest

if sys.platform != "win32":
    pytest.skip("for Windows", allow_module_level=True)

from agent.apps.app import App
from agent.apps.runner import AppState
from agent.apps.user_apps import UserApps
from agent.service import console, job
from agent.service.process import Pipes, Process, create
from agent.service.session_token import agent_token, restricted, user_token
from agent.service.user_link import UserLink
from agent.win32 import checked, is_system
from tests.eventually import until

ADMINISTRATORS = "S-1-5-32-544"
TOKEN_GROUPS = 2
DENY_ONLY = 0x10

advapi32 = ctypes.WinDLL("advapi32", use_last_error=True)
kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
kernel32.IsProcessInJob.argtypes = [wintypes.HANDLE, wintypes.HANDLE, ctypes.c_void_p]
SESSION = console._own_session()


def told(token: int, kind: int) -> bytes:
    buffer, size = ctypes.create_string_buffer(8192), wintypes.DWORD()
    checked(
        advapi32.GetTokenInformation(
            wintypes.HANDLE(token), kind, buffer, len(buffer), ctypes.byref(size)
        )
    )
    return buffer


def groups(token: int) -> dict[str, int]:
    """The attributes of each group."""
    buffer = told(token, TOKEN_GROUPS)
    found = {}
    for at in range(wintypes.DWORD.from_buffer(buffer).value):
        sid = ctypes.c_void_p.from_buffer(buffer, 8 + 16 * at)
        name = wintypes.LPWSTR()
        checked(advapi32.ConvertSidToStringSidW(sid, ctypes.byref(name)))
        found[name.value or ""] = wintypes.DWORD.from_buffer(buffer, 16 + 16 * at).value
    return found


def ran(program: str, token: int | None = None, environment: int | None = None) -> str:
    """What a Python with that token prints."""
    with Pipes() as pipes:
        _, given = pipes.to_child()
        _, taken = pipes.from_child()
        made = create((sys.executable, "-c", program), pipes.theirs, token, environment)
        made.resume()
    process = Process(made, given, taken)
    process.end()
    with process.output as output:
        words = output.read().decode()
    assert process.wait() == 0, words
    return words.strip()


def test_the_agents_token_has_administrators_for_denials_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with agent_token(SESSION) as token, ExitStack() as stack:
        assert ran("print('runs')", token) == "runs"
        kept = "keeps the rights of an administrator" in caplog.text  # Wine sets no owner
        ours = restricted(stack, token, administrator=False) if kept else token
        assert groups(ours)[ADMINISTRATORS] & DENY_ONLY
        assert ran("print('runs')", ours) == "runs"


def test_the_users_environment_is_theirs_and_not_the_services(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TIGHTBEAM_HOST_TOKEN", "secret")
    assert not is_system()
    with user_token(SESSION) as (token, environment):
        program = (
            "import os; print(os.environ.get('TIGHTBEAM_HOST_TOKEN'), os.environ['USERPROFILE'])"
        )
        assert ran(program, token, environment).startswith("None C:\\")


def test_a_process_is_in_its_job_before_it_runs() -> None:
    with Pipes() as pipes:
        _, given = pipes.to_child()
        _, taken = pipes.from_child()
        made = create((sys.executable, "-c", "print('runs')"), pipes.theirs)
        job.limit(made.process)
        inside = wintypes.BOOL()
        checked(kernel32.IsProcessInJob(made.process, None, ctypes.byref(inside)))
        made.resume()
    assert inside.value
    process = Process(made, given, taken)
    with process.output as output:
        assert output.read().strip() == b"runs"
    process.end()
    assert process.wait() == 0


@pytest.fixture
def pipes(tmp_path: Path) -> Iterator[tuple[int, int]]:
    """The agent's ends of what the service gives it."""
    answers, answering = os.pipe()
    asked, asking = os.pipe()
    there = console.WindowsConsole()
    link = UserLink(lambda: there.start_for_apps(SESSION), asked, answering)
    thread = threading.Thread(target=link.run)
    thread.start()
    yield answers, asking
    thread.join(30)
    assert not thread.is_alive()


async def test_an_app_of_the_services_agent_runs_in_a_process_of_the_user(
    tmp_path: Path, pipes: tuple[int, int]
) -> None:
    app = App(
        "Wait",
        (sys.executable, "-c", "import time; open('began', 'w'); time.sleep(600)"),
        directory=str(tmp_path),
        undo=((sys.executable, "-c", "open('undone', 'w')"),),
    )
    told: list[AppState] = []
    apps = UserApps((app,), pipes, told.append)
    apps.recover()
    apps.start("Wait")
    await until((tmp_path / "began").exists, "the app", 60)
    await until(lambda: told[-1].state == "running", "word of it", 60)
    apps.end("Wait")
    await until(lambda: told[-1].state == "ready", "its end", 60)
    assert (tmp_path / "undone").exists()
    await apps.close()
