"""The host's pointer drawn by a real Chromium: its shape, whether it shows, where it is under a locked mouse."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.browser import Browser, Page
from tests.browser.system import System
from tests.cursor.pointer import HOT, RED, SIDE, WHITE, Pointing
from tests.eventually import eventually
from tests.xserver import x_server

pytestmark = pytest.mark.browser
WIDTH, HEIGHT = 1280, 720
GROUND = (0x20, 0x40, 0x60)
POINTER = """(() => {
    const {cursor} = document.getElementById("stage").style;
    const [, url, x, y] = /^url\\("(data:[^"]*)"\\) (\\d+) (\\d+), default$/.exec(cursor) ?? [];
    if (!url) return cursor;
    return new Promise((resolve) => {
        const image = new Image();
        image.onerror = () => resolve("the image does not load");
        image.onload = () => {
            const canvas = new OffscreenCanvas(image.width, image.height);
            const context = canvas.getContext("2d");
            context.drawImage(image, 0, 0);
            const at = (x, y) => [...context.getImageData(x * image.width, y * image.height, 1, 1).data];
            resolve({ size: [image.width, image.height], hot: [+x, +y], pixels: [at(0.25, 0.5), at(0.75, 0.5)] });
        };
        image.src = url;
    });
})()"""


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    with x_server(f"{WIDTH}x{HEIGHT}") as server:
        yield server.name


@pytest.fixture(scope="module")
def system(display: str) -> Iterator[System]:
    flags = ("--no-pairing", "--source", "x11")
    with System(*flags, env={"DISPLAY": display}) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser("chromium") as running:
        yield running


@pytest.fixture
def pointing(display: str) -> Iterator[Pointing]:
    pointing = Pointing(display)
    yield pointing
    pointing.close()


def shown(page: Page) -> Any:
    """The page's own pointer over the picture: what it shows, or the value of CSS."""
    return page.evaluate(POINTER)


def drawn(page: Page) -> dict[str, Any]:
    """The picture in it, empty while there is none."""
    found = shown(page)
    return found if isinstance(found, dict) else {}


def overlay(page: Page) -> tuple[float, float] | None:
    """Where the pointer's hot spot is drawn over the picture, in pixels of the page."""
    found = page.evaluate("""(() => {
        const canvas = document.getElementById("cursor");
        if (canvas.hidden) return null;
        const {x, y, width} = canvas.getBoundingClientRect();
        return [x, y, width];
    })()""")
    if found is None:
        return None
    scale = found[2] / SIDE
    return found[0] + HOT[0] * scale, found[1] + HOT[1] * scale


def look(page: Page, words: str) -> None:
    folder = os.environ.get("TIGHTBEAM_SHOTS")
    if folder:
        page.screenshot(Path(folder) / f"cursor-{words}.png")


def test_the_page_draws_the_hosts_pointer(
    system: System, pointing: Pointing, browser: Browser
) -> None:
    page = browser.open(system.link, 960, 720)  # three quarters of the host's screen
    page.connect()
    pointing.two_halves()
    page.call("move", x=400, y=300)
    found = {"size": [12, 12], "hot": [2, 4], "pixels": [[*RED, 255], [*WHITE, 255]]}
    eventually(lambda: drawn(page) == found, "the shape, at the picture's scale")
    pointing.frame()
    eventually(lambda: drawn(page) not in ({}, found), "the other shape")
    assert drawn(page)["pixels"][1][3] == 0
    pointing.hide()
    eventually(lambda: shown(page) == "none", "a hidden pointer")
    pointing.two_halves()
    eventually(lambda: shown(page) == found, "the first shape again")
    page.close()


def test_a_locked_mouse_has_the_hosts_pointer_drawn_over_the_picture_and_not_in_it(
    system: System, pointing: Pointing, browser: Browser
) -> None:
    page = browser.open(system.link, WIDTH, HEIGHT)
    page.connect()
    pointing.two_halves()
    page.call("move", x=640, y=360)
    eventually(lambda: drawn(page).get("hot") == list(HOT), "the drawn pointer")
    page.call("click", selector="#stage")
    for key in ("ControlLeft", "AltLeft", "ShiftLeft", "KeyM"):
        page.call("key", key=key, down=True)
    for key in ("KeyM", "ShiftLeft", "AltLeft", "ControlLeft"):
        page.call("key", key=key, down=False)
    eventually(lambda: page.evaluate("document.pointerLockElement !== null"), "the lock")
    for step in range(10):
        page.call("move", x=640 + 10 * step, y=360 + 5 * step)

    def follows() -> bool:
        x, y = pointing.place()
        drawn = overlay(page)
        return drawn is not None and abs(drawn[0] - x) < 1 and abs(drawn[1] - y) < 1

    eventually(follows, "the pointer where the host has it")
    x, y = pointing.place()
    assert (x, y) != (640, 360)
    look(page, "locked")
    for _ in range(3):
        picture = page.pixel((x + 2) / WIDTH, (y + 2) / HEIGHT)
        assert all(abs(a - b) < 24 for a, b in zip(picture, GROUND, strict=True)), picture
    page.close()
