"""Text between the clipboards of a real X desktop and a real Chromium, by the keys of a user."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.browser import Browser, Page
from tests.browser.desktop import Terminal
from tests.browser.system import System
from tests.clipboard.xclip import Xclip
from tests.eventually import eventually
from tests.xserver import x_server

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]
ALLOWED = ["clipboard-read", "clipboard-write"]
"""Reading is the test's, to look what is there."""


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    with x_server("1024x768") as server:
        yield server.name


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser("chromium") as running:
        yield running


@pytest.fixture(scope="module")
def system(display: str) -> Iterator[System]:
    with System("--no-pairing", "--source", "x11", env={"DISPLAY": display}) as running:
        yield running


@pytest.fixture
def page(system: System, browser: Browser) -> Iterator[Page]:
    opened = browser.open(system.link, 1024, 768, permissions=ALLOWED)
    opened.connect()
    eventually(
        lambda: opened.evaluate("!document.getElementById('tool-copy').hidden"), "a clipboard"
    )
    yield opened
    opened.close()


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.call("key", key=key, down=True)
    for key in reversed(keys):
        page.call("key", key=key, down=False)


def local(page: Page) -> str:
    return str(page.evaluate("navigator.clipboard.readText()"))


def put(page: Page, text: str) -> None:
    """As another program of the user's machine would."""
    page.evaluate(f"navigator.clipboard.writeText({text!r})")


def test_a_paste_has_the_pages_text_before_its_keys_arrive(
    page: Page, display: str, tmp_path: Path
) -> None:
    terminal = Terminal(display, tmp_path / "typed")
    eventually(terminal.file.exists, "the terminal")
    page.call("move", x=300, y=200)
    try:
        put(page, "first")
        press(page, "ControlLeft", "KeyV")
        xclip = Xclip(display)
        eventually(lambda: xclip.paste() == "first", "the text in the host's clipboard")
        eventually(lambda: terminal.text() == "\x16", "Ctrl+V after it, which a terminal types")
        large = "Zeile äöü\n" * 80_000
        page.evaluate("navigator.clipboard.writeText('Zeile äöü\\n'.repeat(80_000))")
        press(page, "ControlLeft", "KeyV")
        press(page, "KeyA")
        eventually(lambda: xclip.paste() == large, "a text of a megabyte")
        eventually(lambda: terminal.text() == "\x16\x16a", "the keys in order")
    finally:
        terminal.close()


def test_what_the_user_copies_on_the_host_is_copied_here_and_nothing_else_is(
    page: Page, display: str
) -> None:
    put(page, "before")
    xclip = Xclip(display)
    xclip.copy("by itself")
    offered = "document.getElementById('tool-copy').classList.contains('offered')"
    eventually(lambda: page.evaluate(offered), "the offer")
    assert local(page) == "before", "nothing comes without an act of the user"
    page.evaluate("document.getElementById('bar').classList.add('shown')")
    page.call("click", selector="#tool-copy")
    eventually(lambda: local(page) == "by itself", "the text by the button")
    assert not page.evaluate(offered)
    press(page, "ControlLeft", "KeyC")
    xclip.copy("by the keys: Grüße 世界")
    eventually(lambda: local(page) == "by the keys: Grüße 世界", "the text by the keys")


def test_what_a_page_put_there_ends_with_it(system: System, browser: Browser, display: str) -> None:
    page = browser.open(system.link, 640, 480, permissions=ALLOWED)
    page.connect()
    eventually(lambda: page.evaluate("!document.getElementById('tool-copy').hidden"), "a clipboard")
    put(page, "for the session")
    press(page, "ControlLeft", "KeyV")
    xclip = Xclip(display)
    eventually(lambda: xclip.paste() == "for the session", "the text")
    page.close()
    eventually(lambda: xclip.paste() is None, "an empty clipboard")


def test_a_policy_of_off_opens_no_way(browser: Browser, display: str) -> None:
    env = {"DISPLAY": display, "TIGHTBEAM_CLIPBOARD": "off"}
    with System("--no-pairing", "--source", "x11", env=env) as system:
        page = browser.open(system.link, 640, 480, permissions=ALLOWED)
        page.connect()
        put(page, "not for the host")
        press(page, "ControlLeft", "KeyV")
        press(page, "ControlLeft", "KeyC")
        Xclip(display).copy("not for the page")
        eventually(lambda: page.frames() > 0, "frames")
        assert page.evaluate("document.getElementById('tool-copy').hidden")
        assert local(page) == "not for the host"
        assert Xclip(display).paste() == "not for the page"
        assert "not for" not in "\n".join(system.lines)
        page.close()
