"""A transport that falls silent under a session whose signaling lives: a second connection, make before break."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
from Xlib import X

from agent.input.uinput import UinputGamepad
from tests.browser.browser import Browser, Page
from tests.browser.desktop import Noise, held_keys
from tests.browser.gamepad_recorder import MADE_UP, installed
from tests.browser.system import System, descriptors, threads
from tests.eventually import eventually
from tests.faults.detour import Watch, connections, lead
from tests.input.window import Window
from tests.lossy_relay import LossyRelay, losses
from tests.xserver import x_server

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    with x_server("640x360") as server, Noise(server.name):
        yield server.name


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the system keeps its logs."""
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def gamepad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the host's gamepad says, line by line."""
    return tmp_path_factory.mktemp("gamepad") / "states"


@pytest.fixture(scope="module")
def system(display: str, state: Path, gamepad: Path) -> Iterator[System]:
    flags = ("--no-pairing", "--source", "x11", "--fps", "30", "--bitrate", "2")
    env = {"DISPLAY": display, "XDG_STATE_HOME": str(state), **installed(gamepad.parent, gamepad)}
    with System(*flags, env=env) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser("chromium") as running:
        yield running


@pytest.fixture
def page(system: System, browser: Browser, relay: LossyRelay) -> Iterator[Page]:
    """In a session by way of the relay; its next connection goes directly."""
    opened = browser.open(system.link, 800, 600)
    lead(opened, relay)
    opened.connect()
    yield opened
    opened.close()


ROWS = ((24, "qwertyuiop"), (38, "asdfghjkl"), (52, "zxcvbnm"))
KEYCODES = {letter: first + index for first, row in ROWS for index, letter in enumerate(row)}
ENTER = 36
"""Of X, for the keyboard that is printed on most."""

TAPS = """(() => {
  const stage = document.getElementById("stage");
  const taps = globalThis.taps = [];
  let seed = 7;
  globalThis.tapping = setInterval(() => {
    seed = (seed * 16807) % 2147483647;
    const key = String.fromCharCode(97 + (seed % 26));
    taps.push([key, connections[0].connectionState === "closed"]);
    for (const type of ["keydown", "keyup"]) {
      const about = { key, code: `Key${key.toUpperCase()}`, bubbles: true, cancelable: true };
      stage.dispatchEvent(new KeyboardEvent(type, about));
    }
  }, 100);
})()"""
"""Ten taps a second, each noted with whether it was made on the second connection."""


def plays(page: Page, limit_s: float = 30) -> None:
    """More pictures come."""
    before = page.frames()
    eventually(lambda: page.frames() > before + 10, "more frames", limit_s)


def test_a_second_connection_takes_over_from_a_silent_one_with_the_held_keys(
    page: Page, relay: LossyRelay, state: Path, display: str
) -> None:
    plays(page)
    watch = Watch(page)
    page.call("key", key="KeyW", down=True)
    eventually(lambda: held_keys(display), "the key held")
    relay.silent = True
    eventually(lambda: not held_keys(display), "the key released in the silence")
    eventually(lambda: watch.moves == 1, "the second connection", 30)
    plays(page)
    eventually(lambda: held_keys(display), "the key held again, which the user never let go")
    page.call("key", key="KeyW", down=False)
    eventually(lambda: not held_keys(display), "the key released")
    assert watch.states == ["playing"]
    assert watch.black == 0
    assert connections(page) == ["closed", "connected"]
    (log,) = state.rglob("agent.log")
    eventually(lambda: "took its place" in log.read_text(), "the first's end")
    assert log.read_text().count("asked to connect again") == 1


def test_taps_of_the_last_second_before_a_second_connection_are_made_on_it_once_and_in_order(
    page: Page, relay: LossyRelay, display: str
) -> None:
    window = Window(display)
    window.window.configure(stack_mode=X.Below)  # the picture goes on
    plays(page)
    page.evaluate(TAPS)
    window.until(lambda: len(window.seen) > 10, 30)
    relay.silent = True
    eventually(
        lambda: page.evaluate("taps.filter(([, second]) => second).length") > 10, "a second", 40
    )
    page.evaluate("clearInterval(tapping)")
    taps = page.evaluate("taps")
    page.call("key", key="Enter", down=True)
    page.call("key", key="Enter", down=False)
    window.until(lambda: ("key up", ENTER) in window.seen, 30)
    window.close()
    assert window.seen[-2:] == [("key down", ENTER), ("key up", ENTER)]
    del window.seen[-2:]
    made = [code for kind, code in window.seen if kind == "key down"]
    assert window.seen == [(kind, code) for code in made for kind in ("key down", "key up")]
    sent = [KEYCODES[key] for key, _ in taps]
    # All that was heard before the silence, and all from some tap on.
    again = [
        n for n in range(len(made) + 1) if made == sent[: len(made) - n] + sent[len(sent) - n :]
    ]
    assert again, f"sent {sent}, made {made}"
    on_second = sum(second for _, second in taps)
    assert min(again) >= on_second + 2


PAD_TAPS = """(() => {
  const buttons = [0, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15, 16];
  const taps = globalThis.taps = [];
  let down = false;
  const tapping = setInterval(() => {
    if (globalThis.ending && !down) {
      clearInterval(tapping);
      return hold({ buttons: { 1: 1 }, axes: [0, 0, 0, 0] });
    }
    down = !down;
    const button = buttons[taps.length % buttons.length];
    if (down) taps.push([button, connections[0].connectionState === "closed"]);
    hold({ buttons: down ? { [button]: 1 } : {}, axes: [0, 0, 0, 0] });
  }, 50);
})()"""
"""As TAPS, and B at the end; the page looks at its gamepads each 4 ms."""


@pytest.mark.skipif(
    UinputGamepad.probe() is None, reason="this machine has a /dev/uinput, which would be used"
)
def test_a_gamepad_stays_plugged_in_and_its_taps_come_once_over_two_connections(
    page: Page, relay: LossyRelay, gamepad: Path
) -> None:
    plays(page)
    page.evaluate(MADE_UP)
    page.evaluate("hold({ buttons: {}, axes: [0, 0, 0, 0] })")
    page.evaluate("dispatchEvent(new Event('gamepadconnected'))")
    lines: Callable[[], list[str]] = lambda: gamepad.read_text().splitlines()  # noqa: E731
    eventually(lambda: lines() == ["plugged in"], "the gamepad")
    page.evaluate(PAD_TAPS)
    eventually(lambda: len(lines()) > 10, "taps on the first connection", 30)
    relay.silent = True
    eventually(
        lambda: page.evaluate("taps.filter(([, second]) => second).length") > 10, "a second", 40
    )
    page.evaluate("void (globalThis.ending = true)")
    eventually(lambda: lines()[-1] == "2 0 0 0", "the last of all")
    taps = page.evaluate("taps")
    page.evaluate("navigator.getGamepads = () => [null, null, null, null]")
    eventually(lambda: lines()[-1] == "unplugged", "its end")
    assert (lines().count("plugged in"), lines().count("unplugged")) == (1, 1)
    masks = [int(line.split()[0]) for line in lines()[1:-1]]
    made = [mask.bit_length() - 1 for mask in masks if mask][:-1]
    sent = [button for button, _ in taps]
    # All that was heard before the silence, and all from some tap on.
    again = [
        n for n in range(len(made) + 1) if made == sent[: len(made) - n] + sent[len(sent) - n :]
    ]
    assert again, f"sent {sent}, made {made}"
    assert min(again) >= sum(second for _, second in taps) + 2


INTERRUPTED = """(() => {
  const newest = connections.at(-1);
  Object.defineProperty(newest, "connectionState", { get: () => "disconnected" });
  newest.onconnectionstatechange();
})()"""


def test_a_second_connection_takes_over_from_an_interrupted_one_in_firefox(
    system: System, display: str
) -> None:
    """It is told of the interruption: it takes no relay on the loopback interface that could fall silent."""
    with Browser("firefox") as firefox:
        opened = firefox.open(system.link, 800, 600)
        lead(opened)
        opened.connect()
        plays(opened)
        watch = Watch(opened)
        opened.call("key", key="KeyW", down=True)
        eventually(lambda: held_keys(display), "the key held")
        opened.evaluate(INTERRUPTED)
        eventually(lambda: watch.moves == 1, "the second connection", 40)
        plays(opened)
        opened.call("key", key="KeyW", down=False)
        eventually(lambda: not held_keys(display), "the key released")
        assert watch.states == ["playing"]
        assert watch.black == 0
        assert connections(opened)[1:] == ["connected"]


def test_a_short_silence_is_no_reason_for_another_connection(page: Page, relay: LossyRelay) -> None:
    plays(page)
    relay.silent = True
    page.evaluate("new Promise((done) => setTimeout(done, 1500))")
    relay.silent = False
    plays(page)
    assert page.state == "playing"
    assert connections(page) == ["connected"]


@pytest.mark.parametrize("side", ["browser", "peer"])
def test_a_nat_that_forgot_a_port_costs_seconds_only(
    side: Literal["browser", "peer"], page: Page, relay: LossyRelay
) -> None:
    plays(page)
    watch = Watch(page)
    relay.rebind(side)
    eventually(lambda: not relay.rebinding, "another port")
    plays(page)
    assert (watch.states, watch.black) == (["playing"], 0)
    if side == "browser":
        assert connections(page) == ["connected"]  # its next check comes from there


def test_five_percent_of_loss_ends_nothing(page: Page, relay: LossyRelay) -> None:
    plays(page)
    watch = Watch(page)
    relay.drop = losses(0.05, burst=2)
    eventually(lambda: relay.dropped > 20, "losses")
    plays(page)
    assert watch.states == ["playing"]
    assert connections(page) == ["connected"]


def moved(watch: Watch, times: int) -> None:
    eventually(lambda: watch.moves == times, "the next connection", 40)


@pytest.mark.faults
def test_ten_connections_one_after_the_other_leave_nothing_of_each(
    system: System, browser: Browser
) -> None:
    opened = browser.open(system.link, 800, 600)
    lead(opened)
    opened.connect()
    plays(opened)
    media, watch = system.media, Watch(opened)

    def held() -> tuple[int, int]:
        return threads(media), descriptors(media)

    seen: list[tuple[int, int]] = []
    for number in range(1, 11):
        opened.evaluate(INTERRUPTED)
        moved(watch, number)
        plays(opened)
        seen.append(held())
    most = [min(counts) for counts in zip(*seen[:5], strict=True)]  # some end a moment later
    eventually(lambda: all(now <= then for now, then in zip(held(), most, strict=True)))
    assert watch.states == ["playing"]
    assert opened.evaluate("connections.map((one) => one.signalingState)").count("closed") == 10
    opened.close()
