"""Who is told what of the desk, and who may choose: on a real X server with two monitors."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import pytest

from agent.capture.base import EVERY_MONITOR, Box, Capture, CaptureUnavailable
from agent.capture.x11 import X11Capture
from agent.capture.x11_window import X11WindowCapture
from agent.desk.apps import DeskApps
from agent.desk.desk import CHOICES_AT_ONCE, Desk
from agent.desk.messages import TYPE_DESK, DeskError
from agent.input.guard import Role
from tests.eventually import until
from tests.xserver import XServer, two_monitors

LEFT, RIGHT = Box(0, 0, 320, 240), Box(320, 0, 640, 240)


@pytest.fixture
def server() -> Iterator[XServer]:
    with two_monitors("640x240", LEFT, RIGHT) as server:
        yield server


class Bench:
    """A desk with a source that is opened when a test says so."""

    def __init__(self, server: XServer, apps: DeskApps | None = None) -> None:
        self.server = server
        self.opened: list[Capture] = []
        self.asked = 0
        self.desk = Desk(lambda monitor: X11Capture(60, server.name, monitor=monitor), apps)
        self.desk.open_anew = self._ask
        self.heard: dict[str, list[bytes]] = {}

    def _ask(self) -> None:
        self.asked += 1

    async def open(self) -> None:
        self.opened.append(await asyncio.to_thread(self.desk.open))
        await asyncio.sleep(0)  # what was handed to the loop

    def enter(self, viewer: str, role: Role) -> list[bytes]:
        heard = self.heard[viewer] = []

        def hear(message: bytes) -> bool:
            heard.append(message)
            return True

        self.desk.enter(viewer, role, hear)
        return heard


@pytest.fixture
async def bench(server: XServer) -> AsyncIterator[Bench]:
    bench = Bench(server)
    yield bench
    for capture in bench.opened:
        capture.close()


def choose(number: int) -> bytes:
    return bytes((1, 3, 0, number))


def states(message: bytes) -> dict[str, int]:
    """The state of each choice of a DESK, by name."""
    assert message[1] == TYPE_DESK
    found, at = {}, 5
    for _ in range(message[4]):
        length = message[at + 8]
        found[message[at + 9 : at + 9 + length].decode()] = message[at + 3]
        at += 9 + length
    return found


async def test_viewers_are_told_when_it_is_known_and_who_comes_later_at_once(bench: Bench) -> None:
    early = bench.enter("1", "player")
    assert early == []
    assert bench.desk.area() is None
    await bench.open()
    late = bench.enter("2", "viewer")
    assert states(early[0]) == states(late[0]) == {"left": 1, "right": 0, "": 0}
    assert [message[3] for message in (early[0], late[0])] == [1, 0]
    assert bench.desk.area() == LEFT


async def test_a_players_choice_is_opened_and_told_to_all_under_another_number(
    bench: Bench,
) -> None:
    player, viewer = bench.enter("1", "player"), bench.enter("2", "viewer")
    await bench.open()
    before = bench.desk.screen
    bench.desk.on_message("1", choose(2))
    assert bench.asked == 1
    await bench.open()
    assert states(player[-1]) == states(viewer[-1]) == {"left": 0, "right": 1, "": 0}
    assert (bench.desk.screen, player[-1][2]) == (before + 1, before + 1)
    assert bench.desk.area() == RIGHT
    bench.desk.on_message("1", choose(2))
    assert bench.asked == 1
    bench.desk.on_message("1", choose(3))
    await bench.open()
    assert bench.desk.area() == Box(0, 0, 640, 240)
    assert bench.opened[-1].scene.shown == EVERY_MONITOR


async def test_a_choice_that_is_taken_back_before_it_was_opened_is_taken_back(bench: Bench) -> None:
    bench.enter("1", "player")
    await bench.open()
    bench.desk.on_message("1", choose(2))
    bench.desk.on_message("1", choose(1))
    assert bench.asked == 2
    await bench.open()
    assert bench.desk.area() == LEFT


@pytest.mark.parametrize(("viewer", "number"), [("2", 2), ("3", 2), ("1", 9), ("1", 0)])
async def test_a_viewers_choice_and_one_of_nothing_are_refused(
    bench: Bench, viewer: str, number: int
) -> None:
    bench.enter("1", "player")
    bench.enter("2", "viewer")
    bench.enter("3", "player")
    bench.desk.leave("3")
    await bench.open()
    with pytest.raises(DeskError):
        bench.desk.on_message(viewer, choose(number))
    assert bench.asked == 0


async def test_more_choices_than_a_hand_makes_are_dropped(bench: Bench) -> None:
    bench.enter("1", "player")
    await bench.open()
    dropped = 0
    for at in range(10 * CHOICES_AT_ONCE):
        try:
            bench.desk.on_message("1", choose(2 - at % 2))
        except DeskError:
            dropped += 1
    assert CHOICES_AT_ONCE <= bench.asked == 10 * CHOICES_AT_ONCE - dropped
    assert dropped > 5 * CHOICES_AT_ONCE


async def test_an_unplugged_monitor_falls_to_another_with_a_word_and_is_not_waited_for(
    bench: Bench,
) -> None:
    viewer = bench.enter("1", "player")
    await bench.open()
    bench.desk.on_message("1", choose(2))
    await bench.open()
    bench.server.remove_monitor("right")
    await bench.open()
    assert states(viewer[-2]) == {"left": 1}
    assert viewer[-1][3:].decode() == "The monitor right is gone; left is shown."
    bench.server.set_monitor("right", RIGHT)
    await bench.open()
    assert states(viewer[-1]) == {"left": 1, "right": 0, "": 0}
    bench.desk.on_message("1", choose(2))  # the number is still its own
    await bench.open()
    assert bench.desk.area() == RIGHT


async def test_a_source_that_cannot_be_opened_changes_nothing(bench: Bench) -> None:
    bench.enter("1", "player")
    await bench.open()
    bench.server.kill()
    with pytest.raises(CaptureUnavailable):
        await bench.open()
    assert bench.desk.area() == LEFT


APP = """
import sys
from Xlib import X, display
server = display.Display()
root = server.screen().root
sys.stdin.readline()
window = root.create_window(40, 30, 200, 100, 0, 24, background_pixel=0x3366CC)
window.map()
server.sync()
sys.stdin.readline()
window.destroy()
server.sync()
sys.stdin.read()
"""


async def test_an_apps_window_is_shown_when_there_is_one_and_gives_the_monitor_back(
    server: XServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPLAY", server.name)
    started: list[str] = []
    ended: list[str] = []
    names = ("Editor", "Other")
    apps = DeskApps((names, ("Editor",)), X11WindowCapture, started.append, ended.append)
    bench = Bench(server, apps)
    player = bench.enter("1", "player")
    await bench.open()
    assert states(player[-1]) == {"left": 1, "right": 0, "": 0, "Editor": 0, "Other": 0}
    bench.desk.on_message("1", choose(4))
    bench.desk.app_changed("Editor", "starting", 0, "")
    bench.desk.on_message("1", choose(4))
    assert started == ["Editor"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", APP, stdin=subprocess.PIPE, start_new_session=True
    )
    assert process.stdin is not None
    bench.desk.app_changed("Editor", "running", process.pid, "")
    assert states(player[-1])["Editor"] == 3
    assert bench.asked == 0
    process.stdin.write(b"\n")
    await until(lambda: bench.asked == 1, "its window")
    await bench.open()
    assert states(player[-1]) == {"left": 0, "right": 0, "": 0, "Editor": 1, "Other": 0}
    assert bench.desk.area() == Box(40, 30, 240, 130)
    bench.desk.on_message("1", bytes((1, 4, 0, 4)))
    assert ended == ["Editor"]
    with pytest.raises(DeskError, match="only an app"):
        bench.desk.on_message("1", bytes((1, 4, 0, 1)))
    process.stdin.close()
    await process.wait()
    bench.desk.app_changed("Editor", "ready", 0, "Editor has ended.")
    assert player[-1][3:] == b"Editor has ended."
    await bench.open()
    assert bench.desk.area() == LEFT
    assert bench.asked == 2


async def test_while_the_app_that_is_shown_has_no_window_input_goes_nowhere(
    server: XServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPLAY", server.name)
    bench = Bench(server, DeskApps((("Editor",), ("Editor",)), X11WindowCapture))
    bench.enter("1", "player")
    await bench.open()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", APP, stdin=subprocess.PIPE, start_new_session=True
    )
    assert process.stdin is not None
    bench.desk.app_changed("Editor", "running", process.pid, "")
    process.stdin.write(b"\n")
    bench.desk.on_message("1", choose(4))
    await until(lambda: bench.asked == 1, "its window")
    await bench.open()
    assert not bench.desk.blind()
    process.stdin.write(b"\n")
    await until(lambda: not X11WindowCapture.find(process.pid), "its window's end")
    with pytest.raises(CaptureUnavailable):
        await bench.open()
    assert bench.desk.blind()
    process.stdin.close()
    await process.wait()
    bench.desk.app_changed("Editor", "ready", 0, "")
    await bench.open()
    assert not bench.desk.blind()
    assert bench.desk.area() == LEFT
    for capture in bench.opened:
        capture.close()
