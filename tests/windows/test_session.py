"""The whole agent under Wine, in a session with a real Chromium through a real node."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.browser.browser import Browser, Page
from tests.browser.system import kill
from tests.cluster import support
from tests.cluster.processes import NodeProcess
from tests.eventually import eventually
from tests.windows.text_field import TextField
from tests.windows.wine import START_LIMIT_S, Desktop, Program, windows_pid

pytestmark = [pytest.mark.windows, pytest.mark.timeout(600)]
PATTERN = ("--source", "testpattern", "--size", "640x360", "--fps", "30")
MEDIA = "-m agent.media"


@contextmanager
def agent(windows: Desktop, node: NodeProcess, *flags: str) -> Iterator[Program]:
    """A host of the room `desk`, joined and ready; ended by the end of its standard input."""
    token = support.token(room="desk")
    program = windows.start(
        "-m", "agent.cli", "run", "--url", node.http, "--room", "desk", "--no-audio",
        "--die-with-parent", "0", *flags, TIGHTBEAM_HOST_TOKEN=token,
    )  # fmt: skip
    with program:
        program.until("joined room desk")
        program.until(" ready: ")  # of the media process; late on a busy machine
        try:
            yield program
        finally:
            print("\n".join(program.lines))  # shown by pytest when the test failed


def opened(browser: Browser, node: NodeProcess) -> Page:
    """A page in a session with the host."""
    page = browser.open(f"{node.http}/#room=desk")
    page.connect()
    return page


def test_the_test_pattern_is_seen_and_a_killed_media_process_comes_back(
    windows: Desktop, node: NodeProcess, browser: Browser
) -> None:
    with agent(windows, node, *PATTERN) as host:
        page = opened(browser, node)
        eventually(lambda: page.frames() > 30, "moving pictures", START_LIMIT_S)
        # the leftmost and the rightmost of the colour bars
        eventually(lambda: min(page.pixel(0.05, 0.2)) > 200, "white")
        eventually(lambda: max(page.pixel(0.95, 0.2)) < 50, "black")
        kill(windows_pid(MEDIA))
        host.until("the media process ended")
        before = page.frames()
        eventually(
            lambda: page.frames() > before + 30, "pictures of the next process", START_LIMIT_S
        )
        page.close()
    assert host.said("stopping")


def test_the_screen_is_seen_and_text_typed_in_the_browser_arrives(
    windows: Desktop, node: NodeProcess, browser: Browser, field: TextField
) -> None:
    with agent(windows, node):
        page = opened(browser, node)
        eventually(lambda: min(page.pixel(0.5, 0.5)) > 240, "the white text field")
        text = "Hello, World! 0123456789 ~`@#$%^&*()_+-=[]{}|;':,./<>?"
        page.call("type", text=text)
        try:
            eventually(lambda: field.text == text, "the text")
        except AssertionError:
            page.close()  # so that the host's log tells what it counted
            assert field.text == text
        eventually(lambda: not field.down, "every key up")
        page.close()


@pytest.mark.parametrize("victim", [MEDIA, "-m agent.cli"])
def test_kill_9_of_a_process_releases_a_held_key(
    windows: Desktop, node: NodeProcess, browser: Browser, field: TextField, victim: str
) -> None:
    """The agent releases what its media process held, and the media process what it holds itself."""
    with agent(windows, node):
        page = opened(browser, node)
        page.call("key", key="KeyW", down=True)
        eventually(lambda: ord("W") in field.down, "the held key")
        kill(windows_pid(victim))
        killed = time.monotonic()
        eventually(lambda: ord("W") not in field.down, "the key released")
        print(f"released {time.monotonic() - killed:.2f} s after kill -9 of {victim}")
        page.call("key", key="KeyW", down=False)
        page.close()
