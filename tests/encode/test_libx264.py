"""libx264 called directly: what PyAV's copy of it promises, and what becomes of one that is another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.capture.base import NOWHERE, Box, Pixels
from agent.encode import libx264
from agent.encode.base import EncoderSettings, EncoderUnavailable
from agent.encode.libx264 import Libx264
from agent.encode.quantiser import COARSEST, FINEST
from agent.encode.x264 import X264Encoder
from tests.encode.pictures import decode, moving, nal_types

WIDTH, HEIGHT = 320, 240
OPTIONS = {"threads": "2", "sliced-threads": "1", "fps": "60", "cabac": "0"}
ROOM = EncoderSettings(WIDTH, HEIGHT, 60, 1_000_000, room=True)


@pytest.fixture
def x264() -> Iterator[Libx264]:
    encoder = Libx264(WIDTH, HEIGHT, "ultrafast", "baseline", OPTIONS)
    yield encoder
    encoder.close()


def noise(seed: int) -> Pixels:
    picture = np.random.default_rng(seed).integers(16, 235, (HEIGHT * 3 // 2, WIDTH))
    return picture.astype(np.uint8)


def shown(units: list[bytes]) -> list[Any]:
    return [picture.to_ndarray() for picture in decode(units)]


def test_the_copy_that_pyav_carries_can_be_used(x264: Libx264) -> None:
    assert x264.encode(noise(1), 30, keyframe=True)


def test_each_picture_has_the_quantiser_that_it_was_given(x264: Libx264) -> None:
    pictures = [noise(number) for number in range(6)]
    quantisers = (20, FINEST, 30, COARSEST, 40, 20)
    units = [
        x264.encode(picture, quantiser, keyframe=number == 0)
        for number, (picture, quantiser) in enumerate(zip(pictures, quantisers, strict=True))
    ]
    by_quantiser = sorted(range(6), key=lambda number: quantisers[number])
    sizes = [len(units[number]) for number in by_quantiser]
    assert sizes[0] > sizes[1] * 1.2
    assert sizes[2] > sizes[3] * 1.5 > sizes[4] * 2 > sizes[5] * 3
    decoded = shown(units)
    errors = [
        float(np.abs(a.astype(int) - b).mean()) for a, b in zip(decoded, pictures, strict=True)
    ]
    assert errors[1] < errors[0] < errors[2] < errors[4] < errors[3]


def test_key_frames_come_on_demand_with_their_parameter_sets(x264: Libx264) -> None:
    units = [x264.encode(noise(1), 30, keyframe=number in {0, 3}) for number in range(5)]
    for number, unit in enumerate(units):
        types = nal_types(unit)
        assert (types[:2] == [7, 8]) == (number in {0, 3})
        assert types[-2:] == [5, 5] if number in {0, 3} else types == [1, 1]
    assert len(decode(units)) == 5


def test_what_is_said_to_be_the_same_is_not_looked_at(x264: Libx264) -> None:
    """By lying to it: the picture does change where it is told that nothing does."""
    x264.hint(None)
    first = x264.encode(noise(1), 30, keyframe=True)
    x264.hint(Box(0, 0, 64, 64))
    second = x264.encode(noise(2), 30, keyframe=False)
    x264.hint(NOWHERE)
    third = x264.encode(noise(3), 30, keyframe=False)
    before, after, last = shown([first, second, third])
    assert (before[:HEIGHT, 80:] == after[:HEIGHT, 80:]).all()
    assert (before[:64, :64] != after[:64, :64]).mean() > 0.5
    assert (last == after).all()


def test_bad_calls_are_refused_in_words(x264: Libx264) -> None:
    with pytest.raises(EncoderUnavailable, match="expected a picture of 320x240"):
        x264.encode(np.zeros((HEIGHT, WIDTH), np.uint8), 30, keyframe=True)
    with pytest.raises(EncoderUnavailable, match="does not know speed=warp"):
        Libx264(WIDTH, HEIGHT, "ultrafast", "baseline", {"speed": "warp"})
    with pytest.raises(EncoderUnavailable, match="cannot encode 0x0"):
        Libx264(0, 0, "ultrafast", "baseline", OPTIONS)
    x264.close()
    x264.close()
    with pytest.raises(EncoderUnavailable, match="closed"):
        x264.encode(noise(1), 30, keyframe=True)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """PyAV's libraries are not where its wheels have them, as in a distribution's package."""
    libx264._library.cache_clear()
    monkeypatch.setattr(libx264, "_beside_pyav", lambda: list(tmp_path.iterdir()))
    yield tmp_path
    libx264._library.cache_clear()


@pytest.mark.usefixtures("elsewhere")
def test_without_it_x264_keeps_its_rate_buffer_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(EncoderUnavailable, match="carries 0 libraries"):
        Libx264(WIDTH, HEIGHT, "ultrafast", "baseline", OPTIONS)
    caplog.set_level("INFO")
    encoder = X264Encoder(ROOM)
    assert "keeps its rate buffer" in caplog.text
    sizes = [len(encoder.encode(frame, keyframe=False).payload) for frame in moving(320, 240, 60)]
    assert max(sizes) < 1.5 * ROOM.bitrate_bps / ROOM.fps / 8


def test_another_build_of_it_is_not_used(elsewhere: Path) -> None:
    (elsewhere / "libx264.so.164").write_bytes(b"no library at all")
    with pytest.raises(EncoderUnavailable, match="is not build 165"):
        Libx264(WIDTH, HEIGHT, "ultrafast", "baseline", OPTIONS)
