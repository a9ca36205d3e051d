"""Several viewers of one picture: a slow one gets the lower rung, and the player notices nothing."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import av
import pytest

from agent import backends
from agent.capture.base import Frame
from agent.capture.testpattern import TestPatternCapture
from agent.encode import rung
from agent.encode.base import AccessUnit, EncoderSettings
from agent.encode.rung import Viewer
from agent.encode.x264 import X264Encoder
from agent.pipeline import PipelineSettings, VideoPipeline
from tests.eventually import eventually

CEILING_BPS = 8_000_000
SIZE = (640, 480)


class Decoded:
    """Decodes all that it gets, and keeps what a receiver would stumble over."""

    def __init__(self) -> None:
        self.units: list[AccessUnit] = []
        self.sizes: list[tuple[int, int]] = []
        self._decoder: Any = av.CodecContext.create("h264", "r")

    def __call__(self, unit: AccessUnit) -> None:
        self.units.append(unit)
        for picture in self._decoder.decode(av.Packet(unit.payload)):
            self.sizes.append((picture.width, picture.height))

    def is_whole(self) -> bool:
        """Every unit gave a picture, and no two have the same RTP timestamp."""
        stamps = [unit.captured_us * 9 // 100 for unit in self.units]
        rising = all(earlier < later for earlier, later in itertools.pairwise(stamps))
        return len(self.sizes) == len(self.units) and rising

    def keyframes(self) -> int:
        return sum(unit.keyframe for unit in self.units)


@pytest.fixture
def pipeline() -> Iterator[VideoPipeline]:
    pipeline = VideoPipeline(
        lambda: TestPatternCapture(*SIZE, 60),
        backends.open_encoder,
        PipelineSettings(60, CEILING_BPS),
    )
    yield pipeline
    for name in ("player", "slow", "other"):
        pipeline.remove_viewer(name)


def join(pipeline: VideoPipeline, name: str) -> Decoded:
    viewer = Decoded()
    pipeline.add_viewer(name, Viewer("H264", viewer, player=name == "player"))
    eventually(lambda: viewer.sizes)
    return viewer


def more(viewer: Decoded, count: int = 10) -> Callable[[], bool]:
    after = len(viewer.units)
    return lambda: len(viewer.units) > after + count


def test_a_slow_viewer_goes_down_and_up_without_a_gap_and_the_player_keeps_what_it_has(
    pipeline: VideoPipeline,
) -> None:
    player = join(pipeline, "player")
    slow = join(pipeline, "slow")
    pipeline.set_bitrate("H264", CEILING_BPS)
    before = player.keyframes()
    pipeline.set_bitrate("H264", 300_000, "lower")
    pipeline.move_viewer("slow", "lower")
    eventually(lambda: slow.sizes[-1] == (320, 240))
    eventually(more(slow, 30))
    assert player.keyframes() == before
    assert set(player.sizes) == {SIZE}
    captured = [unit.captured_us for unit in slow.units[-20:] if unit.grab_us]
    assert (captured[-1] - captured[0]) / (len(captured) - 1) > 1e6 / 40  # half of 60 at most
    pipeline.move_viewer("slow", "main")
    eventually(lambda: slow.sizes[-1] == SIZE)
    eventually(more(slow))
    assert slow.units[-1] in player.units
    pipeline.remove_viewer("slow")
    eventually(more(player))
    pipeline.remove_viewer("player")
    assert slow.is_whole()
    assert player.is_whole()
    # each switch is a key frame, and no key frame more than one a switch
    assert [unit.keyframe for unit in slow.units].count(True) == 3


def test_two_slow_viewers_share_one_lower_encode_which_ends_with_the_last(
    pipeline: VideoPipeline, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    join(pipeline, "player")
    slow, other = join(pipeline, "slow"), join(pipeline, "other")
    pipeline.set_bitrate("H264", 300_000, "lower")
    for name in ("slow", "other"):
        pipeline.move_viewer(name, "lower")
    eventually(lambda: slow.sizes[-1] == other.sizes[-1] == (320, 240))
    eventually(more(other))
    count = min(len(slow.units), len(other.units))
    assert {id(unit) for unit in slow.units[-count:]} & {id(unit) for unit in other.units}
    assert caplog.text.count("encoding H264 (lower)") == 1
    run = pipeline._run
    assert run is not None
    pipeline.remove_viewer("slow")
    assert ("H264", "lower") in run.encode.watched()
    pipeline.move_viewer("other", "main")
    eventually(lambda: ("H264", "lower") not in run.encode.watched())


def test_a_viewer_that_is_called_back_before_it_left_stays_where_it_is(
    pipeline: VideoPipeline,
) -> None:
    player, slow = join(pipeline, "player"), join(pipeline, "slow")
    run = pipeline._run
    assert run is not None
    pipeline.move_viewer("slow", "lower")
    pipeline.move_viewer("slow", "main")
    eventually(lambda: ("H264", "lower") not in run.encode.watched())
    eventually(more(slow))
    eventually(more(player))
    for name in ("slow", "player"):
        pipeline.remove_viewer(name)
    assert slow.is_whole()


def test_capture_waits_for_no_encoder_while_two_are_at_work_on_pictures_of_their_own() -> None:
    stop, begun = ({1: threading.Event(), 2: threading.Event()} for _ in range(2))
    go_on = threading.Event()

    class Working(X264Encoder):
        def __init__(self, settings: EncoderSettings) -> None:
            super().__init__(settings)
            self.divisor = settings.size_divisor

        def encode(self, frame: Frame, *, keyframe: bool) -> AccessUnit:
            if stop[self.divisor].is_set():
                begun[self.divisor].set()
                assert go_on.wait(60)
            return super().encode(frame, keyframe=keyframe)

    pipeline = VideoPipeline(
        lambda: TestPatternCapture(*SIZE, 60),
        lambda codec, settings, avoided: Working(settings),
        PipelineSettings(60, CEILING_BPS),
    )
    try:
        player, slow = join(pipeline, "player"), join(pipeline, "slow")
        pipeline.set_bitrate("H264", 300_000, "lower")
        pipeline.move_viewer("slow", "lower")
        eventually(lambda: slow.sizes[-1] == (320, 240))
        for divisor in (2, 1):
            stop[divisor].set()
            assert begun[divisor].wait(20)
            if divisor == 2:
                eventually(more(player))
        dropped = pipeline.stats().dropped
        eventually(lambda: pipeline.stats().dropped > dropped + 10)
        go_on.set()
        eventually(more(player))
    finally:
        go_on.set()
        for name in ("player", "slow"):
            pipeline.remove_viewer(name)
    assert player.is_whole()
    assert slow.is_whole()


def test_key_frames_that_a_viewer_asks_for_cost_the_player_one_a_second(
    pipeline: VideoPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rung, "SPARE_S", 3600.0)
    player, slow = join(pipeline, "player"), join(pipeline, "slow")
    before = player.keyframes()
    for _ in range(20):
        pipeline.request_keyframe("slow")
        eventually(more(player, 2))
    assert player.keyframes() == before
    pipeline.request_keyframe("player")
    eventually(lambda: player.keyframes() == before + 1)
    monkeypatch.setattr(rung, "SPARE_S", 0.0)
    pipeline.request_keyframe("slow")
    eventually(lambda: player.keyframes() == before + 2)
    pipeline.set_bitrate("H264", 300_000, "lower")
    pipeline.move_viewer("slow", "lower")
    eventually(lambda: slow.sizes[-1] == (320, 240))
    monkeypatch.setattr(rung, "SPARE_S", 3600.0)
    mine = slow.keyframes()
    pipeline.request_keyframe("slow")
    eventually(lambda: slow.keyframes() > mine)  # of its own picture at once
