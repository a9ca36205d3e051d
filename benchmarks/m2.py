"""M2: from a frame that is ready to its last packet in the kernel, unpaced.

M1's senders over the same real connection: 42 KB access units, 60 a second, while another thread works as capture and
conversion do. A frame's time begins when it is handed to the sender and ends when the send of its last packet returns,
by the process's own sockets; it holds the waking of the sending thread or event loop, packetization, SRTP, the
system calls (on loopback they deliver, too) and every wait for the interpreter's lock.

ours      the fast path, its pacer told of a rate that it need not hold back for
portable  ours where segmented sends or private names are missing
aiortc    stock;  selkies: Selkies' fork of it, in its own virtual environment, its pacer off

Rounds are interleaved (A B A B), the table shows medians, a ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import importlib.metadata
import sys
from typing import Final

from benchmarks import command, m1
from benchmarks.m3_stats import Spread
from benchmarks.processes import Nursery
from benchmarks.report import OURS, Environment, Metric, Report, Results

SCENARIO: Final = "42 KB, 60 fps"
FPS: Final = 60


def run(rounds: int, seconds: float, subjects: list[str]) -> Report:
    """All subjects, interleaved; one that fails is skipped with the reason."""
    results = Results()
    pythons, skipped = m1.interpreters()
    versions = {name: importlib.metadata.version(name) for name in ("aiortc", "pylibsrtp")}
    environment = Environment.now(versions)
    for number in range(1, rounds + 1):
        for subject in subjects:
            if subject in skipped:
                continue
            try:
                value = m1.measure(subject, pythons[subject], FPS, seconds, "--departures")
            except RuntimeError as error:
                skipped[subject] = str(error)
                continue
            spread = Spread.of([us / 1000 for us in value["departures_us"]])
            if spread is None:
                skipped[subject] = "no frame was sent: give more --seconds"
                continue
            for name in ("p50", "p95", "p99"):
                results.add(SCENARIO, Metric(name, "ms", 2), subject, getattr(spread, name))
            print(f"round {number}  {subject:8} {spread}", file=sys.stderr, flush=True)
    measured = [subject for subject in subjects if subject not in skipped]
    notes = [f"{FPS * seconds:.0f} frames a round and subject, {rounds} rounds"]
    title = "M2: a frame ready to its last packet sent"
    return Report(title, environment, results, measured, skipped, notes)


def main() -> int:
    """0 when ours was measured."""
    options = command.make_parser("m2", __doc__, seconds=4).parse_args()
    subjects = [OURS] if options.only_ours else list(m1.SUBJECTS)

    def all_of_it(_: Nursery) -> Report:
        return run(options.rounds, options.seconds, subjects)

    return command.run("m2", all_of_it, options.json)


if __name__ == "__main__":
    sys.exit(main())
