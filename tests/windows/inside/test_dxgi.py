"""Desktop Duplication: against a DXGI made of the SDK's tables (fake_dxgi.c), and what Wine's own says."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import numpy as np
import pytest

if sys.platform != "win32":
    pytest.skip("for Windows", allow_module_level=True)

from agent import backends
from agent.capture import copied, dxgi
from agent.capture.base import (
    EVERY_MONITOR,
    MOST_ALIVE,
    Box,
    CaptureUnavailable,
    Frame,
    Interrupted,
    NothingNew,
    NotNow,
    SourceChanged,
)
from agent.capture.dxgi import DxgiCapture
from agent.capture.gdi import monitors
from agent.capture.stand_in import StandIn
from tests.windows.inside import fake_dxgi
from tests.windows.inside.fake_dxgi import HEIGHT, LIBRARY, WIDTH

EVERYTHING = Box(0, 0, WIDTH, HEIGHT)
RED, GREEN, BLUE = 0xFFFF0000, 0xFF00FF00, 0xFF0000FF
BGRA = {RED: [0, 0, 255, 255], GREEN: [0, 255, 0, 255], BLUE: [255, 0, 0, 255], 0: [0, 0, 0, 255]}
LOST = 0x887A0026


@pytest.fixture(autouse=True)
def _every_object_is_given_back() -> Iterator[None]:
    fake_dxgi.reset(monitors()[0].name)
    yield
    told = fake_dxgi.counts()
    assert told["mistakes"] == 0
    assert (told["objects"], told["held"], told["mapped"]) == (0, 0, 0)


@pytest.fixture
def capture() -> Iterator[DxgiCapture]:
    opened = DxgiCapture(240, library=LIBRARY)
    yield opened
    opened.close()


def picture(capture: DxgiCapture) -> Frame:
    outcome = capture.next(5.0)
    assert isinstance(outcome, Frame), outcome
    return outcome


def is_of(frame: Frame, colour: int, place: Box = EVERYTHING) -> bool:
    part = frame.pixels[place.top : place.bottom, place.left : place.right]
    return bool((part == np.array(BGRA[colour], np.uint8)).all())


def test_the_first_picture_is_the_whole_desktop(capture: DxgiCapture) -> None:
    assert capture.size == (WIDTH, HEIGHT)
    frame = picture(capture)
    assert frame.changed == EVERYTHING
    assert is_of(frame, 0)
    frame.release()
    assert isinstance(capture.next(0.1), NothingNew)


def test_only_what_changed_is_copied_and_told(capture: DxgiCapture) -> None:
    picture(capture).release()
    dirty, moved = Box(8, 4, 16, 12), Box(30, 20, 40, 30)
    fake_dxgi.present(RED, (dirty,), (moved,))
    frame = picture(capture)
    around = dirty.joined(moved)
    assert frame.changed == around == fake_dxgi.copied()
    assert is_of(frame, RED, around)
    assert not is_of(frame, RED, Box(0, 0, 8, 48))
    frame.release()


def test_every_surface_gets_what_changed_while_it_was_not_its_turn(capture: DxgiCapture) -> None:
    boxes = [Box(0, 0, 8, 8), Box(16, 0, 24, 8), Box(32, 0, 40, 8), Box(48, 0, 56, 8)]
    picture(capture).release()
    for box in boxes:
        fake_dxgi.present(RED, (box,))
        frame = picture(capture)
        assert frame.changed == box
        frame.release()
    assert all(is_of(frame, RED, box) for box in boxes)


def test_changes_come_together_while_all_pictures_are_held(capture: DxgiCapture) -> None:
    held = [picture(capture)]
    for left in range(0, 4 * (MOST_ALIVE - 1), 4):
        fake_dxgi.present(BLUE, (Box(left, 0, left + 4, 4),))
        held.append(picture(capture))
    fake_dxgi.present(GREEN, (Box(0, 0, 4, 4),))
    fake_dxgi.present(RED, (Box(40, 40, 44, 44),))
    assert isinstance(capture.next(0.2), NothingNew)
    held.pop(0).release()
    frame = picture(capture)
    assert is_of(frame, GREEN, Box(0, 0, 4, 4))
    frame.release()
    later = picture(capture)
    assert is_of(later, RED, Box(40, 40, 44, 44))
    for each in (later, *held):
        each.release()


def test_without_rectangles_all_of_it_counts_as_changed(capture: DxgiCapture) -> None:
    picture(capture).release()
    fake_dxgi.present(GREEN)
    frame = picture(capture)
    assert frame.changed == EVERYTHING
    assert is_of(frame, GREEN)
    frame.release()


def test_the_pointer_alone_makes_a_picture_only_when_it_is_drawn(capture: DxgiCapture) -> None:
    picture(capture).release()
    fake_dxgi.move_pointer()
    assert isinstance(capture.next(0.2), NothingNew)
    capture.draw_cursor = True
    frame = picture(capture)
    assert frame.changed == EVERYTHING
    frame.release()
    fake_dxgi.move_pointer()
    picture(capture).release()


@pytest.mark.parametrize("result", [LOST, 0x887A0001, 0x887A0005, 0x80, 0x80070005, 0xDEADBEEF])
def test_a_duplication_that_is_lost_is_to_be_opened_again(
    capture: DxgiCapture, result: int
) -> None:
    picture(capture).release()
    fake_dxgi.refuse(result)
    outcome = capture.next(5.0)
    assert isinstance(outcome, SourceChanged)
    assert f"{result:#010x}" in outcome.reason


def test_one_that_is_lost_when_its_frame_is_given_back_is_too(capture: DxgiCapture) -> None:
    picture(capture).release()
    fake_dxgi.present_and_lose(RED, LOST)
    picture(capture).release()
    assert isinstance(capture.next(5.0), SourceChanged)


def test_pictures_of_another_format_end_it(capture: DxgiCapture) -> None:
    """Of an HDR desktop, on a driver that does not convert."""
    picture(capture).release()
    fake_dxgi.present(RED, wrong=True)
    outcome = capture.next(5.0)
    assert isinstance(outcome, SourceChanged)
    assert "format 10" in outcome.reason


def test_a_stop_ends_a_long_wait(capture: DxgiCapture) -> None:
    picture(capture).release()
    capture.wake(stop=True)
    began = time.monotonic()
    assert isinstance(capture.next(60.0), Interrupted)
    assert time.monotonic() - began < 30


def test_a_picture_outlives_its_capture() -> None:
    capture = DxgiCapture(60, library=LIBRARY)
    fake_dxgi.present(BLUE)
    frame = picture(capture)
    before = frame.pixels.copy()
    capture.close()
    capture.close()
    capture.wake(stop=True)
    assert (frame.pixels == before).all()
    frame.release()


@pytest.mark.parametrize(
    ("result", "kind"),
    [(0x80070005, NotNow), (0x887A0022, NotNow), (0x887A0004, CaptureUnavailable)],
)
def test_what_is_refused_now_is_told_from_what_is_refused_for_good(
    result: int, kind: type[CaptureUnavailable]
) -> None:
    fake_dxgi.fail(duplicate=result)
    with pytest.raises(CaptureUnavailable, match=f"{result:#010x}") as problem:
        DxgiCapture(60, library=LIBRARY)
    assert type(problem.value) is kind


def test_a_graphics_card_that_does_not_open_is_told() -> None:
    fake_dxgi.fail(device=0x887A0004)
    with pytest.raises(CaptureUnavailable, match="0x887a0004"):
        DxgiCapture(60, library=LIBRARY)


def test_a_turned_monitor_and_all_monitors_are_left_to_gdi() -> None:
    fake_dxgi.fail(rotation=2)
    with pytest.raises(CaptureUnavailable, match="turned"):
        DxgiCapture(60, library=LIBRARY)
    with pytest.raises(CaptureUnavailable, match="not of all"):
        dxgi.duplicate(LIBRARY, EVERY_MONITOR)


def test_a_monitor_that_no_card_has_is_told() -> None:
    with pytest.raises(CaptureUnavailable, match="no graphics card has the monitor DISPLAY9"):
        dxgi.duplicate(LIBRARY, "DISPLAY9")


def test_a_monitor_without_a_picture_is_asleep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copied, "FIRST_PICTURE_S", 0.1)
    fake_dxgi.reset(monitors()[0].name, first=False)
    with pytest.raises(NotNow, match="asleep"):
        DxgiCapture(60, library=LIBRARY)


def test_a_first_answer_without_a_picture_is_taken_when_no_other_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(copied, "FIRST_PICTURE_S", 0.1)
    fake_dxgi.reset(monitors()[0].name, first=False)
    fake_dxgi.move_pointer()
    DxgiCapture(60, library=LIBRARY).close()
    assert fake_dxgi.counts()["copies"] == 1


def test_wine_says_that_it_has_none_and_gdi_shows_the_screen_for_good() -> None:
    reason = DxgiCapture.probe()
    assert reason is not None
    assert "does not have it" in reason
    assert "0x80004001" in reason
    capture = backends.open_capture("dxgi", None, 60)
    try:
        assert capture.name == backends.capture_used("dxgi") == "gdi"
        assert not isinstance(capture, StandIn)
        assert isinstance(capture.next(5.0), Frame)
    finally:
        capture.close()
    assert backends.capture_problem("dxgi") is None


def test_gdi_stands_in_during_a_prompt_and_goes_when_it_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("agent.capture.stand_in.FIRST_LOOK_S", 0.05)
    monkeypatch.setattr("agent.capture.duplication.Library.of_windows", lambda: LIBRARY)
    fake_dxgi.fail(duplicate=0x80070005)
    capture = backends.open_capture("dxgi", None, 60)
    assert capture.name == "gdi"
    outcome, end = capture.next(5.0), time.monotonic() + 30
    while isinstance(outcome, Frame | NothingNew) and time.monotonic() < end:
        if isinstance(outcome, Frame):
            outcome.release()
            fake_dxgi.fail()  # answered
        outcome = capture.next(0.05)
    assert isinstance(outcome, SourceChanged)
    capture.close()
    fake_dxgi.present(GREEN)  # the look has taken the first
    again = backends.open_capture("dxgi", None, 60)
    assert again.name == "dxgi"
    again.close()
