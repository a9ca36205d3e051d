"""GDI capture on a real Windows screen: colours, static screens, the pointer, another size."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import numpy as np
import pytest

if sys.platform != "win32":
    pytest.skip("for Windows", allow_module_level=True)

from agent.capture import gdi
from agent.capture.base import Box, Frame, Monitor, NothingNew, Pixels, SourceChanged
from agent.capture.gdi import GdiCapture
from agent.capture.gdi_surface import Screen, Surface
from agent.input.sendinput import SendInputInjector
from tests.windows.inside.screen import paint
from tests.windows.inside.window import Window


@pytest.fixture
def capture() -> Iterator[GdiCapture]:
    paint(0x000000, (0, 0, 100, 100))
    opened = GdiCapture(60)
    yield opened
    opened.close()


def picture(capture: GdiCapture) -> Pixels:
    """A copy of the next picture."""
    outcome = capture.next(5.0)
    assert isinstance(outcome, Frame)
    copied = outcome.pixels.copy()
    outcome.release()
    return copied


def test_a_painted_colour_is_in_its_place_as_bgra(capture: GdiCapture) -> None:
    picture(capture)
    paint(0x204080, (8, 16, 24, 20))
    shown = picture(capture)
    assert (shown[16:20, 8:24, :3] == (0x80, 0x40, 0x20)).all()
    assert (shown[15, 8:24, :3] == 0).all()
    assert (shown[20, 8:24, :3] == 0).all()


def test_the_monitors_are_named_and_the_primary_one_is_shown(capture: GdiCapture) -> None:
    (primary,) = [monitor for monitor in capture.scene.monitors if monitor.primary]
    assert capture.scene.shown == primary.name == "DISPLAY1"
    assert capture.place == primary.area == Box(0, 0, *capture.size)


def test_a_monitor_beside_the_first_is_read_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    there = (Monitor("A", Box(0, 0, 640, 480), primary=True), Monitor("B", Box(640, 100, 840, 300)))
    monkeypatch.setattr(gdi, "monitors", lambda: there)
    paint(0x000000, (640, 100, 840, 300))
    capture = GdiCapture(60, monitor="B")
    try:
        assert (capture.scene.shown, capture.size) == ("B", (200, 200))
        paint(0x204080, (650, 120, 660, 130))
        window = picture(capture)
        assert (window[20:30, 10:20, :3] == (0x80, 0x40, 0x20)).all()
        assert (window[19, 10:20, :3] == 0).all()
    finally:
        capture.close()


def test_a_static_screen_gives_nothing_and_is_looked_at_more_rarely(
    capture: GdiCapture, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture(capture)
    looks: list[float] = []
    copy = Surface.copy

    def counted(surface: Surface, screen: Screen, corner: tuple[int, int]) -> bool:
        looks.append(time.monotonic())
        return copy(surface, screen, corner)

    monkeypatch.setattr(Surface, "copy", counted)
    assert isinstance(capture.next(gdi.ACTIVE_S), NothingNew)
    looks.clear()
    began = time.monotonic()
    assert isinstance(capture.next(1.0), NothingNew)
    assert len(looks) <= (time.monotonic() - began) / gdi.IDLE_LOOK_S + 1


def test_a_wake_looks_at_once_when_nothing_happened_for_long(capture: GdiCapture) -> None:
    picture(capture)
    capture._look_at = capture._active_until = time.monotonic() + 3600
    paint(0x123456)
    assert isinstance(capture.next(0.05), NothingNew)
    capture.wake()
    assert (picture(capture)[0, 0, :3] == (0x56, 0x34, 0x12)).all()


def test_the_pointer_is_drawn_when_wanted_and_its_motion_is_a_change() -> None:
    window, injector = Window(), SendInputInjector()
    capture = GdiCapture(60)
    width, height = capture.size
    pictures: list[Pixels] = []

    def look() -> Pixels:
        """The newest picture of where the pointer will be."""
        window.pump()  # Windows asks the window for a shape
        capture.wake()
        outcome = capture.next(0.1)
        if isinstance(outcome, Frame):
            pictures.append(outcome.pixels[20:120, 20:220, :3].copy())
            outcome.release()
        return pictures[-1]

    def left_of_pointer(x: int) -> int:
        """Point there; the leftmost column that is not the white of the window, or -1."""
        injector.move(x / width, 50 / height)
        injector.move(x / width, 51 / height)  # a motion in any case
        columns = np.nonzero((look() != 255).any(axis=(0, 2)))[0]
        return 20 + int(columns.min()) if len(columns) else -1

    try:
        window.until(lambda: bool((look() == 255).all()))
        capture.draw_cursor = True
        window.until(lambda: abs(left_of_pointer(80) - 80) < 16)
        at_80 = left_of_pointer(80)
        window.until(lambda: left_of_pointer(60) == at_80 - 20)
    finally:
        capture.close()
        window.close()


def test_another_size_of_the_monitor_is_a_changed_source(
    capture: GdiCapture, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture(capture)
    monkeypatch.setattr(gdi, "monitors", lambda: (Monitor("DISPLAY1", Box(0, 0, 640, 480)),))
    assert isinstance(capture.next(5.0), SourceChanged)
