"""A source that is lost in mid-session is opened again: a real X server with another resolution, dead and back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agent.capture import stage as capture_stage
from agent.capture.base import Capture, CaptureUnavailable
from agent.capture.x11 import X11Capture
from agent.encode.rung import Viewer
from agent.pipeline import VideoPipeline
from tests.eventually import eventually
from tests.test_pipeline import SETTINGS, DecodingViewer, open_encoder
from tests.xserver import XServer


class Lost:
    """A pipeline on the screen of one X server after the other, all of one name."""

    def __init__(self) -> None:
        self.server = XServer("320x240")
        self.name = self.server.name
        self.faults: list[str] = []
        self.opened: list[str] = []
        self.viewer = DecodingViewer()
        self.pipeline = VideoPipeline(self._open, open_encoder, SETTINGS)
        self.pipeline.on_fault = self.faults.append
        self.pipeline.add_viewer("a", Viewer("H264", self.viewer))

    def _open(self) -> Capture:
        self.opened.append(self.name)
        return X11Capture(60, self.name)

    def shows(self, rgb: int) -> None:
        self.server.paint(0, 0, 200, 160, rgb)
        eventually(lambda: self.viewer.shows(100, 80, rgb), f"{rgb:#08x}")

    def close(self) -> None:
        self.pipeline.remove_viewer("a")
        self.server.stop()


@pytest.fixture
def lost() -> Iterator[Lost]:
    lost = Lost()
    yield lost
    lost.close()


def test_another_resolution_is_followed(lost: Lost) -> None:
    lost.shows(0x204060)
    lost.server.resize(200, 160)
    eventually(lambda: lost.pipeline.stats().size == (200, 160), "the new size")
    lost.shows(0x806040)
    assert lost.faults == []


def test_a_server_that_dies_and_comes_back_is_shown_again(lost: Lost) -> None:
    lost.shows(0x204060)
    lost.server.kill()
    eventually(lambda: lost.faults, "words")
    tries = len(lost.opened)
    eventually(lambda: len(lost.opened) > tries + 1, "more than one try")
    lost.server = XServer("640x480", extra=(lost.name,))
    lost.shows(0x806040)
    assert lost.pipeline.stats().size == (640, 480)
    assert all("X" in words for words in lost.faults)


def test_another_choice_does_not_wait_for_what_cannot_be_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A monitor that is gone, say, while another one is chosen."""
    monkeypatch.setattr(capture_stage, "FIRST_BACK_OFF_S", 3600.0)
    tries: list[int] = []

    def none() -> Capture:
        tries.append(len(tries))
        raise CaptureUnavailable("there is none")

    pipeline = VideoPipeline(none, open_encoder, SETTINGS)
    pipeline.add_viewer("a", Viewer("H264", lambda _: None))
    try:
        eventually(lambda: len(tries) == 1)
        pipeline.open_anew()
        eventually(lambda: len(tries) == 2)
    finally:
        pipeline.remove_viewer("a")
