"""An app's window alone on a Windows desktop: by PrintWindow, by GDI, by a stand-in for Windows.Graphics.Capture."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

if sys.platform != "win32":
    pytest.skip("for Windows", allow_module_level=True)

from agent import backends
from agent.apps.tree import members
from agent.capture import app_window
from agent.capture.app_window import AppWindow, find
from agent.capture.app_windows import AppWindows
from agent.capture.base import Box, Capture, CaptureUnavailable, Frame, NothingNew, SourceChanged
from agent.capture.gdi_window import GdiWindowCapture
from agent.capture.wgc_window import WgcWindowCapture
from agent.capture.win32_windows import Fence, pointer_area, windows_of
from agent.input.sendinput import SendInputInjector
from agent.win32 import user32
from tests.windows.inside import fake_wgc
from tests.windows.inside.fake_dxgi import HEIGHT, WIDTH
from tests.windows.inside.painted import Painted, pump
from tests.windows.inside.window import pointer_at

SELF = os.getpid()
PLACE = (100, 50, 300, 200)
BLUE, RED, GREEN, YELLOW = 0x3366CC, 0xFF0000, 0x00FF00, 0xFFFF00
LIMIT_S = 30.0


class Other:
    """Another program's windows (tests/windows/inside/painted.py)."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.windows.inside.painted"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def do(self, *words: object) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(*words, file=self.process.stdin, flush=True)
        assert self.process.stdout.readline().strip() == "done"

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)


@pytest.fixture
def other() -> Iterator[Other]:
    started = Other()
    yield started
    started.close()


@pytest.fixture(autouse=True)
def _only_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test starts is another program, not a part of the app that the test's own windows are."""
    monkeypatch.setattr(app_window, "members", lambda leader: frozenset({leader}))
    monkeypatch.setattr(app_window, "LOOK_S", 0.01)


@pytest.fixture
def main() -> Iterator[Painted]:
    made = Painted(PLACE, BLUE)
    yield made
    made.close()
    pump()


@pytest.fixture
def capture(main: Painted) -> Iterator[GdiWindowCapture]:
    opened = GdiWindowCapture(AppWindow(SELF))
    yield opened
    opened.close()


def eventually(true: Callable[[], bool], what: str) -> None:
    """Pump until it is so."""
    end = time.monotonic() + LIMIT_S
    while not true():
        assert time.monotonic() < end, f"not so within {LIMIT_S} s: {what}"
        pump()


def shows(capture: Capture, x: int, y: int, rgb: int) -> None:
    """The next pictures have a colour at a place, soon."""
    seen: list[str] = []

    def look() -> bool:
        capture.wake()
        outcome = capture.next(0.1)
        if not isinstance(outcome, Frame):
            return False
        blue, green, red = outcome.pixels[y, x, :3].tolist()
        outcome.release()
        seen.append(f"{red << 16 | green << 8 | blue:#08x}")
        return bool((red << 16 | green << 8 | blue) == rgb)

    eventually(look, f"{rgb:#08x} at {x}, {y}, but {seen[-3:]}")


def ended(capture: Capture) -> str:
    """Why it is another source, soon."""
    reasons: list[str] = []

    def look() -> bool:
        capture.wake()
        outcome = capture.next(0.1)
        if isinstance(outcome, Frame):
            outcome.release()
        if isinstance(outcome, SourceChanged):
            reasons.append(outcome.reason)
        return bool(reasons)

    eventually(look, "a changed source")
    return reasons[0]


def test_only_the_apps_window_is_seen_though_another_lies_above(
    main: Painted, other: Other, capture: GdiWindowCapture
) -> None:
    assert capture.size == (200, 150)
    assert capture.place == Box(*PLACE)
    shows(capture, 100, 75, BLUE)
    other.do("open", "menu", 0, 0, 640, 480, RED)
    main.paint((90, 65, 110, 85), GREEN)
    shows(capture, 100, 75, GREEN)
    main.paint((0, 0, 2, 2), YELLOW)
    shows(capture, 0, 0, YELLOW)
    shows_still(capture, main, 10, 10, BLUE)


def shows_still(capture: Capture, main: Painted, x: int, y: int, rgb: int) -> None:
    """A new picture has it."""
    main.paint((0, 0, 2, 2), 0x010203)
    shows(capture, x, y, rgb)


def test_a_menu_is_seen_where_it_is_and_gone_when_it_is_closed(
    main: Painted, capture: GdiWindowCapture
) -> None:
    shows(capture, 30, 30, BLUE)
    menu = Painted((120, 70, 180, 110), YELLOW, popup=True)
    shows(capture, 30, 30, YELLOW)
    menu.paint((0, 0, 60, 40), RED)
    shows(capture, 30, 30, RED)
    menu.place((50, 20, 110, 60))  # half of it outside
    shows(capture, 5, 5, RED)
    menu.close()
    shows(capture, 5, 5, BLUE)
    while not isinstance(outcome := capture.next(0.2), NothingNew):
        assert isinstance(outcome, Frame)
        outcome.release()


def test_a_moved_window_is_where_it_is_and_a_resized_one_is_opened_again(
    main: Painted, capture: GdiWindowCapture
) -> None:
    shows(capture, 5, 5, BLUE)
    main.place((300, 200, 500, 350))

    def moved() -> bool:
        capture.wake()
        if isinstance(outcome := capture.next(0.1), Frame):
            outcome.release()
        return capture.place == Box(300, 200, 500, 350)

    eventually(moved, "its place")
    main.place((300, 200, 520, 360))
    assert "another size" in ended(capture)
    again = GdiWindowCapture(AppWindow(SELF))
    assert again.size == (220, 160)
    again.close()


def test_while_a_button_is_held_the_place_stays(
    main: Painted, capture: GdiWindowCapture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A window that is dragged by its title would otherwise run away from the pointer, which goes by its place."""
    shows(capture, 5, 5, BLUE)
    held = [True]
    monkeypatch.setattr(app_window, "button_held", lambda: held[0])
    main.place((140, 80, 340, 230))
    main.paint((0, 0, 10, 10), GREEN)
    shows(capture, 5, 5, GREEN)
    assert capture.place == Box(*PLACE)
    main.place((140, 80, 350, 240))
    main.paint((0, 0, 10, 10), RED)
    shows(capture, 5, 5, RED)
    held[0] = False
    assert "another size" in ended(capture)


def test_a_closed_window_is_a_changed_source_and_none_is_told_in_words(
    main: Painted, capture: GdiWindowCapture
) -> None:
    shows(capture, 5, 5, BLUE)
    assert find(SELF)
    main.close()
    assert "no window" in ended(capture)
    assert not find(SELF)
    for way in (AppWindow, lambda leader: AppWindows.open(leader, 60)):
        with pytest.raises(CaptureUnavailable, match="no window"):
            way(SELF)


def test_a_minimised_window_is_none_and_comes_back_when_it_is_sought(
    main: Painted, capture: GdiWindowCapture
) -> None:
    shows(capture, 5, 5, BLUE)
    main.minimise()
    assert "no window" in ended(capture)
    eventually(lambda: find(SELF), "the window")


def test_the_window_is_raised_and_gets_the_keyboard(main: Painted, other: Other) -> None:
    other.do("open", "above", 0, 0, 640, 480, RED)
    window = AppWindow(SELF)

    def in_front() -> bool:
        assert window.look() is None
        highest = windows_of({SELF, other.process.pid})[-1].handle
        return bool(user32.GetForegroundWindow() == highest == main.handle)

    eventually(in_front, "the window in front")
    window.close()


def test_the_pointer_does_not_leave_the_window_by_relative_motion(main: Painted) -> None:
    injector = SendInputInjector()
    capture = GdiWindowCapture(AppWindow(SELF))
    injector.area = capture.place
    injector.move(0.5, 0.5)
    eventually(lambda: pointer_at() == (200, 125), "the pointer in the middle")
    for step in ((500, 0), (0, 500), (-500, 3), (3, -500), (300, 300)):
        injector.move_by(*step)
        pump()
        x, y = pointer_at()
        assert 100 <= x < 300
        assert 50 <= y < 200
    capture.close()
    injector.move_by(600, 0)
    eventually(lambda: pointer_at()[0] >= 300, "the pointer outside")
    injector.close()


def test_a_closer_fence_of_the_app_itself_is_left_alone() -> None:
    game, ours = Fence(), Fence()
    game.put(Box(120, 60, 200, 100))
    ours.put(Box(*PLACE))
    ours.close()
    assert pointer_area() == Box(120, 60, 200, 100)
    game.close()
    assert pointer_area().width > 300


def test_the_fence_of_a_killed_process_is_taken_away() -> None:
    """It outlives its process, and the mouse would be kept in the app's window with nobody to see it."""
    code = (
        "from agent.capture.win32_windows import Box, Fence; import time;"
        "Fence().put(Box(100, 50, 300, 200)); print('put', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as fence:
        assert fence.stdout is not None
        assert fence.stdout.readline().strip() == "put"
        assert pointer_area() == Box(100, 50, 300, 200)
        fence.kill()
    backends.free_pointer(())
    assert pointer_area() == Box(100, 50, 300, 200)
    backends.free_pointer(("Editor",))
    assert pointer_area().width > 300


def test_the_window_of_another_process_is_seen_and_found_by_its_parent(
    other: Other, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_window, "members", members)
    other.do("open", "main", *PLACE, BLUE)
    assert other.process.pid in members(SELF)
    capture = AppWindows.open(SELF, 60)
    try:
        assert capture.name == "gdi-window"
        shows(capture, 100, 75, BLUE)
        other.do("paint", "main", 90, 65, 110, 85, GREEN)
        shows(capture, 100, 75, GREEN)
        other.do("open", "menu", 120, 70, 180, 110, YELLOW)
        shows(capture, 30, 30, YELLOW)
        other.do("close", "menu")
        shows(capture, 30, 30, BLUE)
    finally:
        capture.close()


def test_windows_graphics_capture_gives_the_window_and_gdi_its_menus() -> None:
    fake_wgc.reset(first=False)
    fake_wgc.present(0xFF000000 | BLUE)
    main = Painted((100, 50, 100 + WIDTH, 50 + HEIGHT), BLUE)
    capture = WgcWindowCapture(AppWindow(SELF), library=fake_wgc.LIBRARY)
    try:
        told = fake_wgc.counts()
        assert (told["of_window"], told["handle"]) == (1, main.handle)
        shows(capture, 20, 20, BLUE)
        menu = Painted((110, 60, 140, 90), YELLOW, popup=True)
        shows(capture, 20, 20, YELLOW)
        fake_wgc.present(0xFF000000 | GREEN)
        shows(capture, 50, 40, GREEN)
        menu.close()
        shows(capture, 20, 20, GREEN)
        assert isinstance(capture.next(0.2), NothingNew)
        main.place((200, 150, 200 + WIDTH, 150 + HEIGHT))
        eventually(
            lambda: follows(capture) == Box(200, 150, 200 + WIDTH, 150 + HEIGHT), "its place"
        )
        fake_wgc.close()
        assert "closed" in ended(capture)
    finally:
        capture.close()
        main.close()
    told = fake_wgc.counts()
    assert (told["objects"], told["mistakes"], told["running"], told["handlers"]) == (0, 0, 0, 0)


def follows(capture: Capture) -> Box:
    """Where it is after a look."""
    if isinstance(outcome := capture.next(0.1), Frame):
        outcome.release()
    return capture.place


def test_what_windows_graphics_capture_does_not_take_is_printed(
    main: Painted, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_wgc.reset()
    fake_wgc.fail(item=0x80070057)
    monkeypatch.setattr(
        "agent.capture.graphics_capture.Library.of_windows", lambda: fake_wgc.LIBRARY
    )
    capture = AppWindows.open(SELF, 60)
    assert capture.name == "gdi-window"
    shows(capture, 5, 5, BLUE)
    capture.close()
