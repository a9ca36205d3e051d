"""FFmpeg's ddagrab where it cannot be had: what it says, and what shows the screen instead."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from av.filter import Graph

if sys.platform != "win32":
    pytest.skip("for Windows", allow_module_level=True)

from agent import backends, settings
from agent.capture.base import NOWHERE, CaptureUnavailable, Frame, NotNow, Scene
from agent.capture.ddagrab import DdagrabCapture, duplicating
from agent.capture.gdi import monitors
from agent.capture.hardware_frames import HardwareCapture
from agent.capture.stand_in import StandIn
from tests.windows.inside import fake_dxgi
from tests.windows.inside.fake_dxgi import LIBRARY


@pytest.fixture(autouse=True)
def _every_object_is_given_back() -> Iterator[None]:
    fake_dxgi.reset(monitors()[0].name)
    yield
    told = fake_dxgi.counts()
    assert (told["mistakes"], told["objects"]) == (0, 0)


def test_wine_says_that_it_has_no_desktop_duplication_and_gdi_shows_the_screen() -> None:
    reason = DdagrabCapture.probe()
    assert reason is not None
    assert "does not have it" in reason
    capture = backends.open_capture("ddagrab", None, 60)
    try:
        assert capture.name == "gdi"
        assert not isinstance(capture, StandIn)
        outcome = capture.next(5.0)
        assert isinstance(outcome, Frame)
        outcome.release()
    finally:
        capture.close()
    assert backends.capture_problem("ddagrab") is None
    assert settings.shown_by("ddagrab") == ("ddagrab", "dxgi", "wgc", "gdi")


def test_ffmpeg_knows_every_option_and_says_in_other_words_that_it_has_no_card() -> None:
    class Duplicating(HardwareCapture):
        """Without our own try before."""

        def _graph_of(self, fps: int, *, cursor: bool) -> Graph:
            return duplicating(0, fps, cursor=cursor)

    with pytest.raises(CaptureUnavailable, match="Failed to create D3D11VA device"):
        Duplicating(60, Scene(), NOWHERE)


def test_what_duplication_says_comes_first() -> None:
    fake_dxgi.fail(duplicate=0x80070005)
    with pytest.raises(NotNow, match="lock screen"):
        DdagrabCapture(library=LIBRARY)


def test_a_monitor_of_the_second_graphics_card_is_left_to_dxgi() -> None:
    with pytest.raises(CaptureUnavailable, match="not on the first graphics card"):
        DdagrabCapture(library=LIBRARY)
