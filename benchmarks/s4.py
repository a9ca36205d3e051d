"""S4, Redis's share: what one publish costs Redis while 100 and 1,000 nodes listen.

The patterns are real, the nodes are bare connections that read what comes. 16 publishes of 1 KiB go out in one
write, and the next ones when all of it has arrived. Only Redis's CPU time counts, user and system, from /proc.

ours         each node holds one pattern of its own, `<random id>:*`: a publish reaches the node of its peer
predecessor  all nodes hold `room:*`: a publish reaches every node

Rounds are interleaved (A B A B), the table shows medians, a ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import sys
from typing import Final

from benchmarks import command
from benchmarks.peers.base import this_python
from benchmarks.processes import Nursery
from benchmarks.report import OURS, Environment, Metric, Report, Results
from benchmarks.servers import Load, raise_file_limit, start_redis

CPU: Final = Metric("Redis CPU per publish", "us")
RATE: Final = Metric("publishes", "1/s", 0)
KINDS: Final = {OURS: "own", "predecessor": "shared"}
WARM_UP_S: Final = 0.5


def measure(nursery: Nursery, options: argparse.Namespace) -> Report:
    """Each number of nodes of each kind has a Redis of its own."""
    raise_file_limit()
    subjects = [OURS] if options.only_ours else list(KINDS)
    lanes = []
    for nodes in options.nodes:
        for subject in subjects:
            redis = start_redis(nursery, f"redis-{subject}-{nodes}")
            argv = [this_python(), "-m", "benchmarks.peers.redis_patterns", redis.path]
            argv += [KINDS[subject], str(nodes), str(options.bytes), str(options.batch)]
            load = Load(nursery, f"load-{subject}-{nodes}", argv)
            lanes.append((f"{nodes:,} nodes", subject, redis.process, load))
    environment = Environment.now(dict.fromkeys(subjects, redis.version()))
    results = Results()
    for number in range(options.rounds + 1):
        for scenario, subject, process, load in lanes:
            before = process.busy_s()
            figures = load.run(options.seconds if number else min(options.seconds, WARM_UP_S))
            spent = process.busy_s() - before
            if number:
                results.add(scenario, CPU, subject, spent / figures["messages"] * 1e6)
                results.add(scenario, RATE, subject, figures["messages"] / figures["seconds"])
    notes = [
        f"{options.bytes} bytes, {options.batch} publishes in one write,"
        f" {options.rounds} rounds of {options.seconds} s"
    ]
    return Report("S4: publishes in Redis", environment, results, subjects, {}, notes)


def main() -> int:
    """0 when ours was measured."""
    parser = command.make_parser("s4", __doc__)
    parser.add_argument(
        "--nodes", type=command.numbers, default=[100, 1000], help="how many (default 100,1000)"
    )
    parser.add_argument("--bytes", type=int, default=1024, help="per message (default 1024)")
    parser.add_argument("--batch", type=int, default=16, help="publishes in a write (default 16)")
    options = parser.parse_args()
    return command.run("S4", lambda nursery: measure(nursery, options), options.json)


if __name__ == "__main__":
    sys.exit(main())
