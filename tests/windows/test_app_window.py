"""An app of the configuration in a session with the agent under Wine: its window alone, clicked into, and ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.browser import Browser, Page
from tests.browser.test_monitors import choose, click_in_the_middle
from tests.cluster.processes import NodeProcess
from tests.eventually import eventually
from tests.windows.test_session import agent, opened
from tests.windows.wine import PYTHON, START_LIMIT_S, Desktop

pytestmark = [pytest.mark.windows, pytest.mark.timeout(600)]
GREEN, BLUE = (0x14, 0xA0, 0x28), (0x14, 0x28, 0xC8)
CONFIG = """
[[apps]]
name = "Painted"
command = ['{python}', "-m", "tests.windows.inside.painted", "app"]
"""


def near(page: Page, x: float, y: float, colour: tuple[int, int, int]) -> bool:
    return all(abs(a - b) < 40 for a, b in zip(page.pixel(x, y), colour, strict=True))


def test_an_apps_window_is_shown_alone_clicked_into_and_ended(
    windows: Desktop, node: NodeProcess, browser: Browser, tmp_path: Path
) -> None:
    config = tmp_path / "agent.toml"
    config.write_text(CONFIG.format(python=on_windows(PYTHON)))
    with agent(windows, node, "--config", on_windows(config)) as host:
        page = opened(browser, node)
        eventually(lambda: page.frames() > 0, "a picture", START_LIMIT_S)
        choose(page, "Painted")
        host.until("capturing gdi-window at 400x300")
        corners = ((0.03, 0.05), (0.97, 0.05), (0.03, 0.95), (0.97, 0.95))
        eventually(lambda: all(near(page, *at, GREEN) for at in corners), "the window alone")
        click_in_the_middle(page)
        eventually(lambda: near(page, 0.5, 0.5, BLUE), "the click where the window is")
        assert near(page, 0.3, 0.5, GREEN)
        choose(page, "End Painted")
        host.until("Painted has ended")
        eventually(lambda: not near(page, 0.03, 0.05, GREEN), "the monitor")
        page.close()


def on_windows(path: Path) -> str:
    return f"Z:{path}".replace("/", "\\")
