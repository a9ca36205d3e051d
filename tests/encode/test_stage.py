"""The encode stage: in which order pictures and repeats leave it, and what its two threads owe each other."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Collection, Iterator
from dataclasses import replace

import numpy as np
import pytest

from agent.capture.base import Frame
from agent.encode import lane
from agent.encode.base import (
    AccessUnit,
    EncoderSettings,
    EncoderUnavailable,
    VideoCodec,
    VideoEncoder,
)
from agent.encode.rung import RungId, RungRate, Viewer
from agent.encode.stage import EncodeStage
from agent.encode.x264 import X264Encoder
from tests.encode.pictures import frame_of
from tests.eventually import eventually

RTP_TICK_US = 1_000_000 / 90_000
RATE = RungRate(1_000_000, 60)
SMALLER = RungRate(1_000_000, 60, size_divisor=2)


def open_encoder(
    codec: VideoCodec, settings: EncoderSettings, avoided: Collection[str]
) -> VideoEncoder:
    return X264Encoder(settings)


def rises(units: list[AccessUnit]) -> bool:
    """Whether no two have the same RTP timestamp, and none is older than the one before."""
    times = [unit.captured_us for unit in units]
    return all(later - earlier > RTP_TICK_US for earlier, later in itertools.pairwise(times))


def test_a_picture_that_was_read_while_a_repeat_was_made_is_not_older_than_it() -> None:
    units: list[AccessUnit] = []
    faults: list[str] = []
    stage = EncodeStage(open_encoder, RATE, faults.append, units.append)
    pixels = np.full((64, 64, 4), 90, np.uint8)
    stage.add_viewer("one", Viewer("H264", lambda unit: None))
    before_us = time.monotonic_ns() // 1000
    stage.offer(frame_of(pixels, before_us))
    eventually(lambda: len(units) >= 2)
    stage.offer(frame_of(pixels, before_us))
    eventually(lambda: len(units) >= 5)
    stage.request_stop()
    assert stage.join(5.0)
    assert not faults
    assert rises(units)


class TwoRungs:
    """A player, and a slow viewer whose smaller picture's encoder is at work until the gate is opened."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.player_gate = threading.Event()
        self.player_gate.set()
        self.at_work = threading.Event()
        self.broken = threading.Event()
        """The smaller picture's encoder breaks down, and no other can be opened."""
        self.given_back: list[int] = []
        self.offered = 0
        self.player: list[AccessUnit] = []
        self.slow: list[AccessUnit] = []
        self.faults: list[str] = []
        self.stage = EncodeStage(self._open, RATE, self.faults.append, lambda unit: None)
        self.stage.set_rate(RungId("H264", "lower"), SMALLER)
        self.stage.add_viewer("player", Viewer("H264", self.player.append, player=True))
        self.stage.add_viewer("slow", Viewer("H264", self.slow.append))
        self.offer()
        eventually(lambda: self.player and self.slow)
        self.stage.move_viewer("slow", "lower")
        assert self.at_work.wait(20)

    def _open(
        self, codec: VideoCodec, settings: EncoderSettings, avoided: Collection[str]
    ) -> VideoEncoder:
        if settings.size_divisor == 1:
            return Player(settings, self)
        if self.broken.is_set():
            raise EncoderUnavailable("there is no other")
        if avoided:
            return X264Encoder(settings)
        return Gated(settings, self)

    def offer(self) -> None:
        """One picture more."""
        self.offered += 1
        number = self.offered
        pixels = np.full((64, 64, 4), number, np.uint8)
        now_us = time.monotonic_ns() // 1000
        self.stage.offer(Frame(pixels, now_us, 7, lambda: self.given_back.append(number)))

    def play(self, count: int) -> None:
        """So many pictures more, each of which the player has to get."""
        for _ in range(count):
            had = fresh(self.player)
            self.offer()
            eventually(lambda had=had: fresh(self.player) > had, "the player's picture")  # type: ignore[misc]

    def alive(self) -> set[int]:
        """The pictures that are not given back."""
        return set(range(1, self.offered + 1)) - set(self.given_back)


class Player(X264Encoder):
    """The player's."""

    def __init__(self, settings: EncoderSettings, rungs: TwoRungs) -> None:
        self._rungs = rungs
        super().__init__(settings)

    def encode(self, frame: Frame, *, keyframe: bool) -> AccessUnit:
        assert self._rungs.player_gate.wait(60)
        return super().encode(frame, keyframe=keyframe)


class Gated(X264Encoder):
    """The slow viewer's."""

    name = "gated"

    def __init__(self, settings: EncoderSettings, rungs: TwoRungs) -> None:
        self._rungs = rungs
        super().__init__(settings)

    def encode(self, frame: Frame, *, keyframe: bool) -> AccessUnit:
        self._rungs.at_work.set()
        assert self._rungs.gate.wait(60)
        if self._rungs.broken.is_set():
            raise EncoderUnavailable("the device was removed")
        return super().encode(frame, keyframe=keyframe)


def fresh(units: list[AccessUnit]) -> int:
    """How many are no repeats."""
    return sum(unit.grab_us == 7 for unit in units)


@pytest.fixture
def rungs() -> Iterator[TwoRungs]:
    rungs = TwoRungs()
    yield rungs
    rungs.gate.set()
    rungs.player_gate.set()
    rungs.stage.request_stop()
    assert rungs.stage.join(20.0)
    eventually(lambda: not [t for t in threading.enumerate() if t.name.startswith("encode")])
    assert sorted(rungs.given_back) == list(range(1, rungs.offered + 1))
    assert not rungs.faults


def test_a_lower_encoder_that_hangs_does_not_hold_back_the_player(rungs: TwoRungs) -> None:
    keyframes = sum(unit.keyframe for unit in rungs.player)
    rungs.play(12)
    assert not rungs.gate.is_set()
    assert rungs.stage.dropped == 0
    assert sum(unit.keyframe for unit in rungs.player) == keyframes
    # What the encoder that hangs still reads, and the newest: capture never waits for a third.
    assert rungs.alive() == {1, rungs.offered}
    assert rungs.stage.served("slow").tier == "main"  # until the lower picture comes
    assert rungs.slow[-1] in rungs.player


def test_a_lower_encoder_that_hangs_is_replaced_and_its_picture_given_back_once(
    rungs: TwoRungs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane, "HUNG_LOOKS", 1)
    assert rungs.stage.look()
    eventually(lambda: rungs.stage.served("slow").tier == "lower")
    assert rungs.stage.served("slow").encoder == "x264"
    assert rungs.stage.served("slow").reason == "gated hangs"
    rungs.play(3)
    eventually(lambda: rungs.alive() == {rungs.offered})
    had = len(rungs.slow)
    rungs.gate.set()  # it comes back, and is ignored
    rungs.play(3)
    eventually(lambda: len(rungs.slow) > had)
    assert rises(rungs.slow)


def test_lower_encoders_that_all_hang_end_nothing(
    rungs: TwoRungs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane, "HUNG_LOOKS", 1)
    monkeypatch.setattr(lane, "MOST_HUNG", 0)
    threads = threading.active_count()
    assert all(rungs.stage.look() for _ in range(100))
    assert threading.active_count() == threads
    rungs.play(3)
    assert rungs.slow[-1] in rungs.player


def test_a_viewer_whose_lower_picture_no_encoder_makes_gets_the_main_one_until_one_does(
    rungs: TwoRungs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane, "RETRY_S", 0.05)
    rungs.gate.set()
    eventually(lambda: rungs.stage.served("slow").tier == "lower")
    rungs.broken.set()
    rungs.offer()
    eventually(lambda: rungs.stage.served("slow").tier == "main")
    for _ in range(3):
        rungs.stage.move_viewer("slow", "lower")  # as its path goes on to say
        rungs.play(3)
    assert rungs.stage.served("slow").tier == "main"
    rungs.broken.clear()

    def goes_down() -> bool:
        rungs.stage.move_viewer("slow", "lower")
        return rungs.stage.served("slow").tier == "lower"

    eventually(goes_down)
    assert rises(rungs.slow)


def test_the_lower_picture_rests_when_the_player_loses_one(
    rungs: TwoRungs, monkeypatch: pytest.MonkeyPatch
) -> None:
    rungs.gate.set()
    eventually(lambda: rungs.stage.served("slow").tier == "lower")
    monkeypatch.setattr(lane, "REST_S", 3600.0)
    had = len(rungs.slow)
    rungs.play(3)
    eventually(lambda: len(rungs.slow) > had)
    rungs.player_gate.clear()
    while not rungs.stage.dropped:
        rungs.offer()
    rungs.player_gate.set()
    rungs.play(2)
    eventually(lambda: rungs.alive() == {rungs.offered})
    had = len(rungs.slow)
    rungs.play(5)
    assert len(rungs.slow) <= had + 1  # which was on its way


def test_a_viewer_that_moves_to_a_picture_that_is_behind_gets_none_that_is_older(
    rungs: TwoRungs,
) -> None:
    rungs.play(5)
    rungs.gate.set()
    eventually(lambda: rungs.stage.served("slow").tier == "lower")
    after = len(rungs.slow)
    rungs.play(5)
    rungs.stage.move_viewer("slow", "main")
    eventually(lambda: rungs.stage.served("slow").tier == "main")
    rungs.play(5)
    assert len(rungs.slow) >= after + 5
    assert rises(rungs.slow)


def test_a_key_frame_of_the_lower_picture_is_made_while_nothing_moves(rungs: TwoRungs) -> None:
    rungs.gate.set()
    eventually(lambda: rungs.stage.served("slow").tier == "lower")

    def keyframes(units: list[AccessUnit]) -> int:
        return sum(unit.keyframe for unit in units)

    had = keyframes(rungs.player), keyframes(rungs.slow)
    rungs.stage.request_keyframe("slow")
    eventually(lambda: keyframes(rungs.slow) > had[1])
    assert keyframes(rungs.player) == had[0]


class Careless(X264Encoder):
    """Encodes as before where there is room."""

    uses_room = False


@pytest.mark.parametrize(("encoder", "opened"), [(X264Encoder, 2), (Careless, 1)])
def test_an_encoder_is_opened_anew_for_room_where_it_makes_use_of_it(
    encoder: type[X264Encoder], opened: int
) -> None:
    settings: list[EncoderSettings] = []
    units: list[AccessUnit] = []

    def opens(codec: VideoCodec, wanted: EncoderSettings, avoided: Collection[str]) -> VideoEncoder:
        settings.append(wanted)
        return encoder(wanted)

    stage = EncodeStage(opens, RATE, lambda reason: None, lambda unit: None)
    stage.add_viewer("one", Viewer("H264", units.append))
    frame = frame_of(np.full((64, 64, 4), 90, np.uint8))
    stage.offer(frame)
    eventually(lambda: len(units) >= 2)
    stage.set_rate(RungId("H264"), replace(RATE, room=True))
    before = len(units)
    stage.offer(replace(frame, captured_us=2))
    eventually(lambda: len(units) >= before + 2)
    stage.request_stop()
    assert stage.join(5.0)
    assert [each.room for each in settings] == [False, True][:opened]
    assert [unit.keyframe for unit in units].count(True) == opened
