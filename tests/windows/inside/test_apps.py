"""An app of the configuration on Windows: it is started, prepared, ended and undone; its journal is locked."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

if sys.platform != "win32":
    pytest.skip("for Windows", allow_module_level=True)

from agent.apps.app import App
from agent.apps.journal import Journal
from agent.apps.runner import AppRunner, AppState
from tests.eventually import until


async def test_an_app_is_prepared_ended_and_undone(tmp_path: Path) -> None:
    app = App(
        "Wait",
        (sys.executable, "-c", "import time; open('began', 'w'); time.sleep(600)"),
        directory=str(tmp_path),
        prepare=((sys.executable, "-c", "open('prepared', 'w')"),),
        undo=((sys.executable, "-c", "import os; os.remove('prepared'); open('undone', 'w')"),),
    )
    told: list[AppState] = []
    journal = Journal(tmp_path / "state")
    runner = AppRunner((app,), journal, told.append)
    runner.start("Wait")
    await until((tmp_path / "began").exists, "the app", 60)
    assert (tmp_path / "prepared").exists()
    assert Journal(tmp_path / "state").adopt() == []  # of an agent that lives
    runner.end("Wait")
    await until(lambda: told[-1].state == "ready", "its end", 60)
    assert (tmp_path / "undone").exists()
    assert not (tmp_path / "prepared").exists()
    await runner.close()
