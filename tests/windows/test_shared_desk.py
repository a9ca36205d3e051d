"""What a page has of a Windows desk beside its picture, pointer and clipboard; and how the person there ends it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.browser.browser import Browser, Page
from tests.browser.test_clipboard import ALLOWED, local, press, put
from tests.browser.test_cursor import drawn, shown
from tests.cluster.processes import NodeProcess
from tests.eventually import eventually
from tests.presence.keyboard import ALT, CTRL, F11, SHIFT
from tests.windows.test_presence import A, press_at_the_machine
from tests.windows.test_session import agent
from tests.windows.text_field import TextField
from tests.windows.wine import START_LIMIT_S, Desktop, Program

pytestmark = [pytest.mark.windows, pytest.mark.timeout(600)]
CHORD = (CTRL, ALT, SHIFT, F11)
COPY_TOOL = "document.getElementById('tool-copy')"
PLACE = """(() => {
    const canvas = document.getElementById("cursor");
    if (canvas.hidden) return null;
    const {x, y} = canvas.getBoundingClientRect();
    return [x, y];
})()"""


def opened(browser: Browser, node: NodeProcess) -> Page:
    """A page in a session, however long that takes under Wine."""
    page = browser.open(f"{node.http}/#room=desk", permissions=ALLOWED)
    page.call("click", selector="#connect")
    page.wait_for("playing", timeout_s=START_LIMIT_S)
    return page


@pytest.fixture(scope="module")
def host(windows: Desktop, node: NodeProcess) -> Iterator[Program]:
    with agent(windows, node) as program:
        yield program


@pytest.fixture
def page(node: NodeProcess, browser: Browser) -> Iterator[Page]:
    page = opened(browser, node)
    yield page
    page.close()


def test_a_policy_of_off_opens_no_way(
    windows: Desktop, node: NodeProcess, browser: Browser, field: TextField
) -> None:
    """Before the others, whose host would be a second one."""
    with agent(windows, node, "--clipboard", "off") as host:
        page = opened(browser, node)
        put(page, "not for the host")
        field.copy("not for the page")
        press(page, "ControlLeft", "KeyC")
        press(page, "ControlLeft", "KeyV")
        eventually(
            lambda: field.text == "not for the page", "the field's paste of its own clipboard"
        )
        assert page.evaluate(f"{COPY_TOOL}.hidden")
        assert local(page) == "not for the host"
        page.close()
    assert not host.said("not for")


@pytest.mark.usefixtures("host")
def test_the_pages_pointer_is_that_of_windows(page: Page, field: TextField) -> None:
    """Its shape is the arrow whatever the field has: under Wine only a program itself can read its pointers."""
    page.call("move", x=300, y=200)
    eventually(lambda: field.pointer == (300, 200), "the pointer where the page has it")
    eventually(lambda: drawn(page), "a shape", START_LIMIT_S)
    arrow = drawn(page)
    assert arrow["size"] == [32, 32]
    assert max(arrow["hot"]) < 16
    field.show_pointer(False)
    eventually(lambda: shown(page) == "none", "a hidden pointer")
    field.show_pointer(True)
    eventually(lambda: drawn(page) == arrow, "the arrow again")
    page.call("click", selector="#stage")
    press(page, "ControlLeft", "AltLeft", "ShiftLeft", "KeyM")
    eventually(lambda: page.evaluate("document.pointerLockElement !== null"), "the lock")
    before = field.pointer
    for step in range(1, 6):
        page.call("move", x=640 + 10 * step, y=360 + 5 * step)

    def drawn_there() -> bool:
        place, (x, y), (left, top) = page.evaluate(PLACE), field.pointer, arrow["hot"]
        return place is not None and abs(place[0] + left - x) < 1 and abs(place[1] + top - y) < 1

    eventually(
        lambda: field.pointer != before and drawn_there(), "the pointer where Windows has it"
    )


@pytest.mark.usefixtures("host")
def test_text_goes_both_ways_by_the_users_act_only(page: Page, field: TextField) -> None:
    eventually(lambda: not page.evaluate(f"{COPY_TOOL}.hidden"), "a clipboard", START_LIMIT_S)
    put(page, "to Windows: Grüße")
    field.copy("by itself")
    eventually(lambda: page.evaluate(f"{COPY_TOOL}.classList.contains('offered')"), "the offer")
    assert local(page) == "to Windows: Grüße", "nothing comes without an act of the user"
    assert field.pasted() == "by itself", "nothing goes without one"
    press(page, "ControlLeft", "KeyC")
    field.copy("by the keys: 世界")
    eventually(lambda: local(page) == "by the keys: 世界", "the text by the keys")
    put(page, "to Windows: Grüße")
    press(page, "ControlLeft", "KeyV")
    eventually(lambda: field.text == "to Windows: Grüße", "the text, pasted by the field itself")
    eventually(lambda: not field.down, "every key up")


def test_the_shortcut_ends_remote_control_at_once_and_the_page_says_why(
    windows: Desktop, host: Program, page: Page, field: TextField
) -> None:
    def typed() -> bool:
        press_at_the_machine(windows.server, A)
        return bool(field.text)

    eventually(typed, "the focus", START_LIMIT_S)
    page.call("key", key="KeyW", down=True)
    eventually(lambda: ord("W") in field.down, "the held key")
    pressed = time.monotonic()
    press_at_the_machine(windows.server, *CHORD)
    page.wait_for("ended")
    print(f"ended {time.monotonic() - pressed:.2f} s after the shortcut")
    assert "The person at the host ended remote control." in page.words
    eventually(lambda: ord("W") not in field.down, "the key released")
    page.call("key", key="KeyW", down=False)
    page.call("click", selector="#connect")
    eventually(lambda: "The person at the host ended" in page.words, "the refusal")
    assert page.state == "waiting"
    press_at_the_machine(windows.server, *CHORD)
    # What follows is not Windows's: tests/browser/test_presence.py.
    host.until("allows remote control again")
