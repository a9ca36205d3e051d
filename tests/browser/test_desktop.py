"""A desktop in a real Chromium: picture, sound and input arrive where and as they should."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from Xlib import XK
from Xlib.display import Display

from tests.browser.browser import Browser, Page
from tests.browser.desktop import CHART, Chart, Terminal, held_keys
from tests.browser.sound import hears, listen
from tests.browser.system import (
    System,
    cpu_seconds,
    descriptors,
    kill,
    resident_bytes,
    threads,
)
from tests.eventually import eventually
from tests.pulse import PulseServer, pulse_server
from tests.xserver import x_server

pytestmark = pytest.mark.browser
WIDTH, HEIGHT = 1280, 720


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    with x_server(f"{WIDTH}x{HEIGHT}") as server:
        yield server.name


@pytest.fixture(scope="module")
def pulse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PulseServer]:
    with pulse_server(tmp_path_factory.mktemp("pulse")) as server:
        yield server


@pytest.fixture(scope="module")
def system(display: str, pulse: PulseServer) -> Iterator[System]:
    env = {"DISPLAY": display, **pulse.environment}
    with System("--no-pairing", "--source", "x11", env=env) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser("chromium") as running:
        yield running


@pytest.fixture
def chart(display: str) -> Iterator[Chart]:
    shown = Chart(display)
    yield shown
    shown.close()


@pytest.fixture
def page(system: System, browser: Browser, chart: Chart) -> Iterator[Page]:
    """A page of another size and shape than the host's screen, in a session."""
    opened = browser.open(system.link, 1000, 800)
    opened.connect()
    yield opened
    opened.close()


def colour_at(page: Page, x: float, y: float) -> tuple[int, int, int]:
    return page.pixel(x, y)


def close_to(seen: tuple[int, int, int], drawn: tuple[int, int, int], tolerance: int = 12) -> bool:
    return all(abs(a - b) <= tolerance for a, b in zip(seen, drawn, strict=True))


def test_known_pixels_arrive_in_place_and_colour(page: Page) -> None:
    probes = {
        (0.20, 0.30): (200, 30, 30),
        (0.80, 0.30): (30, 160, 40),
        (0.20, 0.80): (40, 60, 200),
        (0.80, 0.80): (235, 235, 235),
        (0.50, 0.50): (240, 200, 20),
        (0.04, 0.05): (16, 16, 16),
        (0.39, 0.39): (200, 30, 30),
        (0.41, 0.41): (240, 200, 20),
    }
    assert set(probes.values()) == set(CHART.values())

    def all_right() -> bool:
        return all(close_to(page.pixel(*at), colour) for at, colour in probes.items())

    try:
        eventually(all_right, "the chart", 5)
    except AssertionError:
        seen = {at: (page.pixel(*at), colour) for at, colour in probes.items()}
        raise AssertionError(f"seen and drawn: {seen}") from None


def test_a_change_on_the_host_is_seen(page: Page, chart: Chart) -> None:
    chart.fill(250, 120, 10)
    eventually(lambda: close_to(page.pixel(0.2, 0.2), (250, 120, 10)), "the new colour", 5)
    chart.fill(10, 120, 250)
    eventually(lambda: close_to(page.pixel(0.2, 0.2), (10, 120, 250)), "the newer colour", 5)


def test_a_tone_arrives_with_its_frequency(page: Page, pulse: PulseServer) -> None:
    module = subprocess.run(
        ["pactl", "load-module", "module-sine", "frequency=997"],
        env={**os.environ, **pulse.environment}, check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    try:
        listen(page)
        eventually(lambda: hears(page, 997), "the tone of 997 Hz")
    finally:
        subprocess.run(
            ["pactl", "unload-module", module], env={**os.environ, **pulse.environment}, check=True
        )


def test_typed_text_appears_in_a_window(
    page: Page, chart: Chart, display: str, tmp_path: Path
) -> None:
    chart.hide()
    terminal = Terminal(display, tmp_path / "typed")
    try:
        eventually(terminal.file.exists, "the terminal")
        box = page.evaluate(
            "(r => [r.left, r.top, r.width, r.height])"
            "(document.getElementById('screen').getBoundingClientRect())"
        )
        x, y = box[0] + box[2] / 4, box[1] + box[3] / 2
        page.call("move", x=x, y=y)  # without a window manager the focus is under the pointer
        text = "Hello, World! 0123456789 ~`@#$%^&*()_+-=[]{}|;':,./<>?"
        page.call("type", text=text)
        try:
            eventually(lambda: terminal.text() == text, "the text")
        except AssertionError:
            assert terminal.text() == text
    finally:
        terminal.close()


@pytest.mark.parametrize(("width", "height"), [(1000, 800), (900, 300), (1280, 720)])
def test_a_click_lands_where_it_was_made(
    system: System, browser: Browser, chart: Chart, width: int, height: int
) -> None:
    page = browser.open(system.link, width, height)
    try:
        page.connect()
        left, top, box_width, box_height = page.evaluate(
            "(r => [r.left, r.top, r.width, r.height])"
            "(document.getElementById('screen').getBoundingClientRect())"
        )
        scale = min(box_width / WIDTH, box_height / HEIGHT)
        content_left = left + (box_width - scale * WIDTH) / 2
        content_top = top + (box_height - scale * HEIGHT) / 2
        hidden = "getComputedStyle(document.getElementById('bar')).visibility == 'hidden'"
        eventually(lambda: page.evaluate(hidden), "the bar gone")
        chart.clicks()
        for button, name, x, y in [
            (1, "left", 640, 20), (2, "middle", 617, 351), (3, "right", 934, 502),
        ]:  # fmt: skip
            # A mouse is at whole CSS pixels of the page, each 1/scale host pixels wide.
            at = (content_left + (x + 0.5) * scale, content_top + (y + 0.5) * scale)
            page.call("move", x=int(at[0]), y=int(at[1]))
            page.call("button", button=name, down=True)
            page.call("button", button=name, down=False)
            presses = eventually(chart.clicks, f"the {name} click")
            assert len(presses) == 1
            assert presses[0][0] == button
            blur = 0 if scale == 1 else 1 / scale + 1
            assert abs(presses[0][1] - x) <= blur
            assert abs(presses[0][2] - y) <= blur
    finally:
        page.close()


def test_the_wheel_turns(page: Page, chart: Chart) -> None:
    page.call("move", x=500, y=400)
    chart.clicks()
    page.call("wheel", dx=0, dy=240)
    down = eventually(chart.clicks, "the wheel, down")
    assert {press[0] for press in down} == {5}
    page.call("wheel", dx=0, dy=-240)
    up = eventually(chart.clicks, "the wheel, up")
    assert {press[0] for press in up} == {4}


def busy_s(system: System, chart: Chart) -> float:
    """CPU seconds of the media process while the whole screen changes for some time."""
    before = cpu_seconds(system.media)
    for shade in range(100):
        chart.fill(shade, shade, shade)
        time.sleep(0.02)
    return cpu_seconds(system.media) - before


def test_closing_the_page_stops_the_encoder(system: System, browser: Browser, chart: Chart) -> None:
    page = browser.open(system.link)
    page.connect()
    playing, streaming = threads(system.media), busy_s(system, chart)
    page.close()
    gone(system, playing)
    assert busy_s(system, chart) < streaming / 5


def gone(system: System, playing: int) -> None:
    """The threads of a session, of so many in all, have ended."""
    stages = 4  # capture, encode, sound and sender
    eventually(lambda: threads(system.media) <= playing - stages, "the session's threads gone")


@pytest.mark.timeout(300)
def test_twenty_rounds_leave_nothing_behind(
    system: System, browser: Browser, chart: Chart, display: str
) -> None:
    media, agent = system.media, system.agent

    def sizes() -> list[int]:
        return [count(pid) for pid in (media, agent) for count in (threads, descriptors)]

    for number in range(20):
        page = browser.open(system.link)
        page.connect()
        page.call("move", x=300, y=300)
        page.call("key", key="KeyA", down=True)
        eventually(lambda: held_keys(display), "the held key")
        playing = threads(media)
        page.close()
        gone(system, playing)
        eventually(lambda: not held_keys(display), "the key released")
        if number == 4:
            time.sleep(1)  # the display and freed memory are given back a moment later
            after_five, resident = sizes(), resident_bytes(media)
    eventually(lambda: sizes() == after_five, f"as after round 5: {after_five}")
    eventually(lambda: resident_bytes(media) < resident + 5e6, f"near {resident} bytes again")
    assert (system.media, system.agent) == (media, agent)


def test_a_key_is_released_when_the_page_goes(
    system: System, browser: Browser, chart: Chart, display: str
) -> None:
    page = browser.open(system.link)
    page.connect()
    page.call("key", key="KeyW", down=True)
    eventually(lambda: held_keys(display), "the held key")
    page.close()
    eventually(lambda: not held_keys(display), "the key released")


def test_kill_9_of_the_media_process_releases_a_held_key(
    system: System, page: Page, display: str
) -> None:
    connection = Display(display)
    shift = connection.keysym_to_keycode(XK.XK_Shift_L)
    connection.close()
    page.call("key", key="ShiftLeft", down=True)
    eventually(lambda: shift in held_keys(display), "Shift held")
    kill(system.media)
    eventually(lambda: not held_keys(display), "Shift released", 5)
    page.call("key", key="ShiftLeft", down=False)
    # The page sees its connection end and comes back by itself.
    eventually(lambda: page.state == "playing" and page.frames() > 0, "the picture again", 40)
