"""The shortcut's listener and the indicator on a real X server."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from Xlib import X
from Xlib import display as xdisplay
from Xlib.ext import randr, xtest

from agent.input.keymap import x_keycode
from agent.input.xtest import XTestInjector
from agent.presence.attendant import Attendant, Company
from agent.presence.base import OnKey, Part, PresenceUnavailable
from agent.presence.x11_indicator import BACKGROUND, X11Indicator
from agent.presence.x11_keys import X11Keys
from agent.presence.x11_loop import XLoop
from tests.eventually import eventually
from tests.input.window import Window
from tests.presence.keyboard import ALT, CTRL, F11, SHIFT, Keyboard
from tests.xserver import x_display, x_server

A = 4
CHORD = (CTRL, ALT, SHIFT, F11)


@pytest.fixture
def display() -> Iterator[str]:
    with x_display("800x600") as name:
        yield name


class Serving:
    """A part on a thread of its own, and how it ended."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.problem: PresenceUnavailable | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.part.serve()
        except PresenceUnavailable as error:
            self.problem = error

    def ended(self) -> bool:
        return not self._thread.is_alive()

    def close(self) -> None:
        self.part.close()
        self._thread.join(20)
        assert self.ended()


@pytest.fixture
def heard() -> list[tuple[int, bool]]:
    return []


@pytest.fixture
def keys(display: str, heard: list[tuple[int, bool]]) -> Iterator[Serving]:
    assert X11Keys.probe() is None
    serving = Serving(X11Keys(lambda usage, down: heard.append((usage, down))))
    yield serving
    serving.close()


@pytest.fixture
def keyboard(display: str) -> Iterator[Keyboard]:
    made = Keyboard(display)
    yield made
    made.close()


def test_the_machines_own_keys_are_heard_and_injected_ones_are_not(
    keys: Serving, keyboard: Keyboard, heard: list[tuple[int, bool]]
) -> None:
    injector = XTestInjector()
    injector.key(A, down=True)
    injector.key(A, down=False)
    assert injector.sync(10.0)
    keyboard.chord(CTRL, A)
    eventually(lambda: len(heard) >= 4)
    assert heard == [(CTRL, True), (A, True), (A, False), (CTRL, False)]
    injector.close()


def test_what_the_remote_side_holds_down_keeps_nothing_from_being_heard(
    keys: Serving, keyboard: Keyboard, heard: list[tuple[int, bool]]
) -> None:
    injector = XTestInjector()
    for usage in CHORD:
        injector.key(usage, down=True)
    assert injector.sync(10.0)
    keyboard.key(F11, down=True)
    eventually(lambda: heard == [(F11, True)])
    injector.close()


def test_a_game_that_grabs_the_keyboard_keeps_nothing_from_being_heard(
    keys: Serving, keyboard: Keyboard, display: str, heard: list[tuple[int, bool]]
) -> None:
    window = Window(display)
    window.window.grab_keyboard(False, X.GrabModeAsync, X.GrabModeAsync, X.CurrentTime)
    window.display.sync()
    keyboard.chord(A)
    eventually(lambda: heard == [(A, True), (A, False)])
    keycode = x_keycode(A)
    window.until(lambda: ("key up", keycode) in window.seen)  # and nothing is taken from it
    window.close()


def test_a_server_that_goes_away_is_told_in_words() -> None:
    with x_server("320x240") as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DISPLAY", server.name)
        parts = [Serving(X11Keys(lambda usage, down: None)), Serving(X11Indicator())]
        server.kill()
        for serving in parts:
            eventually(serving.ended)
            assert "went away" in str(serving.problem)
            serving.part.close()


def test_a_server_that_goes_away_while_a_part_is_made_is_told_in_words() -> None:
    before = set(os.listdir("/proc/self/fd"))
    with x_server("320x240") as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DISPLAY", server.name)
        loop = XLoop("SHAPE")
        server.kill()
        with pytest.raises(PresenceUnavailable, match="went away"), loop.asking():
            loop.display.sync()
    assert set(os.listdir("/proc/self/fd")) == before


def test_what_is_closed_before_it_serves_leaves_nothing_open(display: str) -> None:
    before = set(os.listdir("/proc/self/fd"))
    for part in (X11Keys(lambda usage, down: None), X11Indicator()):
        part.close()
        part.serve()  # as a thread that comes to it later
        part.close()
    assert set(os.listdir("/proc/self/fd")) == before


def test_a_keyboard_unplugged_after_its_key_does_not_end_the_listener(display: str) -> None:
    listener = X11Keys(lambda usage, down: None)
    assert listener._injected(200)  # the server knows no such device
    assert 200 not in listener._is_injector
    listener.close()


def test_a_monitor_unplugged_while_it_is_asked_for_does_not_end_the_indicator(
    indicator: X11Indicator, display: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = SimpleNamespace(output=0x7FFF)  # the server knows no such output
    monkeypatch.setattr(randr, "get_output_primary", lambda _: gone)
    connection = xdisplay.Display(display)
    indicator.show("Somebody is connected")
    eventually(lambda: pixel(connection, 400, 1) == BACKGROUND)
    connection.close()


def test_without_a_display_the_probes_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    for part in (X11Keys, X11Indicator):
        assert "DISPLAY is not set" in str(part.probe())


def test_a_probe_leaves_nothing_open(display: str) -> None:
    before = set(os.listdir("/proc/self/fd"))
    assert X11Keys.probe() is X11Indicator.probe() is None
    assert set(os.listdir("/proc/self/fd")) == before


def pixel(connection: Any, x: int, y: int) -> int:
    image = connection.screen().root.get_image(x, y, 1, 1, X.ZPixmap, 0xFFFFFFFF)
    return int.from_bytes(image.data[:3], "little")


@pytest.fixture
def indicator(display: str) -> Iterator[X11Indicator]:
    assert X11Indicator.probe() is None
    made = X11Indicator()
    serving = Serving(made)
    yield made
    serving.close()


def test_the_indicator_is_over_everything_and_goes_again(
    indicator: X11Indicator, display: str
) -> None:
    connection = xdisplay.Display(display)
    place = (400, 1)
    before = pixel(connection, *place)
    indicator.show("Somebody is connected")
    eventually(lambda: pixel(connection, *place) == BACKGROUND)
    window = Window(display)  # as large as the screen, and newer
    eventually(lambda: pixel(connection, *place) == BACKGROUND)
    window.close()
    indicator.show("")
    eventually(lambda: pixel(connection, *place) == before)
    connection.close()


def test_clicks_go_through_the_indicator(indicator: X11Indicator, display: str) -> None:
    window = Window(display)
    connection = xdisplay.Display(display)
    indicator.show("Somebody is connected")
    eventually(lambda: pixel(connection, 400, 1) == BACKGROUND)
    xtest.fake_input(connection, X.MotionNotify, x=400, y=5)
    xtest.fake_input(connection, X.ButtonPress, 1)
    xtest.fake_input(connection, X.ButtonRelease, 1)
    connection.sync()
    window.until(lambda: ("button up", 1) in window.seen)
    assert ("button down", 1) in window.seen
    connection.close()
    window.close()


def test_the_attendant_finds_the_desktop_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.presence.attendant.AGAIN_AFTER_S", 0.05)
    presses: list[None] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DISPLAY", raising=False)
        attendant = Attendant(
            "ctrl+alt+shift+f11", lambda: presses.append(None), X11Keys, X11Indicator
        )
        attendant.show(Company(players=1))
        for _ in range(2):  # the second server is another one
            with x_server("800x600") as server:
                patch.setenv("DISPLAY", server.name)
                eventually(lambda: pixel(server.connection, 400, 1) == BACKGROUND)
                keyboard = Keyboard(server.name)
                before = len(presses)

                def chord() -> bool:
                    keyboard.chord(*CHORD)  # noqa: B023
                    return len(presses) > before  # noqa: B023

                eventually(chord)
                keyboard.close()
        attendant.close()
    assert not [thread for thread in attendant._threads if thread.is_alive()]


def test_a_fault_that_nobody_expected_does_not_end_the_shortcut_for_good(
    display: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("agent.presence.attendant.AGAIN_AFTER_S", 0.05)
    presses: list[None] = []
    made: list[X11Keys] = []
    faults = iter(range(2))

    def open_keys(on_key: OnKey) -> X11Keys:
        if next(faults, None) is not None:
            raise RuntimeError("broken")
        made.append(X11Keys(on_key))
        return made[-1]

    attendant = Attendant("ctrl+alt+shift+f11", lambda: presses.append(None), open_keys, None)
    eventually(lambda: made)
    keyboard = Keyboard(display)

    def chord() -> bool:
        keyboard.chord(*CHORD)
        return len(presses) > 0

    eventually(chord)
    keyboard.close()
    attendant.close()
    assert caplog.text.count("the shortcut broke") == 1  # once for each reason


class Said(X11Indicator):
    """Keeps what it was told to show."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def show(self, text: str) -> None:
        self.lines.append(text)
        super().show(text)


def test_the_indicator_promises_no_shortcut_that_nobody_listens_for(
    display: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.presence.attendant.AGAIN_AFTER_S", 0.05)
    indicator = Said()
    refused = threading.Event()
    made: list[X11Keys] = []

    def open_keys(on_key: OnKey) -> X11Keys:
        if refused.is_set():
            raise PresenceUnavailable("no")
        made.append(X11Keys(on_key))
        return made[-1]

    refused.set()
    attendant = Attendant("ctrl+alt+shift+f11", lambda: None, open_keys, lambda: indicator)
    attendant.show(Company(viewers=1))
    eventually(lambda: indicator.lines)
    without = "1 person is connected and sees this screen."
    eventually(lambda: indicator.lines[-1] == without)
    assert not any("F11" in told for told in indicator.lines)
    refused.clear()
    eventually(lambda: indicator.lines[-1] == f"{without} Ctrl+Alt+Shift+F11 ends it.")
    refused.set()
    made[-1].close()
    eventually(lambda: indicator.lines[-1] == without)
    attendant.close()
