"""The test pattern: bars where they belong, something moves, frames are not queued."""

import numpy as np
import pytest

from agent.capture.base import CaptureUnavailable, Frame
from agent.capture.testpattern import BARS_BGR, TestPatternCapture


def take(capture: TestPatternCapture) -> np.ndarray:
    outcome = capture.next(5.0)
    assert isinstance(outcome, Frame)
    pixels = outcome.pixels.copy()
    outcome.release()
    return pixels


def test_bars_stand_still_and_the_lower_half_moves() -> None:
    capture = TestPatternCapture(320, 240, 60)
    first, second = take(capture), take(capture)
    for number, colour in enumerate(BARS_BGR):
        assert first[60, 20 + 40 * number, :3].tolist() == list(colour)
    assert (first[:120] == second[:120]).all()
    assert (first[120:] != second[120:]).any()
    capture.close()


def test_too_small_a_size_is_refused_in_words() -> None:
    with pytest.raises(CaptureUnavailable, match="160x120"):
        TestPatternCapture(64, 64, 60)
