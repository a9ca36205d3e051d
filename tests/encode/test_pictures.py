"""The newest picture: who holds it, and when it is given back."""

from __future__ import annotations

import time

import numpy as np

from agent.capture.base import Frame
from agent.encode.pictures import MIN_STEP_US, Pictures


def test_a_picture_is_given_back_once_when_a_newer_one_is_there_and_nobody_reads_it() -> None:
    given_back: list[int] = []
    pictures = Pictures()

    def put(number: int) -> None:
        pixels = np.zeros((4, 6, 4), np.uint8)
        pictures.put(Frame(pixels, number, 1, lambda: given_back.append(number)))

    put(1)
    assert pictures.newest is not None
    read = pictures.hold(pictures.newest)
    put(2)
    put(3)
    assert given_back == [2]
    pictures.let_go(read)
    assert given_back == [2, 1]
    pictures.close()
    put(4)
    assert given_back == [2, 1, 3, 4]
    assert pictures.newest is None


def test_times_rise_whatever_is_repeated_while_a_picture_is_read() -> None:
    pictures = Pictures()
    before_us = time.monotonic_ns() // 1000
    pixels = np.zeros((4, 6, 4), np.uint8)
    pictures.put(Frame(pixels, before_us, 5, lambda: None))
    assert pictures.newest is not None
    again = pictures.again(pictures.newest)
    assert (again.grab_us, again.captured_us >= before_us + MIN_STEP_US) == (0, True)
    pictures.put(Frame(pixels, before_us, 5, lambda: None))
    assert pictures.newest.frame.captured_us == again.captured_us + MIN_STEP_US
