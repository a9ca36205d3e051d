"""Several monitors on a real X server: which one is shown, what changes in it, and one that is unplugged."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from agent.capture.base import EVERY_MONITOR, Box, Frame, Monitor, NothingNew, SourceChanged, pick
from agent.capture.x11 import X11Capture
from agent.capture.x11_monitors import WHOLE
from tests.xserver import XServer, two_monitors, x_server

LEFT, RIGHT = Box(0, 0, 320, 240), Box(320, 40, 640, 240)


@pytest.fixture
def server() -> Iterator[XServer]:
    with two_monitors("640x240", LEFT, RIGHT) as server:
        yield server


@pytest.fixture
def right(server: XServer) -> Iterator[X11Capture]:
    capture = X11Capture(60, server.name, monitor="right")
    first = capture.next(5.0)
    assert isinstance(first, Frame)
    first.release()
    yield capture
    capture.close()


def test_pick_takes_the_wanted_monitor_or_the_primary_or_the_first() -> None:
    a, b = Monitor("a", Box(0, 0, 8, 8)), Monitor("b", Box(-8, 4, 0, 20))
    primary = Monitor("c", Box(9, 9, 10, 10), primary=True)
    assert pick([a, b], "b") == b
    assert pick([a, b], None) == a
    assert pick([a, b], "gone") == a
    assert pick([a, b, primary], "gone") == primary
    assert pick([a, b], EVERY_MONITOR) == Monitor(EVERY_MONITOR, Box(-8, 0, 8, 20))
    assert pick([a], EVERY_MONITOR) == a


def test_a_server_with_one_monitor_shows_all_of_it() -> None:
    with x_server("320x240") as server:
        capture = X11Capture(60, server.name)
        assert capture.place == Box(0, 0, 320, 240)
        assert capture.scene.shown in (WHOLE, "screen")
        capture.close()


def test_the_wanted_monitor_is_shown_and_all_are_named(server: XServer, right: X11Capture) -> None:
    assert right.scene.shown == "right"
    assert right.scene.monitors == (Monitor("left", LEFT), Monitor("right", RIGHT))
    assert (right.place, right.size) == (RIGHT, (320, 200))
    every = X11Capture(60, server.name, monitor=EVERY_MONITOR)
    assert (every.scene.shown, every.size) == (EVERY_MONITOR, (640, 240))
    every.close()


def test_what_changes_on_a_monitor_is_seen_in_its_place(server: XServer, right: X11Capture) -> None:
    server.paint(330, 60, 20, 10, 0x123456)
    outcome = right.next(5.0)
    assert isinstance(outcome, Frame)
    assert outcome.changed == Box(10, 20, 30, 30)
    assert outcome.pixels[20, 10, :3].tolist() == [0x56, 0x34, 0x12]
    assert outcome.pixels[19, 10, :3].tolist() == [0, 0, 0]
    outcome.release()
    server.paint(310, 30, 20, 20, 0xFFFFFF)
    outcome = right.next(5.0)
    assert isinstance(outcome, Frame)
    assert outcome.changed == Box(0, 0, 10, 10)
    outcome.release()


def test_what_changes_on_another_monitor_is_no_change(server: XServer, right: X11Capture) -> None:
    server.paint(0, 0, 320, 240, 0xFFFFFF)
    server.paint(320, 0, 320, 40, 0xFFFFFF)
    assert isinstance(right.next(0.2), NothingNew)


def test_the_pointer_is_drawn_where_it_is_on_the_monitor(server: XServer) -> None:
    server.move_pointer(420, 140)
    capture = X11Capture(60, server.name, draw_cursor=True, monitor="right")
    outcome = capture.next(5.0)
    assert isinstance(outcome, Frame)
    rows, columns = np.nonzero(outcome.pixels[..., :3].any(axis=2))
    assert len(rows) > 0
    assert abs(rows.mean() - 100) < 20
    assert abs(columns.mean() - 100) < 20
    outcome.release()
    capture.close()


@pytest.mark.parametrize("name", ["left", "right"])
def test_an_unplugged_monitor_is_a_changed_source_for_all(
    server: XServer, right: X11Capture, name: str
) -> None:
    server.remove_monitor(name)
    outcome = right.next(5.0)
    while isinstance(outcome, Frame):
        outcome.release()
        outcome = right.next(5.0)
    assert isinstance(outcome, SourceChanged)


def test_a_monitor_that_is_not_there_falls_to_another(server: XServer) -> None:
    capture = X11Capture(60, server.name, monitor="HDMI-9")
    assert capture.scene.shown == "left"
    capture.close()


def test_the_same_picture_twice_is_one_monitor(server: XServer) -> None:
    server.set_monitor("copy", LEFT)
    capture = X11Capture(60, server.name)
    assert [monitor.name for monitor in capture.scene.monitors] == ["left", "right"]
    capture.close()
