"""The person at the host, with a session of a real Chromium: sees that it is there, and ends it by a shortcut."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from Xlib import X

from agent.presence.x11_indicator import BACKGROUND
from tests.browser.browser import Browser
from tests.browser.desktop import held_keys
from tests.browser.system import System
from tests.eventually import eventually
from tests.presence.keyboard import ALT, CTRL, F11, SHIFT, Keyboard
from tests.xserver import XServer, x_server

pytestmark = pytest.mark.browser
PLACE = (320, 1)
"""In the indicator."""


@pytest.fixture
def server() -> Iterator[XServer]:
    with x_server("640x360") as made:
        yield made


@pytest.fixture
def keyboard(server: XServer) -> Iterator[Keyboard]:
    made = Keyboard(server.name)
    yield made
    made.close()


def shown(server: XServer) -> bool:
    root = server.connection.screen().root
    image = root.get_image(*PLACE, 1, 1, X.ZPixmap, 0xFFFFFFFF)
    return int.from_bytes(image.data[:3], "little") == BACKGROUND


def test_the_shortcut_ends_remote_control_until_it_is_pressed_again(
    server: XServer, keyboard: Keyboard
) -> None:
    flags = ("--no-pairing", "--source", "x11")
    with System(*flags, env={"DISPLAY": server.name}) as system, Browser("chromium") as browser:
        page = browser.open(system.link, 800, 600)
        assert not shown(server)
        page.connect()
        eventually(lambda: shown(server), "the indicator")
        # The whole shortcut, and from there on its last key, by the remote side: nothing happens.
        for key in ("ControlLeft", "AltLeft", "ShiftLeft", "F11"):
            page.call("key", key=key, down=True)
        eventually(lambda: len(held_keys(server.name)) == 4, "the keys of the page")
        before = page.frames()
        eventually(lambda: page.frames() > before + 3 or page.state != "playing", "pictures")
        assert page.state == "playing"
        keyboard.chord(CTRL, ALT, SHIFT, F11)
        page.wait_for("ended")
        assert "The person at the host ended remote control." in page.words
        eventually(lambda: not held_keys(server.name), "every key up")
        assert shown(server)  # it says that remote control is ended
        page.call("click", selector="#connect")
        page.wait_for("waiting")
        eventually(lambda: "The person at the host ended" in page.words, "the refusal")
        keyboard.chord(CTRL, ALT, SHIFT, F11)
        page.wait_for("playing", timeout_s=60)
        eventually(lambda: shown(server), "the indicator")
        page.close()
        eventually(lambda: not shown(server), "the indicator gone")
