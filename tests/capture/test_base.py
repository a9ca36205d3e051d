"""Boxes and frames."""

import numpy as np

from agent.capture.base import NOWHERE, Box, Frame


def frame(changed: Box | None) -> Frame:
    return Frame(np.zeros((4, 6, 4), np.uint8), 1, 1, lambda: None, changed)


def test_join_is_the_smallest_box_around_both() -> None:
    assert Box(1, 2, 3, 4).joined(Box(2, 0, 9, 3)) == Box(1, 0, 9, 4)
    assert NOWHERE.joined(Box(1, 2, 3, 4)) == Box(1, 2, 3, 4)
    assert Box(1, 2, 3, 4).joined(NOWHERE) == Box(1, 2, 3, 4)
    assert NOWHERE.empty


def test_size_is_that_of_the_pixels() -> None:
    assert frame(None).size == (6, 4)
