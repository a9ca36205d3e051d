"""The video pipeline: one encode for many, key frames for late joiners, faults, nothing left behind."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import av
import numpy as np
import pytest

from agent import backends, memory
from agent.capture import stage as capture_stage
from agent.capture.base import (
    NOWHERE,
    Box,
    Capture,
    CaptureUnavailable,
    Failed,
    Frame,
    Interrupted,
    NothingNew,
    Outcome,
    Scene,
    SourceChanged,
)
from agent.capture.testpattern import TestPatternCapture
from agent.capture.x11 import X11Capture
from agent.encode import lane
from agent.encode.base import (
    AccessUnit,
    EncoderSettings,
    EncoderUnavailable,
    VideoCodec,
    VideoEncoder,
)
from agent.encode.rung import Viewer
from agent.encode.vpx import VP8Encoder
from agent.encode.x264 import X264Encoder
from agent.pipeline import PipelineSettings, VideoPipeline
from tests.eventually import eventually
from tests.xserver import XServer, x_server

SETTINGS = PipelineSettings(fps=60, bitrate_bps=2_000_000)


def open_encoder(
    codec: VideoCodec, settings: EncoderSettings, avoided: Collection[str] = ()
) -> VideoEncoder:
    if avoided:
        raise EncoderUnavailable("there is no other")
    return X264Encoder(settings) if codec == "H264" else VP8Encoder(settings)


class ScriptedCapture:
    """A source that shows `outcomes`, one for each `step`, and nothing new in between."""

    name: ClassVar[str] = "scripted"

    def __init__(self, width: int = 160, height: int = 120) -> None:
        self.draw_cursor = False
        self._size = (width, height)
        self._condition = threading.Condition()
        self._outcomes: list[Outcome] = [self.frame()]
        self._stop = False
        self.closed = False
        self.held = 0

    @property
    def size(self) -> tuple[int, int]:
        return self._size

    @property
    def scene(self) -> Scene:
        return Scene()

    @property
    def place(self) -> Box:
        return NOWHERE

    def frame(self) -> Frame:
        width, height = self._size
        pixels = np.full((height, width, 4), 90, np.uint8)
        return Frame(pixels, time.monotonic_ns() // 1000, 7, self._released)

    def _released(self) -> None:
        self.held -= 1

    def step(self, outcome: Outcome | None = None) -> None:
        with self._condition:
            self._outcomes.append(outcome or self.frame())
            self._condition.notify()

    def next(self, timeout_s: float) -> Outcome:
        with self._condition:
            self._condition.wait_for(lambda: self._outcomes or self._stop, timeout_s)
            if self._stop:
                return Interrupted()
            outcome = self._outcomes.pop(0) if self._outcomes else NothingNew()
        if isinstance(outcome, Frame):
            self.held += 1
        return outcome

    def wake(self, *, stop: bool = False) -> None:
        with self._condition:
            self._stop = self._stop or stop
            self._condition.notify()

    def close(self) -> None:
        self.closed = True


@dataclass
class Bench:
    """A pipeline over scripted captures, and what came out of it."""

    captures: list[ScriptedCapture] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    open_next: Callable[[], ScriptedCapture] = ScriptedCapture
    encoder: Callable[[VideoCodec, EncoderSettings], VideoEncoder] = open_encoder

    def __post_init__(self) -> None:
        self.pipeline = VideoPipeline(self._open, self._open_encoder, SETTINGS)
        self.pipeline.on_fault = self.faults.append

    def _open(self) -> Capture:
        self.captures.append(self.open_next())
        return self.captures[-1]

    def _open_encoder(
        self, codec: VideoCodec, settings: EncoderSettings, avoided: Collection[str]
    ) -> VideoEncoder:
        if avoided:
            raise EncoderUnavailable("there is no other")
        return self.encoder(codec, settings)

    def join(self, viewer_id: str, codec: VideoCodec = "H264") -> list[AccessUnit]:
        units: list[AccessUnit] = []
        self.pipeline.add_viewer(viewer_id, Viewer(codec, units.append))
        return units


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(capture_stage, "FIRST_BACK_OFF_S", 0.01)
    monkeypatch.setattr(lane, "RETRY_S", 0.05)
    bench = Bench()
    yield bench
    for viewer_id in ("a", "b", "c"):
        bench.pipeline.remove_viewer(viewer_id)
    assert named_threads() == []
    for capture in bench.captures:
        assert capture.closed
        assert capture.held == 0


def named_threads() -> list[str]:
    names = ("capture", "encode", "encode lower", "audio")
    return [t.name for t in threading.enumerate() if t.name in names]


def test_the_pointer_is_drawn_while_a_viewer_wants_it(bench: Bench) -> None:
    bench.pipeline.draw_pointer("a", wanted=True)
    bench.pipeline.draw_pointer("b", wanted=True)
    units = bench.join("c")
    eventually(lambda: units)
    bench.pipeline.draw_pointer("a", wanted=True)
    assert bench.captures[0].draw_cursor
    bench.captures[0].step(SourceChanged("another size"))
    eventually(lambda: len(bench.captures) == 2 and bench.captures[1].draw_cursor)
    bench.pipeline.remove_viewer("a")
    assert bench.captures[1].draw_cursor
    bench.pipeline.draw_pointer("b", wanted=False)
    assert not bench.captures[1].draw_cursor


def test_first_unit_is_a_key_frame_and_others_follow(bench: Bench) -> None:
    units = bench.join("a")
    eventually(lambda: units)
    bench.captures[0].step()
    eventually(lambda: sum(unit.grab_us == 7 for unit in units) == 2)
    assert [unit.keyframe for unit in units[:2]] == [True, False]
    assert bench.pipeline.stats().running
    assert bench.pipeline.stats().encoders == {"H264": "x264"}
    assert bench.pipeline.stats().size == (160, 120)


def test_threads_run_only_while_somebody_watches(bench: Bench) -> None:
    assert named_threads() == []
    units = bench.join("a")
    bench.join("b")
    eventually(lambda: units)
    bench.pipeline.remove_viewer("a")
    assert sorted(named_threads()) == ["capture", "encode"]
    bench.pipeline.remove_viewer("b")
    assert named_threads() == []
    assert not bench.pipeline.stats().running
    again = bench.join("c")
    eventually(lambda: again)
    assert again[0].keyframe


def test_source_and_encoder_are_open_when_a_viewer_that_was_prepared_for_is_connected(
    bench: Bench,
) -> None:
    early: list[AccessUnit] = []
    bench.pipeline.prepare("a", Viewer("H264", early.append))
    eventually(lambda: bench.pipeline.stats().encoders == {"H264": "x264"})
    units = bench.join("a")
    eventually(lambda: units)
    assert units[0].keyframe
    assert early == []
    assert len(bench.captures) == 1


def test_what_was_prepared_for_a_viewer_that_never_came_is_closed(bench: Bench) -> None:
    bench.pipeline.prepare("a", Viewer("H264", lambda unit: None))
    eventually(lambda: bench.pipeline.stats().encoders)
    bench.pipeline.remove_viewer("a")
    assert named_threads() == []


def test_a_viewer_is_not_prepared_for_where_others_watch(bench: Bench) -> None:
    units = bench.join("a")
    eventually(lambda: units)
    bench.pipeline.prepare("b", Viewer("VP8", lambda unit: None))
    bench.captures[0].step()
    eventually(lambda: sum(unit.grab_us == 7 for unit in units) == 2)
    assert bench.pipeline.stats().encoders == {"H264": "x264"}
    assert sum(unit.keyframe for unit in units) == 1


def test_late_joiner_of_a_static_screen_begins_with_a_key_frame_at_once(bench: Bench) -> None:
    first = bench.join("a")
    eventually(lambda: first)
    late = bench.join("b")
    eventually(lambda: late)
    assert late[0].keyframe
    assert late[0].captured_us > first[0].captured_us


def test_requested_key_frame_of_a_static_screen_comes_without_a_new_picture(bench: Bench) -> None:
    units = bench.join("a")
    eventually(lambda: units)
    before = len(units)
    bench.pipeline.request_keyframe("a")
    eventually(lambda: any(unit.keyframe for unit in units[before:]))
    timestamps = [unit.captured_us for unit in units]
    assert timestamps == sorted(set(timestamps))


def test_viewers_of_one_codec_share_one_encode(bench: Bench) -> None:
    first, second = bench.join("a"), bench.join("b")
    eventually(lambda: first and second)
    bench.captures[0].step()
    eventually(lambda: len(second) > 1)
    shared = {id(unit) for unit in first} & {id(unit) for unit in second}
    assert len(shared) >= 1
    assert len(bench.captures) == 1


def test_two_codecs_are_encoded_side_by_side_and_an_unwatched_one_ends(bench: Bench) -> None:
    first, second = bench.join("a", "H264"), bench.join("b", "VP8")
    eventually(lambda: first and second)
    assert first[0].codec == "H264"
    assert second[0].codec == "VP8"
    assert second[0].keyframe
    bench.pipeline.remove_viewer("b")
    eventually(lambda: bench.pipeline.stats().encoders == {"H264": "x264"})
    bench.captures[0].step()
    after = len(second)
    seen = len(first)
    eventually(lambda: len(first) > seen)
    assert len(second) == after


def test_bitrate_reaches_the_encoder(bench: Bench) -> None:
    rates: list[int] = []

    class Recording(X264Encoder):
        def set_bitrate(self, bitrate_bps: int) -> None:
            rates.append(bitrate_bps)
            super().set_bitrate(bitrate_bps)

    bench.encoder = lambda codec, settings: Recording(settings)
    units = bench.join("a")
    eventually(lambda: units)
    bench.pipeline.set_bitrate("H264", 777_000)
    bench.captures[0].step()
    eventually(lambda: 777_000 in rates)


def test_changed_source_is_opened_again_with_a_key_frame_of_the_new_size(bench: Bench) -> None:
    units = bench.join("a")
    eventually(lambda: units)
    bench.open_next = lambda: ScriptedCapture(200, 100)
    before = len(units)
    bench.captures[0].step(SourceChanged("another size"))
    eventually(lambda: bench.pipeline.stats().size == (200, 100))
    eventually(lambda: any(unit.keyframe for unit in units[before:]))
    unit = next(unit for unit in units[before:] if unit.keyframe)
    decoder: Any = av.CodecContext.create("h264", "r")
    (picture,) = decoder.decode(av.Packet(unit.payload))
    assert (picture.width, picture.height) == (200, 100)
    assert bench.captures[0].closed
    assert bench.faults == []


def test_failed_source_is_told_once_and_tried_until_it_is_back(bench: Bench) -> None:
    units = bench.join("a")
    eventually(lambda: units)
    tries = 0

    def open_next() -> ScriptedCapture:
        nonlocal tries
        tries += 1
        if tries < 4:
            raise CaptureUnavailable("start the X server")
        return ScriptedCapture()

    bench.open_next = open_next
    before = len(units)
    bench.captures[0].step(Failed("the X server is gone"))
    eventually(lambda: len(bench.captures) == 2)
    eventually(lambda: len(units) > before)
    assert bench.faults == ["the X server is gone", "start the X server"]
    bench.captures[1].step()


def test_stop_does_not_wait_for_a_source_that_cannot_be_opened(bench: Bench) -> None:
    def refuse() -> ScriptedCapture:
        raise CaptureUnavailable("start the X server")

    bench.open_next = refuse
    bench.join("a")
    eventually(lambda: bench.faults == ["start the X server"])
    bench.pipeline.remove_viewer("a")
    assert named_threads() == []


def test_unexpected_error_of_a_backend_is_a_fault_and_not_the_end(bench: Bench) -> None:
    units = bench.join("a")
    eventually(lambda: units)

    class Broken(ScriptedCapture):
        def next(self, timeout_s: float) -> Outcome:
            raise ZeroDivisionError

    bench.open_next = Broken
    bench.captures[0].step(SourceChanged("x"))
    eventually(lambda: any("ZeroDivisionError" in fault for fault in bench.faults))
    before = len(units)
    bench.open_next = ScriptedCapture
    eventually(lambda: any(unit.grab_us == 7 for unit in units[before:]))


def test_encoder_that_breaks_down_is_opened_again_with_a_key_frame(bench: Bench) -> None:
    broken = threading.Event()

    class Fragile(X264Encoder):
        def encode(self, frame: Frame, *, keyframe: bool) -> AccessUnit:
            if broken.is_set():
                broken.clear()
                raise EncoderUnavailable("the device was reset")
            return super().encode(frame, keyframe=keyframe)

    bench.encoder = lambda codec, settings: Fragile(settings)
    units = bench.join("a")
    eventually(lambda: units)
    before = len(units)
    broken.set()
    bench.captures[0].step()
    eventually(lambda: bench.faults == ["the device was reset"])
    eventually(lambda: any(unit.keyframe for unit in units[before:]))


class FailingEncoder(X264Encoder):
    """An encoder whose device goes away in mid-session, and which cannot even be closed."""

    name: ClassVar[str] = "failing"
    gone: ClassVar[bool] = False

    def encode(self, frame: Frame, *, keyframe: bool) -> AccessUnit:
        if self.gone:
            raise EncoderUnavailable("the device was removed")
        return super().encode(frame, keyframe=keyframe)

    def close(self) -> None:
        super().close()
        if self.gone:
            raise OSError("no such device")


def test_next_encoder_takes_over_within_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = (("failing", f"{__name__}:FailingEncoder"), *backends.BACKENDS["encoder"])
    monkeypatch.setitem(backends.BACKENDS, "encoder", rows)
    monkeypatch.setattr(FailingEncoder, "gone", False)
    pipeline = VideoPipeline(
        lambda: TestPatternCapture(320, 240, 60), backends.open_encoder, SETTINGS
    )
    faults: list[str] = []
    pipeline.on_fault = faults.append
    units: list[AccessUnit] = []
    pipeline.add_viewer("a", Viewer("H264", units.append))
    try:
        eventually(lambda: len(units) > 10)
        assert pipeline.stats().encoders == {"H264": "failing"}
        monkeypatch.setattr(FailingEncoder, "gone", True)
        eventually(lambda: pipeline.stats().encoders == {"H264": "x264"})
        after = len(units)
        eventually(lambda: len(units) > after + 10)
    finally:
        pipeline.remove_viewer("a")
    assert faults == []
    first = next(number for number, unit in enumerate(units) if number and unit.keyframe)
    assert units[first].captured_us - units[first - 1].captured_us < 1_000_000
    decoder: Any = av.CodecContext.create("h264", "r")
    for unit in units[first:]:
        assert len(decoder.decode(av.Packet(unit.payload))) == 1


def test_all_viewers_of_a_codec_get_the_profile_that_each_decodes(bench: Bench) -> None:
    opened: list[str] = []

    def record(codec: VideoCodec, settings: EncoderSettings) -> VideoEncoder:
        opened.append(settings.profile)
        return X264Encoder(settings)

    bench.encoder = record
    first: list[AccessUnit] = []
    bench.pipeline.add_viewer("a", Viewer("H264", first.append, "high"))
    eventually(lambda: first)
    second = bench.join("b")
    eventually(lambda: second)
    assert opened == ["high", "baseline"]
    assert second[0].keyframe


def test_encoder_that_cannot_be_opened_is_told_once(bench: Bench) -> None:
    tries: list[VideoCodec] = []

    def refuse(codec: VideoCodec, settings: EncoderSettings) -> VideoEncoder:
        tries.append(codec)
        raise EncoderUnavailable("install the encoder")

    bench.encoder = refuse
    bench.join("a")
    eventually(lambda: bench.captures)

    def paint_until_tried() -> bool:
        bench.captures[0].step()
        return len(tries) >= 3

    eventually(paint_until_tried)
    assert bench.faults == ["install the encoder"]


def test_failing_sink_loses_only_its_own_viewer(bench: Bench) -> None:
    def fail(unit: AccessUnit) -> None:
        raise ConnectionError

    bench.pipeline.add_viewer("a", Viewer("H264", fail))
    units = bench.join("b")
    eventually(lambda: units)
    bench.captures[0].step()
    eventually(lambda: len(units) > 1)


def test_slow_encoder_drops_pictures_before_encoding(bench: Bench) -> None:
    begun, go_on = threading.Event(), threading.Event()

    class Slow(X264Encoder):
        def encode(self, frame: Frame, *, keyframe: bool) -> AccessUnit:
            begun.set()
            go_on.wait(20)
            return super().encode(frame, keyframe=keyframe)

    bench.encoder = lambda codec, settings: Slow(settings)
    units = bench.join("a")
    assert begun.wait(20)
    for _ in range(5):
        bench.captures[0].step()
    eventually(lambda: bench.pipeline.stats().dropped == 4)
    go_on.set()
    eventually(lambda: sum(unit.grab_us == 7 for unit in units) == 2)


@pytest.fixture(scope="module")
def server() -> Iterator[XServer]:
    with x_server("320x240") as server:
        yield server


class DecodingViewer:
    """A viewer that decodes what it gets, when it is asked for a pixel."""

    def __init__(self) -> None:
        self._units: list[AccessUnit] = []
        self._decoder: Any = av.CodecContext.create("h264", "r")
        self._picture = np.zeros((1, 1, 3), np.uint8)

    def __call__(self, unit: AccessUnit) -> None:
        self._units.append(unit)

    def shows(self, x: int, y: int, rgb: int) -> bool:
        """Whether the newest picture has this colour there, within the codec's tolerance."""
        while self._units:
            for picture in self._decoder.decode(av.Packet(self._units.pop(0).payload)):
                self._picture = picture.to_ndarray(format="bgr24")
        if y >= self._picture.shape[0]:
            return False
        wanted = [rgb & 255, rgb >> 8 & 255, rgb >> 16]
        return bool(np.abs(self._picture[y, x].astype(int) - wanted).max() <= 8)


def test_real_screen_reaches_the_decoder_in_colour(server: XServer) -> None:
    server.paint(0, 0, 320, 240, 0x202020)
    server.paint(100, 100, 60, 60, 0xC04080)
    pipeline = VideoPipeline(lambda: X11Capture(60, server.name), open_encoder, SETTINGS)
    viewer = DecodingViewer()
    pipeline.add_viewer("a", Viewer("H264", viewer))
    try:
        eventually(lambda: viewer.shows(130, 130, 0xC04080))
        server.paint(200, 20, 40, 40, 0x00FF00)
        eventually(lambda: viewer.shows(220, 40, 0x00FF00))
        assert viewer.shows(10, 10, 0x202020)
        assert viewer.shows(195, 40, 0x202020)
    finally:
        pipeline.remove_viewer("a")


def resident_kib() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4


@pytest.mark.parametrize("source", ["x11", "testpattern"])
def test_twenty_rounds_leave_no_thread_descriptor_or_memory(source: str, server: XServer) -> None:
    def open_capture() -> Capture:
        if source == "x11":
            return X11Capture(60, server.name)
        return TestPatternCapture(640, 480, 60)

    pipeline = VideoPipeline(open_capture, open_encoder, SETTINGS)
    seen: list[tuple[int, int]] = []
    for _ in range(20):
        units: list[AccessUnit] = []
        pipeline.add_viewer("a", Viewer("H264", units.append))
        pipeline.add_viewer("b", Viewer("VP8", units.append))
        eventually(lambda units=units: len({unit.codec for unit in units}) == 2)  # type: ignore[misc]
        pipeline.remove_viewer("a")
        pipeline.remove_viewer("b")
        gc.collect()
        memory.give_back()  # as the media process does then
        assert named_threads() == []
        seen.append((len(os.listdir("/proc/self/fd")), resident_kib()))
    assert seen[-1][0] == seen[4][0]
    sizes = [kib for _, kib in seen]
    # What arenas keep differs by some megabytes on a busy machine; a captured picture of 1.2 MB lost in
    # each of the twelve rounds between would be 14.
    assert min(sizes[-6:]) - min(sizes[2:8]) < 12 * 1024, sizes
