"""One app's windows on a real X server: only they are seen, wherever they are, and nothing gets out of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from agent.capture.base import Box, CaptureUnavailable, Frame, NothingNew, SourceChanged
from agent.capture.x11_window import X11WindowCapture
from agent.input.xtest import XTestInjector
from tests.eventually import eventually
from tests.xserver import XServer, x_server

APP = """
import sys
from Xlib import X, display
server = display.Display()
root = server.screen().root
windows = {}
for line in sys.stdin:
    what, name, *numbers = line.split()
    left, top, width, height, colour = (int(number, 0) for number in (*numbers, *"00000")[:5])
    if what == "open":
        windows[name] = root.create_window(left, top, width, height, 0, 24,
            background_pixel=colour, override_redirect=name.startswith("menu"))
        windows[name].map()
    elif what == "paint":
        gc = windows[name].create_gc(foreground=colour)
        windows[name].fill_rectangle(gc, left, top, width, height)
    elif what == "place":
        windows[name].configure(x=left, y=top, width=width, height=height)
    elif what == "close":
        windows.pop(name).destroy()
    server.sync()
    print("done", flush=True)
"""


class App:
    """A program whose windows do as they are told."""

    def __init__(self, display: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", APP],
            env={**os.environ, "DISPLAY": display},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def do(self, what: str, name: str, *numbers: int) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(what, name, *numbers, file=self.process.stdin, flush=True)
        assert self.process.stdout.readline() == "done\n"

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(10)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[XServer]:
    with x_server("640x480") as server:
        monkeypatch.setenv("DISPLAY", server.name)
        yield server


@pytest.fixture
def app(server: XServer) -> Iterator[App]:
    app = App(server.name)
    app.do("open", "main", 100, 50, 200, 150, 0x3366CC)
    yield app
    app.close()


@pytest.fixture
def other(server: XServer) -> Iterator[App]:
    """Another program."""
    other = App(server.name)
    yield other
    other.close()


@pytest.fixture
def capture(app: App) -> Iterator[X11WindowCapture]:
    capture = X11WindowCapture(app.process.pid)
    yield capture
    capture.close()


def colour(capture: X11WindowCapture, x: int, y: int, rgb: int) -> bool:
    """Whether the next pictures have a colour at a place, soon."""

    def look() -> bool:
        outcome = capture.next(0.5)
        if not isinstance(outcome, Frame):
            return False
        blue, green, red = outcome.pixels[y, x, :3].tolist()
        outcome.release()
        return bool((red << 16 | green << 8 | blue) == rgb)

    return eventually(look, f"{rgb:#08x} at {x}, {y}")


def test_only_the_apps_window_is_seen_though_another_lies_above(
    app: App, other: App, capture: X11WindowCapture
) -> None:
    assert capture.size == (200, 150)
    assert capture.place == Box(100, 50, 300, 200)
    assert colour(capture, 100, 75, 0x3366CC)
    other.do("open", "above", 0, 0, 640, 480, 0xFF0000)
    app.do("paint", "main", 90, 65, 20, 20, 0x00FF00)
    assert colour(capture, 100, 75, 0x00FF00)
    assert colour_stays(capture, 10, 10, 0x3366CC, app)


def colour_stays(capture: X11WindowCapture, x: int, y: int, rgb: int, app: App) -> bool:
    app.do("paint", "main", 0, 0, 2, 2, 0x010203)
    return colour(capture, x, y, rgb)


def test_a_menu_is_seen_where_it_is_and_gone_when_it_is_closed(
    app: App, capture: X11WindowCapture
) -> None:
    assert colour(capture, 30, 30, 0x3366CC)
    app.do("open", "menu", 120, 70, 60, 40, 0xFFFF00)
    assert colour(capture, 30, 30, 0xFFFF00)
    app.do("paint", "menu", 0, 0, 60, 40, 0x00FFFF)
    assert colour(capture, 30, 30, 0x00FFFF)
    app.do("close", "menu")
    assert colour(capture, 30, 30, 0x3366CC)
    while not isinstance(outcome := capture.next(0.1), NothingNew):
        assert isinstance(outcome, Frame)
        outcome.release()


def test_a_moved_window_is_where_it_is_and_a_resized_one_is_opened_again(
    app: App, capture: X11WindowCapture
) -> None:
    assert colour(capture, 5, 5, 0x3366CC)
    app.do("place", "main", 300, 200, 200, 150)

    def moved() -> bool:
        if isinstance(outcome := capture.next(0.1), Frame):
            outcome.release()
        return capture.place == Box(300, 200, 500, 350)

    eventually(moved)
    app.do("place", "main", 300, 200, 220, 160)
    outcome = capture.next(5.0)
    while isinstance(outcome, Frame):
        outcome.release()
        outcome = capture.next(5.0)
    assert isinstance(outcome, SourceChanged)
    again = X11WindowCapture(app.process.pid)
    assert again.size == (220, 160)
    again.close()


def test_a_closed_window_is_a_changed_source_and_none_is_told_in_words(
    app: App, capture: X11WindowCapture
) -> None:
    assert colour(capture, 5, 5, 0x3366CC)
    assert X11WindowCapture.find(app.process.pid)
    app.do("close", "main")
    outcome = capture.next(5.0)
    while isinstance(outcome, Frame):
        outcome.release()
        outcome = capture.next(5.0)
    assert isinstance(outcome, SourceChanged)
    assert not X11WindowCapture.find(app.process.pid)
    with pytest.raises(CaptureUnavailable, match="no window"):
        X11WindowCapture(app.process.pid)


def test_the_window_is_raised_and_gets_the_keyboard(server: XServer, app: App, other: App) -> None:
    other.do("open", "above", 0, 0, 640, 480, 0xFF0000)
    capture = X11WindowCapture(app.process.pid)
    top = server.connection.screen().root.query_tree().children[-1]
    assert top.get_geometry().width == 200
    focus = server.connection.get_input_focus().focus
    assert focus.id == top.id
    capture.close()


def test_the_pointer_does_not_leave_the_window_by_relative_motion(
    server: XServer, capture: X11WindowCapture
) -> None:
    root = server.connection.screen().root
    injector = XTestInjector()
    injector.area = capture.place
    injector.move(0.5, 0.5)
    for step in ((500, 0), (0, 500), (-500, 3), (3, -500), (300, 300)):
        injector.move_by(*step)
        assert injector.sync(10.0)
        at = root.query_pointer()
        assert 100 <= at.root_x <= 300
        assert 50 <= at.root_y <= 200
    capture.close()
    injector.move_by(600, 0)
    assert injector.sync(10.0)
    assert root.query_pointer().root_x == 639
    injector.close()
