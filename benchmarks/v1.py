"""V1, several viewers: one moving picture to 1, 10 and 50 of them over real connections; what does one more cost?

ours        the root of the media process with a session for each viewer: one encode, a sender each
MediaRelay  aiortc's way to show one track to many: each connection encodes for itself

1280x720 at 30 fps and 3 Mbit/s (the most that aiortc's encoder takes), H.264. Counted is the CPU time of the whole
sending process, kernel included, for each picture that all viewers were sent; where the machine is too slow for all,
fewer pictures are sent, and the CPU time for one is still right. The receivers, in a process of their own, throw the
packets away and send no transport-wide feedback. One viewer more: (CPU with n - CPU with 1) / (n - 1).

Rounds are interleaved (A B A B), the table shows medians, a ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from typing import Any, Final

from benchmarks import command
from benchmarks.processes import Nursery
from benchmarks.report import OURS, THIS_TREE, Environment, Metric, Report, Results

WORKER_LIMIT_S: Final = 240.0
PEER: Final = "MediaRelay"
PER_PICTURE: Final = Metric("CPU a picture", "ms", 2)
ONE_MORE: Final = Metric("CPU a picture and viewer more", "ms", 3)
SHARE: Final = Metric("a viewer more at 30 fps", "% of a core", 2)
RATE: Final = Metric("to each viewer", "Mbit/s", 2, ratio=False)
FPS: Final = Metric("to each viewer", "fps", 1, ratio=False)


def measure(subject: str, viewers: int, seconds: float) -> dict[str, Any]:
    """One worker process; raise RuntimeError with its last words when it fails."""
    argv = [sys.executable, "-m", "benchmarks.v1_worker", subject, "--viewers", str(viewers)]
    argv += ["--seconds", str(seconds)]
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=WORKER_LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"not finished within {WORKER_LIMIT_S:.0f} s") from None
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["no message"])[-1])
    value: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return value


def run(rounds: int, seconds: float, counts: list[int], subjects: list[str]) -> Report:
    """All subjects, interleaved; one that fails is skipped with the reason."""
    results = Results()
    skipped: dict[str, str] = {}
    versions = {OURS: THIS_TREE, PEER: f"aiortc {importlib.metadata.version('aiortc')}"}
    environment = Environment.now(versions)
    for _ in range(rounds):
        alone: dict[str, float] = {}
        for viewers in counts:
            for subject in subjects:
                name = f"{viewers} viewers"
                known = viewers == counts[0] or subject in alone
                if f"{subject}, {name}" in skipped or not known:
                    continue
                try:
                    value = measure(subject, viewers, seconds)
                except RuntimeError as error:
                    skipped[f"{subject}, {name}"] = str(error)
                    continue
                picture_ms = value["cpu_s"] * 1e3 * viewers / max(value["frames"], 1)
                results.add(name, PER_PICTURE, subject, picture_ms)
                if viewers == counts[0]:
                    alone[subject] = picture_ms
                else:
                    more_ms = (picture_ms - alone[subject]) / (viewers - counts[0])
                    results.add(name, ONE_MORE, subject, more_ms)
                    results.add(name, SHARE, subject, more_ms * 3)
                results.add(name, RATE, subject, value["mbps"])
                results.add(name, FPS, subject, value["fps"])
    return Report("V1: CPU for one viewer more", environment, results, subjects, skipped)


def main() -> int:
    """0 when ours was measured."""
    parser = command.make_parser("v1", __doc__, rounds=3, seconds=3)
    parser.add_argument("--viewers", type=command.numbers, default=[1, 10, 50])
    arguments = parser.parse_args()
    subjects = [OURS] if arguments.only_ours else [OURS, PEER]

    def all_of_it(_: Nursery) -> Report:
        return run(arguments.rounds, arguments.seconds, arguments.viewers, subjects)

    return command.run("v1", all_of_it, arguments.json)


if __name__ == "__main__":
    sys.exit(main())
