"""The emulated link over real TUN devices: what the model says, packets do."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.link_wire import EmulatedLink, Passed
from benchmarks.namespaces import why_not
from benchmarks.processes import Nursery

REASON = why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=f"no emulated link here: {REASON}")
DELAY_MS = 30
BUFFER_BYTES = 30_000
SLOW = {"capacity_mbps": [[0, 4]], "buffer_bytes": BUFFER_BYTES, "delay_ms": DELAY_MS}
FAST = {"capacity_mbps": [[0, 1000]], "buffer_bytes": 1_000_000, "delay_ms": 0}


@pytest.fixture
def emulated(tmp_path: Path) -> Iterator[EmulatedLink]:
    with Nursery(tmp_path) as nursery:
        yield EmulatedLink(nursery)


def play(emulated: EmulatedLink, link: dict[str, Any], *flags: str) -> tuple[Any, Passed]:
    """A second of bursts: what the sender's packets met with, and what the emulator counted."""
    emulated.set_link(link, 1)
    emulated.begin()
    return probe(emulated, *flags), emulated.end()


def probe(emulated: EmulatedLink, *flags: str) -> Any:
    """What the sender's packets meet with."""
    argv = [sys.executable, "-m", "benchmarks.link_probe", *flags, "--seconds", "1"]
    argv += [emulated.host_path, emulated.viewer_path]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_packets_wait_for_their_turn_in_a_bounded_queue_and_keep_their_order(
    emulated: EmulatedLink,
) -> None:
    met, passed = play(emulated, SLOW, "--mbps", "8")
    assert met["in_order"]
    assert met["least_us"] >= 1000 * DELAY_MS
    assert 0 < passed.overflowed == met["sent"] - met["arrived"]
    assert sum(passed.udp_bytes) >= met["arrived"] * 1200


def test_packets_get_lost_as_often_as_asked_for(emulated: EmulatedLink) -> None:
    link = {**FAST, "loss": {"rate": 0.2, "burst_packets": 4}}
    met, passed = play(emulated, link, "--mbps", "20")
    assert passed.overflowed == 0
    assert passed.lost == met["sent"] - met["arrived"]
    assert 0.1 < passed.lost / met["sent"] < 0.3


def test_nothing_gets_lost_before_the_scenario_begins(emulated: EmulatedLink) -> None:
    emulated.set_link({**FAST, "loss": {"rate": 1.0}}, 1)
    met = probe(emulated, "--mbps", "5")
    assert met["arrived"] == met["sent"]
