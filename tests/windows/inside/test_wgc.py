"""Windows.Graphics.Capture: against one made of its tables (fake_wgc.c), and what Wine's own says."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest

if sys.platform != "win32":
    pytest.skip("for Windows", allow_module_level=True)

from agent import backends
from agent.capture import copied
from agent.capture.base import (
    EVERY_MONITOR,
    MOST_ALIVE,
    Box,
    CaptureUnavailable,
    Frame,
    NothingNew,
    NotNow,
    SourceChanged,
)
from agent.capture.gdi import monitors
from agent.capture.stand_in import StandIn
from agent.capture.wgc import WgcCapture
from agent.win32 import monitor_at
from tests.windows.inside import fake_wgc
from tests.windows.inside.fake_dxgi import HEIGHT, WIDTH
from tests.windows.inside.fake_wgc import LIBRARY

EVERYTHING = Box(0, 0, WIDTH, HEIGHT)
RED, GREEN, BLUE, BLACK = 0xFFFF0000, 0xFF00FF00, 0xFF0000FF, 0xFF000000
BGRA = {
    RED: [0, 0, 255, 255],
    GREEN: [0, 255, 0, 255],
    BLUE: [255, 0, 0, 255],
    BLACK: [0, 0, 0, 255],
}
LEFT = ("objects", "mapped", "running", "initialised", "strings", "handlers", "open")


@pytest.fixture(autouse=True)
def _everything_is_given_back() -> Iterator[None]:
    fake_wgc.reset()
    yield
    told = fake_wgc.counts()
    assert told["mistakes"] == 0
    assert {name: told[name] for name in LEFT} == dict.fromkeys(LEFT, 0)


@pytest.fixture
def capture() -> Iterator[WgcCapture]:
    opened = WgcCapture(240, library=LIBRARY)
    yield opened
    opened.close()


def picture(capture: WgcCapture, colour: int) -> Frame:
    """The next picture, which is all of this colour."""
    outcome = capture.next(5.0)
    assert isinstance(outcome, Frame), outcome
    assert (outcome.pixels == np.array(BGRA[colour], np.uint8)).all()
    return outcome


def test_the_primary_monitor_is_captured_without_pointer_and_border(capture: WgcCapture) -> None:
    assert capture.size == (WIDTH, HEIGHT)
    (primary,) = [monitor for monitor in monitors() if monitor.primary]
    assert capture.scene.shown == primary.name
    told = fake_wgc.counts()
    assert (told["cursor"], told["border"], told["of_window"]) == (0, 0, 0)
    assert told["handle"] == monitor_at(primary.area.left, primary.area.top)
    picture(capture, BLACK).release()
    assert isinstance(capture.next(0.1), NothingNew)


def test_a_windows_without_the_later_properties_captures_too() -> None:
    fake_wgc.fail(old=True)
    capture = WgcCapture(60, library=LIBRARY)
    picture(capture, BLACK).release()
    capture.close()
    told = fake_wgc.counts()
    assert (told["cursor"], told["border"]) == (1, 1)


def test_a_wait_ends_with_the_picture_that_arrives(
    capture: WgcCapture, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture(capture, BLACK).release()
    monkeypatch.setattr("agent.capture.copied.SLICE_S", 60.0)
    timer = threading.Timer(0.2, fake_wgc.present, (RED,))
    timer.start()
    outcome = capture.next(60.0)
    timer.join()
    assert isinstance(outcome, Frame)
    assert outcome.changed == EVERYTHING
    outcome.release()


def test_of_several_pictures_the_newest_is_shown(capture: WgcCapture) -> None:
    picture(capture, BLACK).release()
    for colour in (RED, GREEN):
        fake_wgc.present(colour)
    picture(capture, GREEN).release()
    assert isinstance(capture.next(0.1), NothingNew)


def test_pictures_wait_while_all_are_held(capture: WgcCapture) -> None:
    held = [picture(capture, BLACK)]
    for colour in [RED, GREEN, RED][: MOST_ALIVE - 1]:
        fake_wgc.present(colour)
        held.append(picture(capture, colour))
    fake_wgc.present(BLUE)
    assert isinstance(capture.next(0.2), NothingNew)
    held.pop(0).release()
    held.append(picture(capture, BLUE))
    for each in held:
        each.release()


def test_another_size_is_a_changed_source(capture: WgcCapture) -> None:
    picture(capture, BLACK).release()
    fake_wgc.resize(WIDTH + 10, HEIGHT)
    fake_wgc.present(RED)
    outcome = capture.next(5.0)
    while isinstance(outcome, Frame):
        outcome.release()
        outcome = capture.next(5.0)
    assert isinstance(outcome, SourceChanged)
    assert "size" in outcome.reason


def test_a_closed_one_is_a_changed_source(capture: WgcCapture) -> None:
    picture(capture, BLACK).release()
    fake_wgc.close()
    outcome = capture.next(5.0)
    assert isinstance(outcome, SourceChanged)
    assert "closed" in outcome.reason


@pytest.mark.parametrize("result", [0x887A0005, 0x80070424, 0xDEADBEEF])
def test_one_that_is_lost_is_to_be_opened_again(capture: WgcCapture, result: int) -> None:
    picture(capture, BLACK).release()
    fake_wgc.refuse(result)
    outcome = capture.next(5.0)
    assert isinstance(outcome, SourceChanged)
    assert f"{result:#010x}" in outcome.reason


def test_pictures_of_another_format_end_it(capture: WgcCapture) -> None:
    picture(capture, BLACK).release()
    fake_wgc.present(RED, wrong=True)
    outcome = capture.next(5.0)
    assert isinstance(outcome, SourceChanged)
    assert "format 10" in outcome.reason


@pytest.mark.parametrize(
    ("result", "kind", "words"),
    [
        (0x80070424, CaptureUnavailable, "signed in only"),
        (0x80070057, CaptureUnavailable, "this window"),
        (0x80070005, NotNow, "lock screen"),
    ],
)
def test_what_is_refused_is_told_in_words(
    result: int, kind: type[CaptureUnavailable], words: str
) -> None:
    fake_wgc.fail(item=result)
    with pytest.raises(CaptureUnavailable, match=words) as problem:
        WgcCapture(60, library=LIBRARY)
    assert type(problem.value) is kind
    assert f"{result:#010x}" in str(problem.value)


def test_a_windows_that_does_not_support_it_says_so() -> None:
    fake_wgc.fail(supported=False)
    with pytest.raises(CaptureUnavailable, match="does not do it"):
        WgcCapture(60, library=LIBRARY)


def test_a_source_without_a_picture_is_asleep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copied, "FIRST_PICTURE_S", 0.1)
    fake_wgc.reset(first=False)
    with pytest.raises(NotNow, match="asleep"):
        WgcCapture(60, library=LIBRARY)


def test_all_monitors_at_once_are_not_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    (one,) = monitors()
    monkeypatch.setattr("agent.capture.gdi.monitors", lambda: (one, one))
    with pytest.raises(CaptureUnavailable, match="not of all"):
        WgcCapture(60, monitor=EVERY_MONITOR, library=LIBRARY)


def test_wine_has_none_and_the_next_one_shows_the_screen() -> None:
    reason = WgcCapture.probe()
    assert reason is not None
    assert "this Windows" in reason
    capture = backends.open_capture("wgc", None, 60)
    assert capture.name == backends.capture_used("wgc") == "gdi"
    assert not isinstance(capture, StandIn)
    capture.close()


def test_where_a_monitor_cannot_be_duplicated_it_takes_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("agent.capture.graphics_capture.Library.of_windows", lambda: LIBRARY)
    capture = backends.open_capture("dxgi", None, 60)
    capture.close()
    assert capture.name == "wgc"
