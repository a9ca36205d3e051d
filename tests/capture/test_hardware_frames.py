"""Pictures that stay on the card, from a capture through an encoder: FFmpeg's real ones, above a stand-in driver."""

from __future__ import annotations

import contextlib
import sys
import weakref
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import ClassVar

import av
import numpy as np
import pytest
from av.filter import Graph

if sys.platform == "win32":
    pytest.skip("the stand-in is for Linux's driver", allow_module_level=True)

from agent.capture.base import (
    MOST_ALIVE,
    Capture,
    CaptureUnavailable,
    Frame,
    NothingNew,
    SourceChanged,
)
from agent.capture.hardware_frames import GRID
from agent.encode import colour
from agent.encode.base import AccessUnit, EncoderSettings, VideoCodec, VideoEncoder
from agent.encode.pyav import PyAVEncoder
from agent.encode.rung import Viewer
from agent.encode.vpx import VP8Encoder
from agent.encode.x264 import X264Encoder
from agent.pipeline import PipelineSettings, VideoPipeline
from tests import card
from tests.card.capture import CardCapture
from tests.eventually import eventually

SETTINGS = EncoderSettings(card.WIDTH, card.HEIGHT, 60, 1_000_000, surface="cuda")


class WrappingEncoder(PyAVEncoder):
    """Stands for a card's encoder: FFmpeg's own that puts the frame's description itself into the packet."""

    name: ClassVar[str] = "wrapping"
    encoder: ClassVar[str] = "wrapped_avframe"
    codec: ClassVar[VideoCodec] = "H264"
    surfaces: ClassVar[frozenset[str]] = frozenset(("cuda",))

    def _options(self, settings: EncoderSettings) -> dict[str, str]:
        return {}


@pytest.fixture
def capture() -> Iterator[CardCapture]:
    opened = CardCapture()
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def _all_memory_of_the_card_is_given_back() -> Iterator[None]:
    yield
    assert card.counts().alive == 0


def picture(capture: CardCapture) -> Frame:
    outcome = capture.next(5.0)
    while isinstance(outcome, NothingNew):
        outcome = capture.next(5.0)
    assert isinstance(outcome, Frame), outcome
    return outcome


def surface(frame: Frame) -> av.VideoFrame:
    assert frame.surface is not None
    return frame.surface


def test_an_encoder_of_the_card_reads_each_picture_where_the_capture_left_it(
    capture: CardCapture,
) -> None:
    encoder = WrappingEncoder(SETTINGS)
    copied_before = card.counts().copied_out
    places = set()
    for _ in range(4):
        frame = picture(capture)
        assert (frame.surface_format, frame.size) == ("cuda", (card.WIDTH, card.HEIGHT))
        unit = encoder.encode(frame, keyframe=False)
        # An AVFrame begins with the addresses of its planes.
        assert int.from_bytes(unit.payload[:8], sys.byteorder) == card.address(surface(frame))
        places.add(card.address(surface(frame)))
        frame.release()
    assert len(places) > 1
    assert card.counts().copied_out == copied_before
    encoder.close()


def test_an_encoder_of_the_computer_copies_each_picture_out_once() -> None:
    capture = CardCapture(source="smptebars")
    encoder = X264Encoder(SETTINGS)
    decoder = av.CodecContext.create("h264", "r")
    copied_before = card.counts().copied_out
    for _ in range(3):
        frame = picture(capture)
        unit = encoder.encode(frame, keyframe=False)
        (decoded,) = decoder.decode(av.Packet(unit.payload))
        frame.release()
    assert card.counts().copied_out == copied_before + 3
    pixels = surface(frame).to_ndarray(format="bgra").astype(np.uint8)
    expected = colour.I420Converter(card.WIDTH, card.HEIGHT).convert(pixels).to_ndarray()
    assert np.abs(decoded.to_ndarray().astype(int) - expected).mean() < 2
    encoder.close()
    capture.close()


def test_a_picture_that_is_given_again_is_nothing_new(capture: CardCapture) -> None:
    frames = [picture(capture) for _ in range(MOST_ALIVE)]
    assert len({card.address(surface(frame)) for frame in frames}) == MOST_ALIVE
    for frame in frames:
        frame.release()


def test_its_encoder_that_cannot_read_surfaces_after_all_gets_them_copied(
    capture: CardCapture,
) -> None:
    class Disappointing(X264Encoder):
        """libx264 refuses the card's pixel format when it is opened."""

        surfaces: ClassVar[frozenset[str]] = frozenset(("cuda",))

    encoder = Disappointing(SETTINGS)
    copied_before = card.counts().copied_out
    for number in range(3):
        frame = picture(capture)
        assert encoder.encode(frame, keyframe=False).keyframe == (number == 0)
        frame.release()
    assert card.counts().copied_out == copied_before + 3
    encoder.set_bitrate(2_000_000)
    frame = picture(capture)
    encoder.encode(frame, keyframe=False)
    frame.release()
    encoder.close()


@pytest.mark.parametrize(
    "changed", [{"size_divisor": 2}, {"width": card.WIDTH - 1}, {"shared": True}]
)
def test_a_part_of_the_picture_is_copied_out_and_one_that_two_threads_read(
    capture: CardCapture, changed: dict[str, int]
) -> None:
    encoder = WrappingEncoder(replace(SETTINGS, **changed))  # type: ignore[arg-type]
    copied_before = card.counts().copied_out
    frame = picture(capture)
    encoder.encode(frame, keyframe=False)
    frame.release()
    assert card.counts().copied_out == copied_before + 1
    encoder.close()


def test_the_pointer_is_drawn_by_another_graph_after_the_first_one_is_gone(
    capture: CardCapture,
) -> None:
    picture(capture).release()
    capture.draw_cursor = True
    capture.wake()
    picture(capture).release()
    picture(capture).release()
    assert capture.graphs == [(GRID * 60, False, 0), (GRID * 60, True, 0)]


def test_other_monitors_are_source_changed(capture: CardCapture) -> None:
    capture.others = True
    assert capture.next(5.0) == SourceChanged("the monitors have changed")


def test_a_source_that_is_lost_is_source_changed() -> None:
    capture = CardCapture(options=":duration=0.1")
    outcome = capture.next(5.0)
    while isinstance(outcome, Frame):
        outcome.release()
        outcome = capture.next(5.0)
    assert isinstance(outcome, SourceChanged)
    assert "lost" in outcome.reason
    capture.close()


def test_a_graph_that_cannot_be_had_is_unavailable_in_ffmpegs_words() -> None:
    with pytest.raises(CaptureUnavailable, match=r"on the card: .*no_such_option"):
        CardCapture(options=":no_such_option=1")


def test_a_graph_that_fails_is_gone_before_another_capture_is_tried() -> None:
    graphs: list[weakref.ref[Graph]] = []

    class Ended(CardCapture):
        """It has no picture any more."""

        def _graph_of(self, fps: int, *, cursor: bool) -> Graph:
            graph = super()._graph_of(fps, cursor=cursor)
            graphs.append(weakref.ref(graph))
            with contextlib.suppress(av.EOFError):
                while True:
                    graph.vpull()
            return graph

    with pytest.raises(CaptureUnavailable) as raised:
        Ended(options=":duration=0.05")
    assert "on the card" in str(raised.value)
    assert [graph() for graph in graphs] == [None]


def test_two_codecs_of_one_pipeline_one_reads_on_the_card_and_one_gets_copies() -> None:
    captures: list[CardCapture] = []

    def open_capture() -> Capture:
        captures.append(CardCapture())
        return captures[-1]

    def open_encoder(
        codec: VideoCodec, settings: EncoderSettings, avoided: Collection[str]
    ) -> VideoEncoder:
        assert not avoided
        return WrappingEncoder(settings) if codec == "H264" else VP8Encoder(settings)

    pipeline = VideoPipeline(open_capture, open_encoder, PipelineSettings(60, 1_000_000))
    units: dict[str, list[AccessUnit]] = {"H264": [], "VP8": []}
    pipeline.add_viewer("a", Viewer("H264", units["H264"].append))
    pipeline.add_viewer("b", Viewer("VP8", units["VP8"].append))
    eventually(lambda: min(len(made) for made in units.values()) > 10)
    pipeline.draw_pointer("a", wanted=True)
    eventually(lambda: captures[0].graphs[-1][1])
    made = len(units["H264"])
    eventually(lambda: len(units["H264"]) > made + 2)
    copied, lower = card.counts().copied_out, len(units["VP8"])
    pipeline.move_viewer("b", "lower")  # its thread copies beside the one that encodes on the card
    eventually(lambda: len(units["VP8"]) > lower + 10)
    assert card.counts().copied_out >= copied + 10
    pipeline.remove_viewer("a")
    pipeline.remove_viewer("b")
    assert len(captures) == 1
    decoder = av.CodecContext.create("vp8", "r")
    assert all(decoder.decode(av.Packet(unit.payload)) for unit in units["VP8"])
