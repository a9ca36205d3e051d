"""What every encoder promises: no delay, key frames on demand, the rate follows, right colours."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, cast

import av
import numpy as np
import pytest
from av.video.codeccontext import VideoCodecContext

from agent import backends
from agent.capture.base import Frame
from agent.encode.base import PROFILES, AccessUnit, EncoderSettings, EncoderUnavailable
from agent.encode.colour import I420Converter
from agent.encode.x264 import X264Encoder
from cluster.protocol import telemetry
from tests.encode import pictures
from tests.encode.pictures import RECTANGLES_BGR, centres, frame_of, moving, rectangles, to_bgr

SETTINGS = EncoderSettings(320, 240, 60, 1_000_000)
DECODERS = {"H264": "h264", "VP8": "vp8", "VP9": "vp9"}
SOFTWARE = {"x264", "vpx"}

ALL = [(name, load()) for name, load in backends.backends("encoder")]
USABLE = [backend for _, backend in ALL if backend.probe() is None]
encoders = pytest.mark.parametrize("backend", USABLE, ids=lambda b: f"{b.name}-{b.codec}")
Backend = Any


def test_what_needs_no_hardware_can_be_used_here() -> None:
    assert {backend.name for backend in USABLE} >= SOFTWARE
    assert {backend.codec for backend in USABLE} >= {"H264", "VP8", "VP9"}


@pytest.mark.parametrize(("name", "backend"), ALL)
def test_probe_says_in_words_why_not_and_opening_agrees(name: str, backend: Backend) -> None:
    reason = backend.probe()
    assert backend.name == name
    assert name in telemetry.ENCODERS
    assert (backend.codec == "H264") == bool(backend.profiles)
    assert set(backend.profiles) <= set(PROFILES)
    if reason is not None:
        assert len(reason.split()) > 3
        with pytest.raises(EncoderUnavailable):
            backend(SETTINGS).encode(frame_of(rectangles(320, 240)), keyframe=True)


def decoder_of(codec: str) -> VideoCodecContext:
    return cast(VideoCodecContext, av.CodecContext.create(DECODERS[codec], "r"))


def decode(units: list[AccessUnit]) -> list[av.VideoFrame]:
    return pictures.decode((unit.payload for unit in units), DECODERS[units[0].codec])


@encoders
def test_each_picture_comes_out_at_once_and_decodes_at_once(backend: Backend) -> None:
    encoder = backend(SETTINGS)
    decoder = decoder_of(backend.codec)
    for frame in moving(320, 240, 20):
        unit = encoder.encode(frame, keyframe=False)
        assert unit.captured_us == frame.captured_us
        assert len(decoder.decode(av.Packet(unit.payload))) == 1
    encoder.close()


@encoders
def test_only_the_first_and_the_demanded_are_key_frames(backend: Backend) -> None:
    encoder = backend(SETTINGS)
    units = [
        encoder.encode(frame, keyframe=number in (30, 31))
        for number, frame in enumerate(moving(320, 240, 300))
    ]
    assert [number for number, unit in enumerate(units) if unit.keyframe] == [0, 30, 31]
    assert len(decode(units[30:])) == 270
    encoder.close()


@encoders
def test_known_colours_survive(backend: Backend) -> None:
    encoder = backend(SETTINGS)
    pixels = rectangles(320, 240)
    units = [encoder.encode(frame_of(pixels, n), keyframe=False) for n in range(10)]
    picture = decode(units)[-1]
    planes = picture.to_ndarray(format="yuv420p").astype(np.uint8)
    decoded = to_bgr(planes)
    for (y, x), colour in zip(centres(320, 240), RECTANGLES_BGR, strict=True):
        assert decoded[y, x].tolist() == pytest.approx(list(colour), abs=6)
    encoder.close()


def rate_bps(encoder: Any, frames: int) -> float:
    """The rate of the output over as many pictures of noise-like motion."""
    units = [encoder.encode(frame, keyframe=False) for frame in moving(320, 240, frames)]
    return sum(len(unit.payload) for unit in units[frames // 3 :]) * 8 * 60 / (frames * 2 / 3)


@encoders
def test_rate_follows_down_and_up(backend: Backend) -> None:
    encoder = backend(SETTINGS)
    for wanted in (1_000_000, 400_000, 2_000_000, 700_000):
        encoder.set_bitrate(wanted)
        assert 0.5 * wanted < rate_bps(encoder, 120) < 1.2 * wanted
    encoder.close()


@encoders
@pytest.mark.parametrize("size", [(321, 241), (161, 123), (322, 242), (1366, 768)])
def test_odd_sizes_are_cropped_to_even(backend: Backend, size: tuple[int, int]) -> None:
    width, height = size
    encoder = backend(EncoderSettings(width, height, 30, 1_000_000))
    unit = encoder.encode(frame_of(rectangles(width, height)), keyframe=False)
    (picture,) = decode([unit])
    assert (picture.width, picture.height) == (width - width % 2, height - height % 2)
    encoder.close()


@encoders
def test_picture_of_another_size_is_refused(backend: Backend) -> None:
    encoder = backend(SETTINGS)
    with pytest.raises(EncoderUnavailable, match="expected a picture of 320x240, got 100x100"):
        encoder.encode(frame_of(rectangles(100, 100)), keyframe=False)


@encoders
def test_closed_encoder_refuses_and_closes_twice(backend: Backend) -> None:
    encoder = backend(SETTINGS)
    encoder.close()
    encoder.close()
    encoder.set_bitrate(500_000)
    with pytest.raises(EncoderUnavailable, match="closed"):
        encoder.encode(frame_of(rectangles(320, 240)), keyframe=False)


@encoders
def test_size_too_small_to_encode_is_refused_in_words(backend: Backend) -> None:
    with pytest.raises(EncoderUnavailable, match="too small"):
        backend(EncoderSettings(1, 1, 30, 1_000_000))


def on_the_card(number: int, pixel_format: str) -> Frame:
    """The rectangles as a picture that stays on the card, for which one in this pixel format stands."""
    surface = av.VideoFrame.from_ndarray(rectangles(320, 240), format="bgra").reformat(
        format=pixel_format
    )
    return Frame(np.empty((0, 320, 4), np.uint8), number + 1, 1, lambda: None, None, surface)


@encoders
def test_surface_that_it_cannot_read_is_copied_out_of_the_cards_memory(backend: Backend) -> None:
    encoder = backend(replace(SETTINGS, surface="bgr0"))
    frames = [on_the_card(number, "bgr0") for number in range(10)]
    assert frames[0].size == (320, 240)
    units = [encoder.encode(frame, keyframe=False) for frame in frames]
    decoded = to_bgr(decode(units)[-1].to_ndarray(format="yuv420p").astype(np.uint8))
    for (y, x), colour in zip(centres(320, 240), RECTANGLES_BGR, strict=True):
        assert decoded[y, x].tolist() == pytest.approx(list(colour), abs=6)
    with pytest.raises(EncoderUnavailable, match="another memory"):
        encoder.encode(frame_of(rectangles(320, 240)), keyframe=False)
    encoder.close()


class CardEncoder(X264Encoder):
    """Stands for one that reads surfaces where they are."""

    name: ClassVar[str] = "card"
    surfaces: ClassVar[frozenset[str]] = frozenset(("yuv420p",))
    unknown: ClassVar[dict[str, str]] = {}

    def _options(self, settings: EncoderSettings) -> dict[str, str]:
        return super()._options(settings) | self.unknown


def test_surface_that_it_can_read_is_encoded_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a surface was converted")

    monkeypatch.setattr(I420Converter, "convert", never)
    encoder = CardEncoder(replace(SETTINGS, surface="yuv420p"))
    units = [
        encoder.encode(on_the_card(number, "yuv420p"), keyframe=number == 5) for number in range(10)
    ]
    assert [number for number, unit in enumerate(units) if unit.keyframe] == [0, 5]
    picture = decode(units)[-1]
    assert (picture.width, picture.height) == (320, 240)
    encoder.set_bitrate(500_000)
    assert not encoder.encode(on_the_card(10, "yuv420p"), keyframe=False).keyframe
    encoder.close()


def test_surfaces_are_shrunk_in_the_computers_memory() -> None:
    encoder = CardEncoder(replace(SETTINGS, surface="yuv420p", size_divisor=2))
    (picture, *_) = decode([encoder.encode(on_the_card(0, "yuv420p"), keyframe=True)])
    assert (picture.width, picture.height) == (160, 120)
    encoder.close()


def test_unknown_option_of_an_encoder_of_surfaces_is_an_error_at_its_first_picture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(CardEncoder, "unknown", {"no_such_option": "1"})
    encoder = CardEncoder(replace(SETTINGS, surface="yuv420p"))
    with pytest.raises(EncoderUnavailable, match="no_such_option"):
        encoder.encode(on_the_card(0, "yuv420p"), keyframe=False)


@encoders
def test_a_part_of_the_size_is_the_same_picture(backend: Backend) -> None:
    encoder = backend(EncoderSettings(640, 480, 30, 1_000_000, size_divisor=2))
    pixels = rectangles(640, 480)
    units = [encoder.encode(frame_of(pixels, n), keyframe=False) for n in range(10)]
    picture = decode(units)[-1]
    assert (picture.width, picture.height) == (320, 240)
    decoded = to_bgr(picture.to_ndarray(format="yuv420p").astype(np.uint8))
    for (y, x), colour in zip(centres(320, 240), RECTANGLES_BGR, strict=True):
        assert decoded[y, x].tolist() == pytest.approx(list(colour), abs=6)
    encoder.close()
