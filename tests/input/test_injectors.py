"""The injectors' contract, run over the recorder and a real X server, and what X makes of it."""

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from Xlib import display as xdisplay

from agent.capture.base import Box
from agent.input import hands as hands_module
from agent.input.base import Injector, InputUnavailable
from agent.input.guard import MoveTo, PressButton, PressKey, TurnWheel, TypeText
from agent.input.hands import Hands
from agent.input.keymap import x_keycode
from agent.input.recorder import Recorder
from agent.input.xtest import XTestInjector
from tests import vectors
from tests.browser.desktop import Terminal
from tests.eventually import eventually
from tests.input.contract import A, keep_the_contract
from tests.input.window import Window
from tests.xserver import keys_down, x_display, x_server

KEYS = vectors.load("keys")


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    with x_display("800x600") as name:
        yield name


@pytest.fixture(scope="module")
def window(display: str) -> Iterator[Window]:
    window = Window(display)
    yield window
    window.close()


@pytest.fixture
def xtest(window: Window) -> Iterator[XTestInjector]:
    window.seen.clear()
    injector = XTestInjector()
    yield injector
    injector.close()


@pytest.mark.parametrize("backend", [Recorder, XTestInjector])
def test_every_backend_keeps_the_contract(display: str, backend: type[Recorder]) -> None:
    keep_the_contract(backend, backend.probe())


@pytest.mark.parametrize("code", KEYS)
def test_every_key_reaches_the_desktop(window: Window, xtest: XTestInjector, code: str) -> None:
    keycode = x_keycode(KEYS[code]["usage"])
    xtest.key(KEYS[code]["usage"], down=True)
    window.until(lambda: ("key down", keycode) in window.seen)
    xtest.key(KEYS[code]["usage"], down=False)
    window.until(lambda: ("key up", keycode) in window.seen)


def test_the_five_buttons_and_the_wheel(window: Window, xtest: XTestInjector) -> None:
    for number in range(5):
        xtest.button(number, down=True)
        xtest.button(number, down=False)
    xtest.wheel(0, 60)
    xtest.wheel(0, 60)
    xtest.wheel(-250, -119)
    xtest.wheel(10, -1)
    window.until(lambda: ("button up", 4) in window.seen)
    downs = [detail for kind, detail in window.seen if kind == "button down"]
    assert downs == [1, 2, 3, 8, 9, 5, 6, 6, 4]


def test_text_beyond_the_layout_reaches_a_program(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with x_server("800x600") as server:
        monkeypatch.setenv("DISPLAY", server.name)
        _type_into_a_terminal(Terminal(server.name, tmp_path / "typed"))


def _type_into_a_terminal(terminal: Terminal) -> None:
    text = "Grüße Ωμέγα здравствуйте 日本語 한국어 € 😀 and ASCII: aA{}@"
    pieces = [text[at : at + 16] for at in range(0, len(text), 16)]
    try:
        eventually(terminal.file.exists, "the terminal")
        injector = XTestInjector()
        injector.move(0.3, 0.3)  # without a window manager the pointer says who gets the keys
        for end, piece in enumerate(pieces, 1):
            injector.text(piece)
            assert injector.sync(10.0)
            eventually(lambda end=end: terminal.text() == "".join(pieces[:end]), "the text")  # type: ignore[misc]
        spare = len(injector._spare)
        injector.close()
        again = XTestInjector()
        assert len(again._spare) == spare >= 16
        again.close()
    finally:
        terminal.close()


@pytest.mark.parametrize("place", [(0, 0), (799, 599), (11, 7), (400, 300), (33, 598)])
def test_the_pointer_lands_on_the_pixel(
    window: Window, xtest: XTestInjector, place: tuple[int, int]
) -> None:
    # What a page with a picture of 800 x 600 CSS pixels sends for this pixel, quantised to 16 bits.
    x, y = (int(place[0] / 800 * 65535) / 65535, int(place[1] / 600 * 65535) / 65535)
    xtest.move(x, y)
    window.until(lambda: window.pointer() == place)


def test_motion_is_a_fraction_of_the_area_that_is_shown(
    window: Window, xtest: XTestInjector
) -> None:
    xtest.area = Box(200, 100, 600, 400)
    for x, y, place in ((0, 0, (200, 100)), (1, 1, (599, 399)), (0.5, 0.25, (400, 175))):
        xtest.move(x, y)
        window.until(lambda place=place: window.pointer() == place)  # type: ignore[misc]


def test_relative_motion_is_exact_at_any_speed(window: Window, xtest: XTestInjector) -> None:
    xtest.move(0.5, 0.5)
    x, y = 400, 300
    for dx, dy in [(1, 0), (150, -130), (-300, 90), (7, 7), (200, 200), (-1, -1)]:
        xtest.move_by(dx, dy)
        x, y = x + dx, y + dy
        expected = (x, y)
        window.until(lambda expected=expected: window.pointer() == expected)  # type: ignore[misc]


def test_without_a_display_the_probe_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    assert "DISPLAY" in str(XTestInjector.probe())
    monkeypatch.setenv("DISPLAY", ":4094")
    assert "4094" in str(XTestInjector.probe())
    with pytest.raises(InputUnavailable):
        XTestInjector()


def test_a_server_that_accepts_and_hangs_up_is_unavailable_in_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As a forward of SSH does whose other end is gone."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("DISPLAY", f"127.0.0.1:{listener.getsockname()[1] - 6000}")

        def hang_up_twice() -> None:
            for _ in range(2):
                listener.accept()[0].close()

        listener.settimeout(20)
        hang_up = threading.Thread(target=hang_up_twice)
        hang_up.start()
        assert "127.0.0.1" in str(XTestInjector.probe())
        with pytest.raises(InputUnavailable):
            XTestInjector()
        hang_up.join()
    monkeypatch.setenv("DISPLAY", "127.0.0.1:70000")
    assert "70000" in str(XTestInjector.probe())


@pytest.mark.parametrize(
    ("owner", "name"), [(xdisplay.Display, "has_extension"), (XTestInjector, "_screen_size")]
)
def test_a_server_that_dies_while_it_is_opened_is_unavailable_in_words(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    real = getattr(owner, name)
    with x_server("320x240") as server:
        monkeypatch.setenv("DISPLAY", server.name)

        def after_its_death(*arguments: Any) -> Any:
            server.kill()
            return real(*arguments)

        monkeypatch.setattr(owner, name, after_its_death)
        with pytest.raises(InputUnavailable, match="went away"):
            XTestInjector()


def test_a_call_never_waits_for_the_server_to_read_the_rest(xtest: XTestInjector) -> None:
    """A blocking socket that has room for one byte takes all, or waits."""
    assert not xtest._display.display.socket.getblocking()


def test_a_server_that_goes_away_is_reported_as_such() -> None:
    with x_display() as name:
        assert os.environ["DISPLAY"] == name
        injector = XTestInjector()

    def press_until_it_fails() -> None:
        for _ in range(100):
            injector.move(0.5, 0.5)
            injector.key(A, down=True)

    with pytest.raises(InputUnavailable):
        press_until_it_fails()
    injector.close()


def test_a_release_is_not_said_to_be_done_while_the_server_could_still_drop_it() -> None:
    with x_server("320x240") as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DISPLAY", server.name)
        injector = XTestInjector()
        injector.key(A, down=True)
        assert injector.sync(10.0)
        server.process.send_signal(signal.SIGSTOP)
        try:
            injector.key(A, down=False)
            assert not injector.sync()
            assert not injector.sync(0.05)
        finally:
            server.process.send_signal(signal.SIGCONT)
        assert injector.sync(10.0)
        injector.close()
        assert not keys_down(server.connection)


def test_a_character_stayed_pressed_when_the_connection_ended_between_its_press_and_release() -> (
    None
):
    with x_server("320x240") as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DISPLAY", server.name)
        injector = XTestInjector()
        flush = injector._display.flush
        held: list[set[int]] = []

        def flush_and_look() -> None:
            flush()
            injector._display.sync()
            held.append(keys_down(server.connection))

        injector._display.flush = flush_and_look
        injector.text("日本")
        assert held == [set(), set()]
        injector.close()


def hands_of(injector: Injector, tell: Callable[[tuple[int, ...], tuple[int, ...]], None]) -> Hands:
    """Hands that hold this injector already."""
    hands = Hands(lambda: injector, tell)
    eventually(hands.open)
    return hands


def test_what_will_be_held_is_told_before_it_is_pressed_and_two_holders_share_it() -> None:
    recorder = Recorder()
    told: list[tuple[int, tuple[int, ...], tuple[int, ...]]] = []
    hands = hands_of(
        recorder, lambda keys, buttons: told.append((len(recorder.calls), keys, buttons))
    )
    assert hands.apply("1", [PressKey(A, True), PressButton(0, True)])
    assert told == [(0, (A,), ()), (1, (A,), (0,))]
    assert not hands.apply("2", [PressKey(A, True)])
    assert not hands.apply("1", [PressKey(A, False)])
    assert ("key", (A, False)) not in recorder.calls
    hands.apply("2", [PressKey(A, False)])
    assert recorder.calls[-1] == ("key", (A, False))
    hands.rest()
    assert not recorder.closed
    hands.close()
    assert recorder.calls[-1] == ("button", (0, False))
    assert told[-1][1:] == ((), ())
    assert recorder.closed


def test_what_no_viewer_sees_gets_releases_only() -> None:
    recorder = Recorder()
    seen = [True]
    told: list[tuple[int, ...]] = []
    hands = Hands(
        lambda: recorder, lambda keys, buttons: told.append(keys), blind=lambda: not seen[0]
    )
    eventually(hands.open)
    hands.apply("1", [PressKey(A, True)])
    seen[0] = False
    unseen = (PressKey(A + 1, True), PressButton(0, True), MoveTo(0, 0), TypeText("a"))
    assert not hands.apply("1", unseen)
    assert hands.apply("1", [PressKey(A + 1, False), PressKey(A, False)])
    assert recorder.calls == [("key", (A, True)), ("key", (A, False))]
    assert told == [(A,), ()]
    seen[0] = True
    assert hands.apply("1", [MoveTo(0, 0)])
    hands.close()


def test_hands_without_an_injector_do_nothing_and_say_so(caplog: pytest.LogCaptureFixture) -> None:
    def none() -> Injector:
        raise InputUnavailable("DISPLAY is not set")

    hands = Hands(none, lambda keys, buttons: None)
    eventually(hands.open)
    assert not hands.apply("1", [PressKey(A, True), MoveTo(0, 0)])
    assert "DISPLAY is not set" in caplog.text
    hands.close()


class Sluggish(Recorder):
    """An injector of a display server that goes away, or reads nothing, when told to."""

    gone = False
    full = False
    waited_s = -1.0

    def key(self, usage: int, *, down: bool) -> None:
        if self.gone:
            raise InputUnavailable("the X server went away")
        super().key(usage, down=down)

    def sync(self, timeout_s: float = 0.0) -> bool:
        self.waited_s = timeout_s
        return not self.full


def rested(hands: Hands, injector: Recorder) -> bool:
    hands.rest()
    return injector.closed


def test_a_release_that_fails_is_owed_told_and_made_by_the_next_injector(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hands_module, "REOPEN_AFTER_S", 0.0)
    first, second = Sluggish(), Sluggish()
    injectors, told = [second, first], []
    hands = Hands(injectors.pop, lambda keys, buttons: told.append(keys))
    eventually(hands.open)
    hands.apply("1", [PressKey(A, True)])
    first.gone = True
    hands.apply("1", [PressKey(A, False)])
    assert told == [(A,)]
    assert first.closed
    eventually(lambda: rested(hands, second))
    assert second.calls == [("key", (A, False))]
    assert told == [(A,), ()]
    hands.settle()
    assert len(second.calls) == 1


def test_a_release_that_still_waits_is_made_once_and_keeps_the_injector_open() -> None:
    slow = Sluggish()
    told: list[tuple[int, ...]] = []
    hands = hands_of(slow, lambda keys, buttons: told.append(keys))
    hands.apply("1", [PressKey(A, True)])
    slow.full = True
    hands.apply("1", [PressKey(A, False)])
    hands.settle()
    hands.settle()
    hands.rest()
    assert told == [(A,)]
    assert not slow.closed
    slow.full = False
    hands.settle()
    hands.rest()
    assert told == [(A,), ()]
    assert slow.closed
    assert slow.calls[-1] == ("key", (A, False))


def test_what_cannot_be_released_at_the_end_stays_told() -> None:
    slow = Sluggish()
    told: list[tuple[int, ...]] = []
    hands = hands_of(slow, lambda keys, buttons: told.append(keys))
    hands.apply("1", [PressKey(A, True)])
    slow.full = True
    hands.close()
    assert told == [(A,)]
    assert slow.closed


def test_an_injector_that_opened_when_nobody_was_left_is_closed() -> None:
    gate, recorder = threading.Event(), Recorder()

    def slow() -> Injector:
        gate.wait(30)
        return recorder

    hands = Hands(slow, lambda keys, buttons: None)
    assert not hands.open()
    hands.rest()
    gate.set()
    eventually(lambda: rested(hands, recorder))


def test_a_click_of_the_wheel_that_still_waits_keeps_the_injector_open() -> None:
    slow = Sluggish()
    hands = hands_of(slow, lambda keys, buttons: None)
    hands.apply("1", [TurnWheel(0, 120)])
    slow.full = True
    assert not rested(hands, slow)
    slow.full = False
    assert rested(hands, slow)


def test_a_click_of_the_wheel_that_still_waits_is_waited_for_at_the_end() -> None:
    slow = Sluggish()
    hands = hands_of(slow, lambda keys, buttons: None)
    hands.apply("1", [TurnWheel(0, 120)])
    hands.close()
    assert slow.waited_s == hands_module.CLOSE_WAIT_S
    assert slow.closed


def test_a_display_server_that_stands_still_stops_nobody_and_gets_what_it_missed() -> None:
    with x_server("320x240") as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DISPLAY", server.name)
        told: list[tuple[int, ...]] = []
        hands = Hands(XTestInjector, lambda keys, buttons: told.append(keys))
        server.process.send_signal(signal.SIGSTOP)
        try:
            assert not hands.open()
            assert not hands.apply("1", [PressKey(A, True)])
            assert told == []
        finally:
            server.process.send_signal(signal.SIGCONT)
        eventually(hands.open)
        assert hands.apply("1", [PressKey(A, True)])
        server.process.send_signal(signal.SIGSTOP)
        try:
            eventually(lambda: _flood(hands))
            hands.apply("1", [PressKey(A, False)])
            assert told == [(A,)]
        finally:
            server.process.send_signal(signal.SIGCONT)
        eventually(lambda: hands.apply("1", []) or told[-1] == ())
        assert not keys_down(server.connection)
        hands.close()


def _flood(hands: Hands) -> bool:
    """Move until the socket takes no more; whether it does not."""
    for _ in range(500):
        hands.apply("1", [MoveTo(0.5, 0.5)])
    injector = hands._injector
    return isinstance(injector, XTestInjector) and bool(injector._display.display.data_send)
