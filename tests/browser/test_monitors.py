"""Several monitors of a real X server in a real Chromium: seen, chosen in mid-session, clicked on, unplugged."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.capture.base import Box
from tests.browser.browser import Browser, Page
from tests.browser.desktop import Chart
from tests.browser.system import System
from tests.eventually import eventually
from tests.xserver import XServer, two_monitors

pytestmark = pytest.mark.browser
LEFT, RIGHT = Box(0, 0, 640, 480), Box(640, 0, 1440, 600)
RED, BLUE = (200, 30, 30), (40, 60, 200)
SHOTS = os.environ.get("TIGHTBEAM_SCREENSHOTS")


@pytest.fixture
def server() -> Iterator[XServer]:
    with two_monitors("1440x600", LEFT, RIGHT) as server:
        yield server


@pytest.fixture
def chart(server: XServer) -> Iterator[Chart]:
    """Red on the left monitor, blue on the right one."""
    chart = Chart(server.name)
    chart.fill(*BLUE)
    chart.fill(*RED, area=(LEFT.left, LEFT.top, LEFT.width, LEFT.height))
    yield chart
    chart.close()


def colour_is(page: Page, x: float, colour: tuple[int, int, int]) -> bool:
    return all(abs(a - b) < 30 for a, b in zip(page.pixel(x, 0.5), colour, strict=True))


def size_of(page: Page) -> list[int]:
    found: list[int] = page.evaluate(
        "(v => [v.videoWidth, v.videoHeight])(document.getElementById('screen'))"
    )
    return found


def shown(page: Page) -> str | None:
    """What the menu says is shown."""
    row = "document.querySelector('#choices button[aria-pressed=true] span')"
    return str(page.evaluate(f"{row}?.textContent ?? ''"))


def choose(page: Page, name: str) -> None:
    """As a user does it: call the bar, open the menu, click."""
    page.evaluate("document.getElementById('handle').click()")
    page.call("click", selector="#tool-desk")
    if SHOTS:
        page.screenshot(Path(SHOTS, f"menu-{name}.png"))
    page.call("click", selector=f"#choices button:has-text('{name}')")


def click_in_the_middle(page: Page) -> None:
    left, top, width, height = page.evaluate(
        "(r => [r.left, r.top, r.width, r.height])"
        "(document.getElementById('screen').getBoundingClientRect())"
    )
    page.call("move", x=left + width / 2, y=top + height / 2)
    page.call("button", button="left", down=True)
    page.call("button", button="left", down=False)


@pytest.mark.timeout(300)
def test_a_player_chooses_a_monitor_which_all_see_and_clicks_land_on_it(
    server: XServer, chart: Chart
) -> None:
    with (
        System("--no-pairing", "--source", "x11", env={"DISPLAY": server.name}) as system,
        Browser("chromium") as browser,
    ):
        page, other = browser.open(system.link, 1000, 800), browser.open(system.link, 800, 600)
        for opened in (page, other):
            opened.connect()
        eventually(lambda: colour_is(page, 0.5, RED), "the left monitor")
        eventually(lambda: shown(page) == "left", "the menu")
        assert size_of(page) == [LEFT.width, LEFT.height]

        choose(page, "right")
        for opened in (page, other):
            eventually(lambda: colour_is(opened, 0.1, BLUE), "the right monitor")  # noqa: B023
            eventually(lambda: shown(opened) == "right", "the menu of each")  # noqa: B023
            eventually(lambda: size_of(opened) == [RIGHT.width, RIGHT.height], "its size")  # noqa: B023
        chart.clicks()
        click_in_the_middle(other)
        [(_, x, y)] = eventually(chart.clicks, "the click")
        assert abs(x - 1040) <= 2
        assert abs(y - 300) <= 2

        choose(other, "All monitors")
        eventually(lambda: size_of(page) == [1440, 600], "all monitors")
        eventually(lambda: colour_is(page, 0.1, RED) and colour_is(page, 0.9, BLUE), "both")

        choose(page, "right")
        eventually(lambda: size_of(page) == [RIGHT.width, RIGHT.height], "the right one again")
        server.remove_monitor("right")
        eventually(lambda: colour_is(page, 0.5, RED), "the monitor that is left")
        words = "document.getElementById('notice').textContent"
        eventually(lambda: "right is gone" in page.evaluate(words), "what happened, in words")
        if SHOTS:
            page.screenshot(Path(SHOTS, "gone.png"))
        eventually(lambda: page.evaluate("document.getElementById('tool-desk').hidden"), "no menu")
