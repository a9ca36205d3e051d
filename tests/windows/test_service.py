"""The installed Windows service under Wine, with a real agent that streams to a real Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.browser import Browser
from tests.browser.system import kill
from tests.browser.test_monitors import choose
from tests.cluster import support
from tests.cluster.processes import NodeProcess
from tests.eventually import eventually
from tests.windows.text_field import TextField
from tests.windows.wine import DRIVE_C, PYTHON, START_LIMIT_S, Desktop, windows_pid

pytestmark = [pytest.mark.windows, pytest.mark.timeout(300)]
FOLDER = DRIVE_C / "ProgramData" / "Tightbeam"
LOG = FOLDER / "logs" / "agent.log"
AGENT = "-m agent.cli run"
PYTHON_THERE = "Z:" + str(PYTHON).replace("/", "\\")
CONFIG = f"""
audio = false

[[apps]]
name = "Wait"
command = ['{PYTHON_THERE}', "-c", "open('began', 'w'); import time; time.sleep(600)"]
share = "monitor"
directory = 'C:\\ProgramData\\Tightbeam'
undo = [["cmd", "/c", "copy began undone"]]
"""


def service(windows: Desktop, action: str, code: int = 0) -> str:
    return windows.python("-m", "agent.cli", "service", action, code=code)


def logged(words: str, times: int = 1) -> None:
    """Wait for lines in the service's log."""
    try:
        eventually(
            lambda: LOG.exists() and LOG.read_text().count(words) >= times, words, START_LIMIT_S
        )
    except AssertionError as error:
        raise AssertionError(f"{error}; the log:\n{LOG.read_text()}") from None


@pytest.fixture
def enrolled(windows: Desktop, node: NodeProcess) -> Iterator[Path]:
    """A machine with a configuration and the host token of the room `desk`; both are gone afterwards."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    (FOLDER / "agent.toml").write_text(CONFIG)
    token = support.token(room="desk")
    windows.python(
        "-m", "agent.cli", "enroll", "--url", node.http, TIGHTBEAM_HOST_TOKEN=token
    )  # fmt: skip
    yield FOLDER
    shutil.rmtree(FOLDER)


@pytest.fixture
def installed(windows: Desktop, enrolled: Path) -> Iterator[None]:
    # A Windows without a program ends, its services with it.
    with windows.start("-u", "-c", "print('up'); import sys; sys.stdin.read()") as keeper:
        keeper.until("up")
        service(windows, "install")
        try:
            yield
        finally:
            service(windows, "uninstall")


def test_without_a_service_the_command_says_so(windows: Desktop) -> None:
    assert service(windows, "status", code=3) == "not installed\n"
    assert "service install` first" in service(windows, "start", code=1)
    assert "service start" in windows.python("-m", "agent.service", code=1)


def test_the_service_streams_and_a_stop_releases_a_held_key(
    windows: Desktop, node: NodeProcess, browser: Browser, field: TextField, installed: None
) -> None:
    assert service(windows, "start") == "running\n"
    assert service(windows, "status") == "running\n"
    logged("joined room desk")
    logged(" ready: gdi, ")
    page = browser.open(f"{node.http}/#room=desk")
    page.connect()
    eventually(lambda: min(page.pixel(0.5, 0.5)) > 240, "the white text field", START_LIMIT_S)
    choose(page, "Wait")
    logged("started for apps, as the user who is signed in")
    eventually((FOLDER / "began").exists, "the app", START_LIMIT_S)
    page.call("key", key="KeyW", down=True)
    eventually(lambda: ord("W") in field.down, "the held key")
    assert service(windows, "stop") == "stopped\n"
    eventually(lambda: ord("W") not in field.down, "the key released")
    logged("the agent ended with exit code 0")
    eventually((FOLDER / "undone").exists, "what the app's end undoes", START_LIMIT_S)
    page.close()


def test_a_killed_agent_is_started_again_and_an_installed_service_is_brought_up_to_date(
    windows: Desktop, installed: None
) -> None:
    service(windows, "start")
    logged("joined room desk")
    kill(windows_pid(AGENT))
    logged("the agent ended with exit code ")
    logged("joined room desk", 2)
    assert service(windows, "install").endswith("running\n")
    assert service(windows, "uninstall") == "not installed\n"
    assert service(windows, "uninstall") == "not installed\n"
    service(windows, "install")
