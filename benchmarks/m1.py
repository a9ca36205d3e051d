"""M1, the sender: what a packet costs from the access unit to the socket, while another thread works as in a session.

Each subject sends the same H.264 access units over a real connection to a receiver in a process of its own, which
throws them away. Counted is the CPU time of the sender's whole process but the busy thread: packetization, SRTP,
the kernel's part of sending (on loopback it also delivers), RTCP, the event loop.

aiortc    stock, with a track of encoded packets;  selkies: Selkies' fork of it, in its own virtual environment
ours      the fast path;  "portable": ours where segmented sends or private names are missing

session   60 frames a second of 42 KB, 20 Mbit/s: caches are cold at every frame
replay    240 frames a second of 42 KB, 80 Mbit/s

Rounds are interleaved (A B A B), the table shows medians, a ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks.peers import selkies
from benchmarks.peers.base import PeerUnavailable
from benchmarks.report import OURS, Environment, Metric, Report, Results

WORKER: Final = Path(__file__).with_name("m1_worker.py")
WORKER_TIMEOUT_S: Final = 60.0
PER_PACKET: Final = Metric("CPU per packet", "us")
PER_FRAME: Final = Metric("CPU per frame", "us", 0)
RATE: Final = Metric("on the wire", "Mbit/s", 1, ratio=False)
SCENARIOS: Final[Mapping[str, int]] = {"session": 60, "replay": 240}
SUBJECTS: Final = (OURS, "portable", "aiortc", "selkies")


def interpreters() -> tuple[dict[str, str], dict[str, str]]:
    """Which Python has each subject, and which subjects are left out, with the reason."""
    pythons = dict.fromkeys(SUBJECTS, sys.executable)
    try:
        pythons["selkies"] = str(selkies.environment())
    except PeerUnavailable as problem:
        del pythons["selkies"]
        return pythons, {"selkies": str(problem)}
    return pythons, {}


def measure(subject: str, python: str, fps: int, seconds: float, *options: str) -> dict[str, Any]:
    """One worker process; raise RuntimeError with its last words when it fails."""
    command = [python, str(WORKER), subject, "--fps", str(fps), "--seconds", str(seconds)]
    command += ["--receiver-python", sys.executable, *options]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=WORKER_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"not finished within {WORKER_TIMEOUT_S:.0f} s") from None
    if done.returncode:
        words = done.stderr.strip().splitlines() or ["no message"]
        raise RuntimeError(words[-1])
    value: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return value


def run(rounds: int, seconds: float) -> Report:
    """All subjects, interleaved; one that fails is skipped with the reason."""
    results = Results()
    pythons, skipped = interpreters()
    versions = {name: importlib.metadata.version(name) for name in ("aiortc", "pylibsrtp")}
    environment = Environment.now(versions)
    for _ in range(rounds):
        for scenario, fps in SCENARIOS.items():
            for subject in SUBJECTS:
                if subject in skipped:
                    continue
                try:
                    value = measure(subject, pythons[subject], fps, seconds)
                except RuntimeError as error:
                    skipped[subject] = str(error)
                    continue
                results.add(scenario, PER_PACKET, subject, value["us_per_packet"])
                results.add(scenario, PER_FRAME, subject, value["us_per_frame"])
                results.add(scenario, RATE, subject, value["mbps"])
    subjects = [subject for subject in SUBJECTS if subject not in skipped]
    return Report("M1: CPU per packet of the sender", environment, results, subjects, skipped)


def main() -> int:
    """0 when ours was measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the run as JSON")
    arguments = parser.parse_args()
    started = time.monotonic()
    report = run(arguments.rounds, arguments.seconds)
    print(report.text())
    print(f"\nin {time.monotonic() - started:.0f} s")
    if arguments.json is not None:
        report.write_json(arguments.json)
    return 0 if OURS in report.subjects else 1


if __name__ == "__main__":
    sys.exit(main())
