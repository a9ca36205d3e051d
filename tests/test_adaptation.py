"""The pipeline makes do: fewer and smaller pictures on a slow path, another encoder for one that hangs."""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import av
import numpy as np
import pytest

from agent import backends
from agent.capture.base import NOWHERE, Box, Frame
from agent.capture.testpattern import TestPatternCapture
from agent.congestion import ladder
from agent.encode import lane
from agent.encode.base import AccessUnit, EncoderSettings, EncoderUnavailable, VideoEncoder
from agent.encode.rung import RungRate, Viewer
from agent.encode.stage import EncodeStage
from agent.encode.vpx import VP8Encoder
from agent.encode.x264 import X264Encoder
from agent.pipeline import PipelineSettings, VideoPipeline
from tests.eventually import eventually

CEILING_BPS = 8_000_000
SIZE = (640, 480)


class Decoded:
    """A viewer that decodes all it gets."""

    def __init__(self) -> None:
        self.sizes: list[tuple[int, int]] = []
        self.units: list[AccessUnit] = []
        self._decoder: Any = av.CodecContext.create("h264", "r")

    def __call__(self, unit: AccessUnit) -> None:
        self.units.append(unit)
        for picture in self._decoder.decode(av.Packet(unit.payload)):
            self.sizes.append((picture.width, picture.height))


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests look 100 times a second, not four: an encoder may take a second on a busy machine."""
    monkeypatch.setattr(lane, "HUNG_LOOKS", 100)


@pytest.fixture
def pipeline() -> Iterator[VideoPipeline]:
    pipeline = VideoPipeline(
        lambda: TestPatternCapture(*SIZE, 60),
        backends.open_encoder,
        PipelineSettings(60, CEILING_BPS),
    )
    yield pipeline
    pipeline.remove_viewer("a")


def looking(pipeline: VideoPipeline, condition: Callable[[], object]) -> None:
    """Wait, and look as the media process does, only oftener."""

    def look() -> object:
        assert pipeline.look()
        return condition()

    eventually(look)


def test_a_slow_path_gets_fewer_and_smaller_pictures_and_all_of_them_again_later(
    pipeline: VideoPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ladder, "UP_S", 0.2)
    viewer = Decoded()
    pipeline.add_viewer("a", Viewer("H264", viewer))
    pipeline.set_bitrate("H264", CEILING_BPS)
    looking(pipeline, lambda: viewer.sizes)
    assert viewer.sizes[0] == SIZE
    pipeline.set_bitrate("H264", 100_000)
    looking(pipeline, lambda: viewer.sizes[-1] == (320, 240))
    smaller = len(viewer.units)
    looking(pipeline, lambda: len(viewer.units) > smaller + 20)
    assert pipeline.stats().size == SIZE  # what pointer positions and the overlay speak of
    new = [unit.captured_us for unit in viewer.units[smaller:] if unit.grab_us]
    assert np.median(np.diff(new)) > 1e6 / 45
    pipeline.set_bitrate("H264", CEILING_BPS)
    looking(pipeline, lambda: viewer.sizes[-1] == SIZE)
    pipeline.remove_viewer("a")
    assert len(viewer.sizes) == len(viewer.units)
    keyframes = [number for number, unit in enumerate(viewer.units) if unit.keyframe]
    changed = [
        n for n in range(len(viewer.sizes)) if n == 0 or viewer.sizes[n] != viewer.sizes[n - 1]
    ]
    assert keyframes == changed
    assert len(changed) == 3


def test_a_lower_frame_rate_leaves_each_picture_more() -> None:
    told: list[int] = []

    class Recording(X264Encoder):
        def set_bitrate(self, bitrate_bps: int) -> None:
            told.append(bitrate_bps)
            super().set_bitrate(bitrate_bps)

    pipeline = VideoPipeline(
        lambda: TestPatternCapture(*SIZE, 60),
        lambda codec, settings, avoided: Recording(settings),
        PipelineSettings(60, CEILING_BPS),
    )
    viewer = Decoded()
    pipeline.add_viewer("a", Viewer("H264", viewer))
    try:
        pipeline.set_bitrate("H264", CEILING_BPS)
        looking(pipeline, lambda: viewer.sizes)
        pipeline.set_bitrate("H264", 500_000)
        looking(pipeline, lambda: 1_000_000 in told)
        assert viewer.sizes[-1] == SIZE
    finally:
        pipeline.remove_viewer("a")


class HangingEncoder(X264Encoder):
    """An encoder whose driver does not return: a read of a pipe, in C, without the lock of Python."""

    name: ClassVar[str] = "hanging"
    pipe: ClassVar[tuple[int, int]] = (-1, -1)
    hangs: ClassVar[bool] = False
    closed: ClassVar[list[str]] = []

    def encode(self, frame: Frame, *, keyframe: bool) -> AccessUnit:
        if self.hangs:
            libc = ctypes.CDLL(None)
            libc.read(self.pipe[0], ctypes.create_string_buffer(1), 1)
        return super().encode(frame, keyframe=keyframe)

    def close(self) -> None:
        self.closed.append(threading.current_thread().name)
        super().close()


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[HangingEncoder]]:
    pipe = os.pipe()
    monkeypatch.setattr(HangingEncoder, "pipe", pipe)
    monkeypatch.setattr(HangingEncoder, "hangs", False)
    monkeypatch.setattr(HangingEncoder, "closed", [])
    yield HangingEncoder
    os.close(pipe[1])  # whoever still reads sees the end
    eventually(lambda: not [t for t in threading.enumerate() if t.name == "encode"])
    os.close(pipe[0])


def test_next_encoder_takes_over_from_one_that_hangs(
    hanging: type[HangingEncoder], pipeline: VideoPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = (("hanging", f"{__name__}:HangingEncoder"), *backends.BACKENDS["encoder"])
    monkeypatch.setitem(backends.BACKENDS, "encoder", rows)
    faults: list[str] = []
    pipeline.on_fault = faults.append
    viewer = Decoded()
    pipeline.add_viewer("a", Viewer("H264", viewer))
    eventually(lambda: len(viewer.units) > 5)
    monkeypatch.setattr(hanging, "hangs", True)
    looking(pipeline, lambda: pipeline.stats().encoders == {"H264": "x264"})
    after = len(viewer.units)
    eventually(lambda: len(viewer.units) > after + 10)
    assert any(unit.keyframe for unit in viewer.units[5:])
    assert not faults
    assert not hanging.closed  # nobody touches it while it is inside
    os.write(hanging.pipe[1], b"x")
    eventually(lambda: hanging.closed == ["encode"])
    after = len(viewer.units)
    eventually(lambda: len(viewer.units) > after + 10)
    pipeline.remove_viewer("a")
    assert len(viewer.sizes) == len(viewer.units)
    times = [unit.captured_us for unit in viewer.units]
    assert times == sorted(set(times))


def test_other_codecs_learn_what_changed_in_a_picture_at_which_an_encoder_hung(
    hanging: type[HangingEncoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    changes: list[Box | None] = []

    class Recording(VP8Encoder):
        def encode(self, frame: Frame, *, keyframe: bool) -> AccessUnit:
            changes.append(frame.changed)
            return super().encode(frame, keyframe=keyframe)

    def open_encoder(codec: str, settings: EncoderSettings, avoided: object) -> VideoEncoder:
        if codec == "VP8":
            return Recording(settings)
        return X264Encoder(settings) if avoided else hanging(settings)

    def offer(changed: Box | None) -> None:
        pixels = np.full((64, 64, 4), 90, np.uint8)
        stage.offer(Frame(pixels, time.monotonic_ns() // 1000, 1, lambda: None, changed))

    units: list[AccessUnit] = []
    stage = EncodeStage(open_encoder, RungRate(1_000_000, 60), lambda _: None, lambda _: None)
    stage.add_viewer("a", Viewer("H264", units.append))
    stage.add_viewer("b", Viewer("VP8", lambda unit: None))
    try:
        offer(None)
        eventually(lambda: units and changes)
        monkeypatch.setattr(hanging, "hangs", True)
        offer(Box(0, 0, 8, 8))
        eventually(lambda: stage.look() and stage.encoders().get("H264") == "x264")
        offer(Box(32, 32, 40, 40))
        eventually(lambda: Box(0, 0, 8, 8) in changes or Box(0, 0, 40, 40) in changes)
    finally:
        stage.request_stop()
        assert stage.join(20.0)


class StuckAtTheEnd(X264Encoder):
    """An encoder whose driver does not come back from being closed."""

    gate: ClassVar[threading.Event]

    def close(self) -> None:
        self.gate.wait(60)
        super().close()


def test_an_encoder_that_hangs_while_it_is_closed_holds_nobody_back() -> None:
    StuckAtTheEnd.gate = threading.Event()

    def open_encoder(codec: str, settings: EncoderSettings, avoided: object) -> VideoEncoder:
        return VP8Encoder(settings) if codec == "VP8" else StuckAtTheEnd(settings)

    pipeline = VideoPipeline(
        lambda: TestPatternCapture(*SIZE, 60), open_encoder, PipelineSettings(60, CEILING_BPS)
    )
    units: list[AccessUnit] = []
    leaving: list[AccessUnit] = []
    try:
        pipeline.add_viewer("a", Viewer("VP8", units.append))
        pipeline.add_viewer("b", Viewer("H264", leaving.append))
        eventually(lambda: units and leaving)
        pipeline.remove_viewer("b")
        looking(pipeline, lambda: len([t for t in threading.enumerate() if t.name == "encode"]) > 1)
        after = len(units)
        looking(pipeline, lambda: len(units) > after + 10)
    finally:
        StuckAtTheEnd.gate.set()
        pipeline.remove_viewer("a")
    eventually(lambda: not [t for t in threading.enumerate() if t.name == "encode"])


class BrokenAndStuck(StuckAtTheEnd):
    """An encoder whose device goes away, and whose driver then does not come back from being closed."""

    gone: ClassVar[threading.Event]

    def encode(self, frame: Frame, *, keyframe: bool) -> AccessUnit:
        if self.gone.is_set():
            raise EncoderUnavailable("the device was removed")
        return super().encode(frame, keyframe=keyframe)


def test_an_encoder_that_breaks_down_and_hangs_while_it_is_closed_freezes_no_picture() -> None:
    StuckAtTheEnd.gate, BrokenAndStuck.gone = threading.Event(), threading.Event()

    def open_encoder(codec: str, settings: EncoderSettings, avoided: object) -> VideoEncoder:
        if codec == "VP8":
            return VP8Encoder(settings)
        return X264Encoder(settings) if avoided else BrokenAndStuck(settings)

    pipeline = VideoPipeline(
        lambda: TestPatternCapture(*SIZE, 60), open_encoder, PipelineSettings(60, CEILING_BPS)
    )
    units: list[AccessUnit] = []
    others: list[AccessUnit] = []
    try:
        pipeline.add_viewer("a", Viewer("H264", units.append))
        pipeline.add_viewer("b", Viewer("VP8", others.append))
        eventually(lambda: units and others)
        BrokenAndStuck.gone.set()
        looking(pipeline, lambda: pipeline.stats().encoders.get("H264") == "x264")
        after = len(units), len(others)
        looking(pipeline, lambda: len(units) > after[0] + 10 and len(others) > after[1] + 10)
    finally:
        StuckAtTheEnd.gate.set()
        pipeline.remove_viewer("a")
        pipeline.remove_viewer("b")
    eventually(lambda: not [t for t in threading.enumerate() if t.name == "encode"])


def test_encoders_that_all_hang_end_the_process_instead_of_the_picture(
    hanging: type[HangingEncoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane, "RETRY_S", 0.05)
    monkeypatch.setattr(hanging, "hangs", True)

    def open_encoder(codec: str, settings: EncoderSettings, avoided: object) -> HangingEncoder:
        if avoided:
            raise EncoderUnavailable("there is no other")
        return hanging(settings)

    pipeline = VideoPipeline(
        lambda: TestPatternCapture(*SIZE, 60), open_encoder, PipelineSettings(60, CEILING_BPS)
    )
    pipeline.add_viewer("a", Viewer("H264", lambda unit: None))
    try:
        eventually(lambda: not pipeline.look())
        threads = [t for t in threading.enumerate() if t.name == "encode"]
        assert len(threads) <= lane.MOST_HUNG + 2
    finally:
        pipeline.remove_viewer("a")


def test_changes_are_marked_where_the_smaller_picture_has_them() -> None:
    """x264 does not look at what is not marked."""
    pixels = np.random.default_rng(7).integers(0, 255, (480, 640, 4), dtype=np.uint8)
    encoder = X264Encoder(EncoderSettings(640, 480, 30, 4_000_000, size_divisor=3))
    decoder: Any = av.CodecContext.create("h264", "r")
    area = Box(415, 301, 447, 333)
    for number, brightness in ((0, 0), (1, 255)):
        pixels[area.top : area.bottom, area.left : area.right, :3] = brightness
        frame = Frame(pixels, number, 1, lambda: None, area if number else None)
        for repeat in range(10):
            frame.changed = NOWHERE if repeat else frame.changed
            unit = encoder.encode(frame, keyframe=False)
            (picture,) = decoder.decode(av.Packet(unit.payload))
        shown = picture.to_ndarray(format="gray")
        assert shown.shape == (160, 212)
        assert abs(int(shown[102:110, 140:147].mean()) - brightness) < 25
    encoder.close()
