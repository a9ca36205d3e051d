"""When M2 takes a frame to have left: with the send of its last packet, in one call or in many."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.m1_worker import ends_frame

VIDEO, LAST = 96, 0x80


def rtp(second: int, size: int = 1200) -> bytes:
    return bytes([0x80, second]) + bytes(size - 2)


@pytest.mark.parametrize(
    ("packet", "ends"),
    [
        (rtp(VIDEO | LAST), True),
        (rtp(127 | LAST, 100), True),
        (rtp(VIDEO), False),
        (rtp(200), False),  # an RTCP sender report
        (rtp(206), False),
        (b"\x00\x01\x00\x00" + bytes(60), False),  # STUN
        (b"\x17\xfe\xfd" + bytes(60), False),  # DTLS
        (b"\x80", False),
        (b"", False),
    ],
)
def test_the_marker_bit_of_media_ends_a_frame(packet: bytes, ends: bool) -> None:
    assert ends_frame(packet, len(packet)) is ends


def test_of_a_segmented_send_the_last_segment_counts() -> None:
    ended = memoryview(rtp(VIDEO) + rtp(VIDEO) + rtp(VIDEO | LAST, 700))
    assert ends_frame(ended, 1200)
    assert ends_frame(ended[:2400], 1200) is False
    assert ends_frame(rtp(VIDEO | LAST) + rtp(VIDEO), 1200) is False


def test_m2_runs_from_its_start_to_its_table(tmp_path: Path) -> None:
    """Its worker raises when a frame does not leave, or leaves twice."""
    report = tmp_path / "m2.json"
    argv = [sys.executable, "-m", "benchmarks.m2", "--rounds", "1", "--seconds", "0.2"]
    argv += ["--only-ours", "--json", str(report)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(report.read_text())
    assert [row["metric"] for row in found["rows"]] == ["p50", "p95", "p99"]
    assert "12 frames a round" in " ".join(found["notes"])
