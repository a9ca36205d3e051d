"""H.264: what the stream says of itself, and a live rate without key frames."""

from __future__ import annotations

import statistics
import struct
from dataclasses import replace
from typing import Any, cast

import av
import numpy as np
import pytest

from agent.capture.base import NOWHERE, Box, Frame
from agent.encode import pyav
from agent.encode.base import AccessUnit, EncoderSettings, EncoderUnavailable, Profile
from agent.encode.colour import I420Converter
from agent.encode.hints import ChangeHint
from agent.encode.live_options import LiveOptions
from agent.encode.x264 import X264Encoder, slice_threads
from tests.encode.pictures import decode, frame_of, moving, nal_types

SETTINGS = EncoderSettings(320, 240, 60, 1_000_000)


@pytest.mark.parametrize("threads", [1, 2])
def test_parameter_sets_come_before_every_idr_and_nowhere_else(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(X264Encoder, "threads", threads)
    encoder = X264Encoder(SETTINGS)
    for number, frame in enumerate(moving(320, 240, 6)):
        unit = encoder.encode(frame, keyframe=number == 3)
        types = nal_types(unit.payload)
        if unit.keyframe:
            assert types[:2] == [7, 8]
            assert types[-threads:] == [5] * threads
        else:
            assert types == [1] * threads


@pytest.mark.parametrize(
    ("settings", "level"),
    [
        (EncoderSettings(640, 480, 30, 1_000_000), 30),
        (EncoderSettings(1280, 720, 30, 3_000_000), 31),
        (EncoderSettings(1280, 720, 60, 6_000_000), 32),
        (EncoderSettings(1920, 1080, 60, 12_000_000), 42),
    ],
)
def test_profile_is_constrained_baseline_and_level_fits(
    settings: EncoderSettings, level: int
) -> None:
    encoder = X264Encoder(settings)
    (frame,) = moving(settings.width, settings.height, 1)
    payload = encoder.encode(frame, keyframe=True).payload
    start = payload.index(b"\0\0\1\x67") + 3
    profile_idc, constraints, level_idc = payload[start + 1 : start + 4]
    assert profile_idc == 66
    assert constraints & 0x40  # constraint_set1_flag: Constrained Baseline (H.264 A.2.1.1)
    assert level_idc == level


def test_stream_names_the_matrix_that_was_used() -> None:
    encoder = X264Encoder(SETTINGS)
    unit = encoder.encode(moving(320, 240, 1)[0], keyframe=False)
    decoder = av.CodecContext.create("h264", "r")
    (picture,) = decoder.decode(av.Packet(unit.payload))
    assert picture.colorspace == 6  # SMPTE 170M, the matrix of BT.601
    assert picture.color_range == 1
    assert picture.color_primaries == 1
    assert picture.color_trc == 13


def test_live_rate_makes_no_key_frame_and_no_picture_far_over_its_budget() -> None:
    encoder = X264Encoder(SETTINGS)
    encoder.encode(moving(320, 240, 1)[0], keyframe=False)
    for wanted in (400_000, 3_000_000, 600_000):
        encoder.set_bitrate(wanted)
        units = [encoder.encode(frame, keyframe=False) for frame in moving(320, 240, 60)]
        assert not any(unit.keyframe for unit in units)
        budget_bytes = wanted / 60 / 8
        assert max(len(unit.payload) for unit in units[3:]) < 1.5 * budget_bytes


@pytest.mark.parametrize("wanted_bps", [2_000_000, 6_000_000])
def test_noise_uses_the_rate_and_a_picture_is_little_over_its_budget(wanted_bps: int) -> None:
    random = np.random.default_rng(1)
    encoder = X264Encoder(replace(SETTINGS, bitrate_bps=wanted_bps))
    sizes = []
    for number in range(120):
        pixels = random.integers(0, 256, (240, 320, 4), dtype=np.uint8)
        unit = encoder.encode(frame_of(pixels, number + 1), keyframe=False)
        sizes.append(len(unit.payload) * 8 * SETTINGS.fps / wanted_bps)
    assert 0.88 < sum(sizes[20:]) / 100 < 1.05
    assert max(sizes[20:]) < 1.3


def test_rate_follows_by_opening_again_where_live_options_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(LiveOptions, "of", classmethod(lambda cls, context: None))
    encoder = X264Encoder(SETTINGS)
    frames = moving(320, 240, 2)
    encoder.encode(frames[0], keyframe=False)
    encoder.set_bitrate(500_000)
    assert encoder.encode(frames[1], keyframe=False).keyframe


def test_live_options_refuse_what_is_no_codec_context() -> None:
    assert LiveOptions.of(object()) is None  # type: ignore[arg-type]
    context = av.CodecContext.create("libx264", "w")
    live = LiveOptions.of(context)
    assert live is not None
    assert live.set("b", 123_456)
    assert context.bit_rate == 123_456
    assert not live.set("no_such_option", 1)


def test_unknown_encoder_option_is_an_error() -> None:
    request = pyav.OpenRequest("libx264", 320, 240, SETTINGS, 1, {"no-such-option": "1"})
    with pytest.raises(EncoderUnavailable, match="no-such-option"):
        pyav.open_context(request)


def test_missing_encoder_is_named_with_what_to_do() -> None:
    reason = pyav.why_unusable("h264_imaginary")
    assert reason is not None
    assert "h264_imaginary" in reason


@pytest.mark.parametrize(("profile", "idc"), [("baseline", 66), ("main", 77), ("high", 77)])
def test_profile_is_at_most_the_one_asked_for(profile: Profile, idc: int) -> None:
    encoder = X264Encoder(replace(SETTINGS, profile=profile))
    payload = encoder.encode(moving(320, 240, 1)[0], keyframe=True).payload
    assert payload[payload.index(b"\0\0\1\x67") + 4] == idc  # Main is a subset of High (A.2.4)


def test_slices_leave_cores_to_the_application() -> None:
    assert 1 <= slice_threads() <= 2


def test_only_what_changed_is_encoded_and_the_rest_is_refined_to_a_ceiling() -> None:
    encoder = X264Encoder(SETTINGS)
    decoder = av.CodecContext.create("h264", "r")
    texture = moving(320, 240, 1)[0].pixels
    sizes = []
    for number in range(150):
        texture[16:32, 32:64] = number
        frame = frame_of(texture.copy(), number + 1)
        frame.changed = Box(32, 16, 64, 32) if number else None
        unit = encoder.encode(frame, keyframe=False)
        sizes.append(len(unit.payload))
        (picture,) = decoder.decode(av.Packet(unit.payload))
    wanted = I420Converter(320, 240).convert(texture).to_ndarray().astype(float)
    error = np.abs(picture.to_ndarray() - wanted)[:240]
    assert error.mean() < 1.5  # finer than 40 dB
    assert error[16:32, 32:64].max() < 8
    # A twentieth of the budget; one in a hundred is larger, as the slices' threads share the rate by chance.
    assert statistics.median(sizes[-15:]) < 400


def test_unchanged_picture_may_be_hinted_and_still_refined(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(X264Encoder, "threads", 1)  # whose sizes do not depend on the scheduler
    encoder = X264Encoder(SETTINGS)
    frame = moving(320, 240, 1)[0]
    sizes = []
    for number in range(120):
        frame.changed = NOWHERE if number else None
        sizes.append(len(encoder.encode(frame, keyframe=False).payload))
    assert sum(sizes[-20:]) < sum(sizes[1:21]) / 4


def test_hints_are_left_out_where_memory_is_not_laid_out_as_expected() -> None:
    converter = I420Converter(320, 240)
    hint = ChangeHint.of(converter.frame, converter.planes)
    assert hint is not None
    side_data: list[Any] = list(cast(Any, converter.frame.side_data))
    assert len(side_data) == 1
    assert struct.unpack("@4I", bytes(side_data[0])[-16:]) == (0, 0, 320, 240)
    hint.set(Box(300, 200, 400, 300))
    assert struct.unpack("@4I", bytes(side_data[0])[-16:]) == (300, 200, 20, 40)
    assert ChangeHint.of(converter.frame, np.empty((360, 320), np.uint8)) is None
    assert ChangeHint.of(object(), converter.planes) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [(64, 48), (65, 51)])
def test_converting_what_changed_gives_the_same_as_converting_all(size: tuple[int, int]) -> None:
    width, height = size
    random = np.random.default_rng(5)
    pixels = random.integers(0, 255, (height, width, 4), dtype=np.uint8)
    parts, whole = I420Converter(width, height), I420Converter(width, height)
    parts.convert(pixels, NOWHERE)  # the first picture is converted whatever is said
    for box in (Box(3, 5, 9, 8), Box(0, 0, width, 2), Box(0, height - 1, 1, height), NOWHERE):
        if not box.empty:
            pixels[box.top : box.bottom, box.left : box.right] = random.integers(0, 255)
        parts.convert(pixels, box)
        whole.convert(pixels)
        assert np.array_equal(parts.planes, whole.planes)


ROOM = replace(SETTINGS, room=True)
SHARE_BYTES = SETTINGS.bitrate_bps / SETTINGS.fps / 8


def decoded(units: list[AccessUnit]) -> list[Any]:
    return decode(unit.payload for unit in units)


def error(shown: Any, frame: Frame) -> float:
    """Mean difference of luma, in steps."""
    planes = I420Converter(320, 240).convert(frame.pixels).to_ndarray()
    return float(np.abs(shown.to_ndarray()[:240].astype(int) - planes[:240]).mean())


def test_with_room_the_first_picture_is_sharp_at_once() -> None:
    (frame,) = moving(320, 240, 1)
    units = [X264Encoder(settings).encode(frame, keyframe=False) for settings in (SETTINGS, ROOM)]
    assert all(unit.keyframe for unit in units)
    assert len(units[0].payload) < 1.5 * SHARE_BYTES
    assert 3 * SHARE_BYTES < len(units[1].payload) < 30 * SHARE_BYTES
    coarse, sharp = (error(decoded([unit])[0], frame) for unit in units)
    assert sharp < coarse / 2


def test_with_room_the_rate_holds_in_the_mean_and_follows_live() -> None:
    encoder = X264Encoder(ROOM)
    for wanted in (600_000, 300_000, 800_000):
        encoder.set_bitrate(wanted)
        units = [encoder.encode(frame, keyframe=False) for frame in moving(320, 240, 90)]
        mean = statistics.mean(len(unit.payload) for unit in units[30:])
        assert 0.75 < mean * 8 * 60 / wanted < 1.25
        assert not any(unit.keyframe for unit in units[1:])


def test_with_room_a_picture_that_stands_still_becomes_sharp_and_then_costs_nothing() -> None:
    encoder = X264Encoder(ROOM)
    (frame,) = moving(320, 240, 1)
    still = replace(frame, changed=NOWHERE)
    units = [encoder.encode(still if number else frame, keyframe=False) for number in range(60)]
    assert error(decoded(units)[-1], frame) < 1
    assert len(units[-1].payload) < 0.05 * SHARE_BYTES


def test_with_room_the_stream_says_the_same_of_itself() -> None:
    (frame,) = moving(320, 240, 1)
    units = [X264Encoder(settings).encode(frame, keyframe=True) for settings in (SETTINGS, ROOM)]
    for unit in units:
        (shown,) = decoded([unit])
        assert (shown.colorspace, shown.color_range) == (6, 1)
        assert (shown.color_primaries, shown.color_trc) == (1, 13)
    levels = [unit.payload[unit.payload.index(b"\0\0\1\x67") + 4 :][:3] for unit in units]
    assert levels[0] == levels[1]


def test_with_room_a_closed_encoder_says_so() -> None:
    encoder = X264Encoder(ROOM)
    encoder.close()
    encoder.close()
    with pytest.raises(EncoderUnavailable, match="closed"):
        encoder.encode(moving(320, 240, 1)[0], keyframe=True)


@pytest.mark.parametrize("size", [(4, 4), (6, 8), (8, 6), (8, 8), (9, 17)])
def test_with_room_the_smallest_pictures_are_encoded_as_well(size: tuple[int, int]) -> None:
    width, height = size
    encoder = X264Encoder(replace(ROOM, width=width, height=height))
    pixels = np.random.default_rng(1).integers(0, 255, (height, width, 4)).astype(np.uint8)
    units = [encoder.encode(frame_of(pixels), keyframe=False) for _ in range(3)]
    assert len(decoded(units)) == 3
