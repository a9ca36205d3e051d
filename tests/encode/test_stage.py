"""The encode stage: in which order pictures and repeats leave it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Collection

import numpy as np

from agent.encode.base import AccessUnit, EncoderSettings, VideoCodec, VideoEncoder
from agent.encode.rung import RungRate, Viewer
from agent.encode.stage import EncodeStage
from agent.encode.x264 import X264Encoder
from tests.encode.pictures import frame_of
from tests.eventually import eventually

RTP_TICK_US = 1_000_000 / 90_000


def open_encoder(
    codec: VideoCodec, settings: EncoderSettings, avoided: Collection[str]
) -> VideoEncoder:
    return X264Encoder(settings)


def test_a_picture_that_was_read_while_a_repeat_was_made_is_not_older_than_it() -> None:
    units: list[AccessUnit] = []
    faults: list[str] = []
    stage = EncodeStage(open_encoder, RungRate(1_000_000, 60), faults.append, units.append)
    pixels = np.full((64, 64, 4), 90, np.uint8)
    stage.add_viewer("one", Viewer("H264", lambda unit: None))
    stage.start()
    before_us = time.monotonic_ns() // 1000
    stage.offer(frame_of(pixels, before_us))
    eventually(lambda: len(units) >= 2)
    stage.offer(frame_of(pixels, before_us))
    eventually(lambda: len(units) >= 5)
    stage.request_stop()
    assert stage.join(5.0)
    assert not faults
    times = [unit.captured_us for unit in units]
    steps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert min(steps) > RTP_TICK_US
