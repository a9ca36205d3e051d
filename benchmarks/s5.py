"""S5, the subscriber: what one message that Redis pushes costs the process that hears it.

One process subscribes a pattern, another one publishes 400 bytes; only the subscriber's CPU time counts, user and
system, from /proc. The messages are counted, not looked into. All on uvloop.

ours      the node's thin connection, cluster/resp.py
redis-py  redis.asyncio, `async for message in pubsub.listen()`
coredis   `async for message in pubsub`

crowded     128 at a time, 20,000 a second: a node that is busy
bursts      32 at a time, 5,000 a second
one by one  2,000 a second: each wakes the process up, which is most of its cost

Rounds are interleaved (A B A B), the table shows medians, a ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from typing import Final

from benchmarks import command
from benchmarks.peers.base import PeerUnavailable, ensure_venv, this_python, version_of
from benchmarks.processes import Nursery, Process, StartError
from benchmarks.report import OURS, Environment, Metric, Report, Results
from benchmarks.servers import HERE, Load, first_line, start_redis

CPU: Final = Metric("subscriber CPU per message", "us", 2)
PEERS: Final = ("redis-py", "coredis")
SCENARIOS: Final = {"crowded": (20000, 128), "bursts": (5000, 32), "one by one": (2000, 1)}
"""Messages a second, and how many at a time."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A subscriber and its publisher, on a Redis of their own."""

    subscriber: Process
    load: Load

    def window(self, seconds: float, rate: int, burst: int) -> float:
        """CPU microseconds per message; raises StartError when one was lost."""
        before = self.subscriber.busy_s()
        published = self.load.run(seconds, rate, burst)["messages"]
        heard = int(first_line(self.subscriber))
        if heard != published:
            raise StartError(f"{published:.0f} messages were published, {heard} heard")
        return (self.subscriber.busy_s() - before) / heard * 1e6


def start_pair(nursery: Nursery, subject: str, size_bytes: int) -> tuple[Pair, str]:
    """One subject, and its version; raises PeerUnavailable."""
    python, version = this_python(), "in this tree"
    if subject == "redis-py":
        version = f"redis {version_of(python, 'redis')}, hiredis {version_of(python, 'hiredis')}"
    elif subject == "coredis":
        python = str(ensure_venv("coredis", ["coredis", "uvloop"], "coredis, uvloop"))
        version = f"coredis {version_of(python, 'coredis')}"
    redis = start_redis(nursery, f"redis-{subject}")
    argv = [python, str(HERE / "redis_subscriber.py"), subject, redis.path]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(HERE.parents[1])}
    subscriber = nursery.start(f"subscriber-{subject}", argv, env=env, pipes=True)
    first_line(subscriber)
    argv = [this_python(), "-m", "benchmarks.peers.redis_publish", redis.path]
    load = Load(nursery, f"load-{subject}", [*argv, "node:letters", str(size_bytes)])
    return Pair(subscriber, load), version


def measure(nursery: Nursery, options: argparse.Namespace) -> Report:
    """All subscribers side by side, in turn."""
    pairs, skipped, versions = {}, {}, {}
    for subject in (OURS, *(() if options.only_ours else PEERS)):
        try:
            pairs[subject], versions[subject] = start_pair(nursery, subject, options.bytes)
        except PeerUnavailable as error:
            skipped[subject] = str(error)
    environment = Environment.now(versions)
    results = Results()
    for number in range(options.rounds + 1):  # the first round is the warm-up
        for subject, pair in pairs.items():
            for scenario, (rate, burst) in SCENARIOS.items():
                value = pair.window(options.seconds if number else 0.3, rate, burst)
                if number:
                    results.add(scenario, CPU, subject, value)
    notes = [f"{options.bytes} bytes, {options.rounds} rounds of {options.seconds} s"]
    return Report("S5: a pushed message", environment, results, list(pairs), skipped, notes)


def main() -> int:
    """0 when ours was measured."""
    parser = command.make_parser("s5", __doc__)
    parser.add_argument("--bytes", type=int, default=400, help="per message (default 400)")
    options = parser.parse_args()
    return command.run("S5", lambda nursery: measure(nursery, options), options.json)


if __name__ == "__main__":
    sys.exit(main())
