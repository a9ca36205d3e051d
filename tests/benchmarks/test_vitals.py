"""What `make soak` and the footprint are measured with."""

from __future__ import annotations

import math
import os
import random
import sys

import pytest

from benchmarks import vitals
from benchmarks.soak import Held, risen
from benchmarks.vitals import Slope, Vitals
from tests.browser.system import resident_bytes


def test_memory_of_its_own_and_of_files_is_what_is_resident() -> None:
    """Of one process: the kernel's sums and those over its mappings are the same but for what happens in between."""
    pid = os.getpid()
    one = vitals.of([pid])
    assert 0 < one.own_bytes < one.resident_bytes
    assert vitals.together_bytes([pid]) == pytest.approx(resident_bytes(pid), rel=0.1)
    assert one.threads >= 1
    assert one.descriptors >= 3


def test_files_that_two_processes_map_count_once() -> None:
    pid = os.getpid()
    own = vitals.of([pid]).own_bytes
    both = vitals.together_bytes([pid, pid])
    assert both - vitals.together_bytes([pid]) == pytest.approx(own, rel=0.1)


def test_a_slope_is_found_under_noise() -> None:
    chance = random.Random(1)
    found = vitals.slope([(x, 100 + 2 * x + chance.gauss(0, 5)) for x in range(100)])
    assert found.rise == pytest.approx(2, abs=3 * found.error)
    assert found.error < 0.1
    assert math.isinf(vitals.slope([(0, 1), (1, 2)]).error)


def test_memory_that_rises_is_told_from_noise() -> None:
    hour = 3600
    found = {
        "leaks": Slope(6e6 / hour, 0.1e6 / hour),
        "does not": Slope(4e6 / hour, 0.1e6 / hour),
        "who knows": Slope(9e6 / hour, 4e6 / hour),
    }
    (words,) = risen(found)
    assert words.startswith("leaks: memory rises by 6.0 ± 0.1 MB an hour")


def _held(threads: int = 3, keys: int = 6) -> Held:
    return Held(0.0, {"agent": Vitals(1, 1, 9, threads, 1.0)}, 16, keys, 700)


def test_what_there_is_more_of_is_named() -> None:
    assert _held().more_than(_held()) == []
    assert _held(threads=2, keys=5).more_than(_held()) == []
    assert _held(threads=4, keys=7).more_than(_held()) == [
        "agent: 4 threads, 3 at the beginning",
        "7 keys, 6 at the beginning",
    ]


def test_the_agents_own_process_carries_nothing_of_pictures() -> None:
    """It supervises: numpy, FFmpeg and OpenCV are the media process's."""
    import subprocess

    heavy = "{'numpy', 'av', 'cv2', 'aiortc'} & sys.modules.keys()"
    code = f"import sys, agent.host; print(sorted({heavy}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
