"""The shared screen changes its size, or is gone for a while, under a session in a real Chromium."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser.browser import Browser, Page
from tests.browser.system import System
from tests.eventually import eventually
from tests.faults.detour import Watch
from tests.xserver import XServer

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]
RED, GREEN, BLUE = 0xE02020, 0x20C030, 0x2030E0


@pytest.fixture
def servers() -> Iterator[list[XServer]]:
    """The last one is the screen of the moment."""
    started = [XServer("640x480")]
    yield started
    for server in started:
        server.stop()


@pytest.fixture
def page(servers: list[XServer]) -> Iterator[Page]:
    env = {"DISPLAY": servers[0].name}
    with (
        System("--no-pairing", "--source", "x11", "--fps", "30", env=env) as system,
        Browser("chromium") as browser,
    ):
        opened = browser.open(system.link)
        servers[0].paint(0, 0, 640, 480, RED)
        opened.connect()
        yield opened
        opened.close()


def shows(page: Page, rgb: int) -> None:
    drawn = (rgb >> 16, rgb >> 8 & 255, rgb & 255)

    def so() -> bool:
        seen = page.pixel(0.5, 0.5)
        return all(abs(a - b) < 24 for a, b in zip(seen, drawn, strict=True))

    eventually(so, f"the colour {rgb:06x}", 30)


def size(page: Page) -> list[int]:
    return list(page.evaluate("[screen_.videoWidth, screen_.videoHeight]"))


def test_a_screen_that_changes_its_size_and_one_that_is_gone_and_back(
    page: Page, servers: list[XServer]
) -> None:
    page.evaluate("void (globalThis.screen_ = document.getElementById('screen'))")
    watch = Watch(page)
    shows(page, RED)
    assert size(page) == [640, 480]

    servers[0].resize(320, 240)
    servers[0].paint(0, 0, 320, 240, GREEN)
    shows(page, GREEN)
    assert size(page) == [320, 240]

    servers[0].kill()
    notice = "document.getElementById('notice').textContent"
    eventually(lambda: "picture stands still" in page.evaluate(notice), "the host's words", 30)
    servers.append(XServer("800x600", extra=(servers[0].name,)))
    assert servers[1].name == servers[0].name
    servers[1].paint(0, 0, 800, 600, BLUE)
    shows(page, BLUE)
    assert size(page) == [800, 600]
    assert (watch.states, watch.black, watch.moves) == (["playing"], 0, 0)
