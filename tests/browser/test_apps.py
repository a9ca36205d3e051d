"""An app of the configuration, started from a real Chromium: its window alone is seen, typed into, ended and undone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.browser import Browser, Page
from tests.browser.desktop import Chart
from tests.browser.system import System, kill
from tests.browser.test_monitors import choose, shown
from tests.eventually import eventually
from tests.xserver import XServer, x_server

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
SHOTS = os.environ.get("TIGHTBEAM_SCREENSHOTS")
RED, GREEN = (200, 30, 30), (20, 160, 40)
CONFIG = """
[[apps]]
name = "Terminal"
command = ["xterm", "-geometry", "60x20+300+120", "-bg", "rgb:14/a0/28", "-e", "sh", "-c", "exec cat > typed"]
directory = "{folder}"
prepare = [["touch", "prepared"]]
undo = [["rm", "prepared"], ["touch", "undone"]]

[[apps]]
name = "Broken"
command = ["/no/such/program"]
"""


@pytest.fixture
def server() -> Iterator[XServer]:
    with x_server("1000x600") as server:
        yield server


@pytest.fixture
def system(server: XServer, tmp_path: Path) -> Iterator[System]:
    config = tmp_path / "config" / "tightbeam" / "agent.toml"
    config.parent.mkdir(parents=True)
    config.write_text(CONFIG.format(folder=tmp_path))
    env = {
        "DISPLAY": server.name,
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }
    with System("--no-pairing", "--source", "x11", env=env) as running:
        yield running


def near(page: Page, x: float, y: float, colour: tuple[int, int, int]) -> bool:
    return all(abs(a - b) < 40 for a, b in zip(page.pixel(x, y), colour, strict=True))


def notice(page: Page) -> str:
    return str(page.evaluate("document.getElementById('notice').textContent"))


def test_an_apps_window_is_shown_alone_typed_into_ended_and_undone(
    server: XServer, system: System, tmp_path: Path
) -> None:
    chart = Chart(server.name)
    chart.fill(*RED)
    with Browser("chromium") as browser:
        page = browser.open(system.link, 1000, 700)
        page.connect()
        eventually(lambda: near(page, 0.5, 0.5, RED), "the monitor")
        choose(page, "Broken")
        eventually(lambda: "'/no/such/program' cannot be started" in notice(page), "the words")
        choose(page, "Terminal")
        eventually(lambda: near(page, 0.5, 0.8, GREEN), "the window", 60)
        eventually(lambda: near(page, 0.98, 0.03, GREEN), "nothing but the window")
        eventually(lambda: shown(page) == "Terminal", "the menu")
        assert (tmp_path / "prepared").exists()

        chart.hide()
        cover = Chart(server.name)  # over everything
        cover.fill(*RED)
        page.call("move", x=500, y=350)
        page.call("type", text="hello")
        page.call("key", key="Enter", down=True)
        page.call("key", key="Enter", down=False)
        typed = tmp_path / "typed"
        eventually(lambda: typed.read_text() == "hello\n", "what was typed")
        assert near(page, 0.5, 0.8, GREEN)
        cover.close()

        kill(system.media)  # the app outlives it
        eventually(lambda: shown(page) == "screen", "the monitor, by the next process", 60)
        page.wait_for("playing", timeout_s=60)
        assert (tmp_path / "prepared").exists()
        choose(page, "Terminal")
        eventually(lambda: near(page, 0.98, 0.03, GREEN), "the same window", 60)
        if SHOTS:
            page.screenshot(Path(SHOTS, "app.png"))
        choose(page, "End Terminal")
        eventually((tmp_path / "undone").exists, "the undoing")
        eventually(lambda: "Terminal has ended" in notice(page), "the words")
        assert not (tmp_path / "prepared").exists()
        eventually(lambda: not near(page, 0.98, 0.03, GREEN), "the monitor again")
    chart.close()
