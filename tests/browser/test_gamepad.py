"""A gamepad of the page, which this machine does not have and the test makes up, plays on the host."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.input.uinput import UinputGamepad
from tests.browser.browser import Browser, Page
from tests.browser.gamepad_recorder import MADE_UP, installed
from tests.browser.system import System
from tests.eventually import eventually
from tests.xserver import x_server

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        UinputGamepad.probe() is None, reason="this machine has a /dev/uinput, which would be used"
    ),
]
NOTHING = {"buttons": {}, "axes": [0, 0, 0, 0]}


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gamepad") / "states"


@pytest.fixture(scope="module")
def system(states: Path) -> Iterator[System]:
    with x_server("640x360") as server:
        env = {"DISPLAY": server.name, **installed(states.parent, states)}
        with System("--no-pairing", "--source", "x11", env=env) as running:
            yield running


@pytest.fixture
def page(system: System, states: Path) -> Iterator[Page]:
    """A page with a made up gamepad, in a session."""
    states.write_text("")
    with Browser("chromium") as browser:
        opened = browser.open(system.link, 800, 600)
        opened.evaluate(MADE_UP)
        opened.connect()
        yield opened


def hold(page: Page, buttons: dict[int, float], axes: list[float]) -> None:
    page.evaluate(f"hold({json.dumps({'buttons': buttons, 'axes': axes})})")


def lines(states: Path) -> list[str]:
    return states.read_text().splitlines()


def newest_is(states: Path, line: str) -> None:
    try:
        eventually(lambda: lines(states)[-1:] == [line], line)
    except AssertionError as error:
        raise AssertionError(f"{error}; the gamepad said {lines(states)}") from None


def test_a_gamepad_plays_rumbles_and_is_let_go_of(page: Page, states: Path) -> None:
    hold(page, {}, [0, 0, 0, 0])
    page.evaluate("dispatchEvent(new Event('gamepadconnected'))")
    newest_is(states, "plugged in")
    hold(page, {0: 1, 6: 0.5}, [-1, 0.5, 0, 0])
    newest_is(states, "65 128 -32767 16384")
    hold(page, {1: 1}, [0, 0, 0, 0])
    newest_is(states, "2 0 0 0")
    rumble = [
        "dual-rumble",
        {"duration": 500, "strongMagnitude": 1, "weakMagnitude": 0x8000 / 0xFFFF},
    ]
    eventually(lambda: page.evaluate("felt.at(-1)") == rumble, "the rumble")
    hold(page, {}, [0, 0, 0, 0])
    newest_is(states, "0 0 0 0")
    eventually(lambda: page.evaluate("felt.at(-1)") == ["reset"], "the end of it")
    hold(page, {0: 1}, [0, 0, 0, 0])
    newest_is(states, "1 0 0 0")
    # Another window has the focus.
    page.evaluate("document.hasFocus = () => false; dispatchEvent(new Event('blur'))")
    newest_is(states, "0 0 0 0")
    page.evaluate("document.hasFocus = () => true")
    newest_is(states, "1 0 0 0")
    page.evaluate("navigator.getGamepads = () => [null, null, null, null]")
    newest_is(states, "unplugged")
    hold(page, {0: 1}, [0, 0, 0, 0])
    page.evaluate("dispatchEvent(new Event('gamepadconnected'))")
    newest_is(states, "1 0 0 0")
    page.evaluate("document.getElementById('tool-leave').click()")  # the bar may be hidden by now
    newest_is(states, "unplugged")


def test_a_page_that_dies_presses_nothing_and_leaves_no_gamepad(page: Page, states: Path) -> None:
    hold(page, {0: 1}, [0, 0, 0, 0])
    page.evaluate("dispatchEvent(new Event('gamepadconnected'))")
    newest_is(states, "1 0 0 0")
    page.close()
    newest_is(states, "unplugged")
