"""What is given back at rest: pages of libraries, which are there again when they are needed."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

LOADED = """
import json, re
import agent.media
from agent import backends, memory
from agent.capture.testpattern import TestPatternCapture
from agent.encode.base import EncoderSettings

def of_files():
    rollup = open("/proc/self/smaps_rollup").read()
    rss, own = (int(re.search(rf"^{name}: +(\\d+) kB$", rollup, re.M)[1]) for name in ("Rss", "Anonymous"))
    return rss - own

backends.encoder_of("H264")
before = of_files()
memory.give_back()
after = of_files()
encoder = backends.open_encoder("H264", EncoderSettings(320, 240, 30, 1_000_000))
unit = encoder.encode(TestPatternCapture(320, 240).next(1), keyframe=True)
print(json.dumps([before, after, len(unit.payload)]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="as Linux counts it")
def test_what_loading_the_libraries_has_read_is_given_back_and_comes_again() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, check=True)
    before, after, unit = json.loads(done.stdout)
    assert after < before / 2
    assert unit > 100
