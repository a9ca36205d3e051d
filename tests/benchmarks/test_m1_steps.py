"""The profile of M1 has every step of a frame, once."""

from __future__ import annotations

from agent.rtp import h264
from benchmarks.m1_steps import STEPS, measure


def test_every_step_of_a_frame_is_timed_and_the_sender_is_as_before() -> None:
    packetize = h264.packetize
    took = measure(0, 3)
    assert 37 <= took.pop("packets") < 38  # the key frame has its parameter sets in one more
    assert set(took) == set(STEPS)
    assert all(took.values())
    assert h264.packetize is packetize
