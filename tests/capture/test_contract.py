"""What every capture backend promises, on those that can be used here."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from agent.capture.base import MOST_ALIVE, Capture, Frame, Interrupted, NothingNew, Pixels
from agent.capture.testpattern import TestPatternCapture

Paint = Callable[[int], None]
"""Gives the left upper corner of the screen a colour, 0xRRGGBB; a test pattern needs none to change."""

if sys.platform == "win32":
    from agent.capture.app_window import AppWindow
    from agent.capture.dxgi import DxgiCapture
    from agent.capture.gdi import GdiCapture, monitors
    from agent.capture.gdi_window import GdiWindowCapture
    from agent.capture.wgc import WgcCapture
    from tests.windows.inside import fake_dxgi, fake_wgc
    from tests.windows.inside.painted import Painted
    from tests.windows.inside.screen import paint as paint_screen

    @pytest.fixture
    def window() -> Iterator[None]:
        made = Painted((40, 30, 140, 90), 0)
        yield
        made.close()

    @pytest.fixture
    def paint() -> Paint:
        def all_of_them(rgb: int) -> None:
            for window in Painted.here.values():
                window.paint((0, 0, 10, 10), rgb)
            paint_screen(rgb)
            fake_dxgi.present(0xFF000000 | rgb)
            fake_wgc.present(0xFF000000 | rgb)

        return all_of_them

    @pytest.fixture(params=["dxgi", "wgc", "gdi", "gdi-window", "testpattern"])
    def open_capture(request: pytest.FixtureRequest) -> Callable[[], Capture]:
        if request.param == "wgc":
            fake_wgc.reset()
            return lambda: WgcCapture(60, library=fake_wgc.LIBRARY)
        if request.param == "gdi-window":
            request.getfixturevalue("window")
            return lambda: GdiWindowCapture(AppWindow(os.getpid()))
        if request.param == "dxgi":
            fake_dxgi.reset(monitors()[0].name)
            return lambda: DxgiCapture(60, library=fake_dxgi.LIBRARY)
        if request.param == "gdi":
            return lambda: GdiCapture(60)
        return lambda: TestPatternCapture(320, 240, 60)
else:
    from agent.capture.x11 import X11Capture
    from tests.card.capture import CardCapture
    from tests.xserver import XServer, x_server

    @pytest.fixture(scope="module")
    def server() -> Iterator[XServer]:
        with x_server("320x240") as server:
            yield server

    @pytest.fixture(scope="module")
    def paint(server: XServer) -> Paint:
        return lambda rgb: server.paint(0, 0, 10, 10, rgb)

    @pytest.fixture(params=["x11", "card", "testpattern"])
    def open_capture(request: pytest.FixtureRequest, server: XServer) -> Callable[[], Capture]:
        if request.param == "x11":
            return lambda: X11Capture(60, server.name)
        if request.param == "card":
            return lambda: CardCapture(60)
        return lambda: TestPatternCapture(320, 240, 60)


def pixels_of(frame: Frame) -> Pixels:
    """Also of one whose picture is on a card."""
    if frame.surface is None:
        return frame.pixels
    return np.asarray(frame.surface.to_ndarray(format="bgra"), np.uint8)


def test_first_next_is_a_frame_of_the_size(open_capture: Callable[[], Capture]) -> None:
    capture = open_capture()
    try:
        outcome = capture.next(5.0)
        assert isinstance(outcome, Frame)
        width, height = capture.size
        assert outcome.size == (width, height)
        assert pixels_of(outcome).shape == (height, width, 4)
        assert outcome.captured_us > 0
        outcome.release()
    finally:
        capture.close()


def test_stop_from_another_thread_interrupts(open_capture: Callable[[], Capture]) -> None:
    capture = open_capture()
    try:
        frames = [capture.next(5.0) for _ in range(1)]
        timer = threading.Timer(0.05, lambda: capture.wake(stop=True))
        timer.start()
        outcome = capture.next(30.0)
        while isinstance(outcome, Frame | NothingNew):
            if isinstance(outcome, Frame):
                outcome.release()
            outcome = capture.next(30.0)
        assert isinstance(outcome, Interrupted)
        timer.join()
        for frame in frames:
            assert isinstance(frame, Frame)
            frame.release()
    finally:
        capture.close()


def test_all_pictures_held_means_nothing_new_and_release_goes_on(
    open_capture: Callable[[], Capture], paint: Paint
) -> None:
    capture = open_capture()
    held: list[Frame] = []
    try:
        for _ in range(MOST_ALIVE):
            paint(0x010101 * (len(held) + 1))
            outcome = capture.next(5.0)
            assert isinstance(outcome, Frame)
            held.append(outcome)
        paint(0xFFFFFF)
        assert isinstance(capture.next(0.1), NothingNew)
        first = held.pop(0)
        timer = threading.Timer(0.05, first.release)
        timer.start()
        outcome = capture.next(5.0)
        while isinstance(outcome, NothingNew):
            outcome = capture.next(5.0)
        assert isinstance(outcome, Frame)
        held.append(outcome)
        timer.join()
    finally:
        for frame in held:
            frame.release()
        capture.close()


def test_frame_outlives_its_capture(open_capture: Callable[[], Capture]) -> None:
    capture = open_capture()
    frame = capture.next(5.0)
    assert isinstance(frame, Frame)
    before = pixels_of(frame).copy()
    capture.close()
    assert (pixels_of(frame) == before).all()
    frame.release()


def test_close_is_idempotent_and_wake_after_it_is_harmless(
    open_capture: Callable[[], Capture],
) -> None:
    capture = open_capture()
    capture.close()
    capture.close()
    capture.wake()
    capture.wake(stop=True)
