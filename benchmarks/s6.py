"""S6, idle connections: how much memory one of 10,000 WebSockets that say nothing takes.

Each round starts every server anew, opens 5,000 pairs of peers, waits, and divides what the server's resident memory
has grown by since it listened. Heartbeats go on.

bare ws  npm `ws` with rooms in memory
PeerJS   its own signaling server
ours     `tightbeam node`, plain dialect;  "tightbeam": the Tightbeam dialect, both joined: the state of their
         sessions included

Rounds are interleaved (A B A B), the table shows medians, a ratio is the median of the rounds' ratios. --seconds is the
time to wait before memory is looked at.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from benchmarks import command
from benchmarks.peers.base import PeerUnavailable
from benchmarks.processes import Nursery, StartError
from benchmarks.report import OURS, THIS_TREE, Environment, Metric, Report, Results
from benchmarks.servers import (
    Load,
    Server,
    ensure_npm,
    raise_file_limit,
    start_javascript,
    start_nodes,
    start_redis,
)

MEMORY: Final = Metric("resident memory per connection", "KiB")
BASE: Final = Metric("resident memory before", "MiB", 0)
OPENING: Final = Metric("server CPU to open one", "us", 0)
PEERS: Final = ("bare ws", "PeerJS")
SPARE_FILES: Final = 200
Start = Callable[[Nursery], Server]


def starters() -> dict[tuple[str, str], Start]:
    """By scenario and subject."""
    return {
        ("plain", OURS): lambda nursery: start_nodes(nursery, start_redis(nursery), "plain"),
        ("plain", "bare ws"): lambda nursery: start_javascript(nursery, "ws_relay.js", "plain"),
        ("plain", "PeerJS"): lambda nursery: start_javascript(nursery, "peerjs.js", "peerjs"),
        ("tightbeam", OURS): lambda nursery: start_nodes(
            nursery, start_redis(nursery), "tightbeam"
        ),
    }


def measure_one(
    folder: Path, start: Start, connections: int, seconds: float
) -> dict[Metric, float]:
    """A server from its start to its end."""
    folder.mkdir()
    with Nursery(folder) as nursery:
        server = start(nursery)
        process = server.processes[0]
        Load.on(nursery, server, "ws_load.js", {"pairs": 1, "bytes": 200})  # it is up and warm
        memory, spent = process.resident_bytes(), process.busy_s()
        Load.on(nursery, server, "ws_load.js", {"pairs": connections // 2, "bytes": 200})
        opening = process.busy_s() - spent
        time.sleep(seconds)
        grown = process.resident_bytes() - memory
        if not process.running():
            raise StartError(f"the server has ended:\n{process.log_tail()}")
    return {
        MEMORY: grown / connections / 1024,
        BASE: memory / (1 << 20),
        OPENING: opening / connections * 1e6,
    }


def measure(nursery: Nursery, options: argparse.Namespace) -> Report:
    """One server at a time, in turn."""
    connections = min(options.connections, raise_file_limit() - SPARE_FILES) // 2 * 2
    chosen, skipped = starters(), {}
    versions = {OURS: THIS_TREE}
    try:
        if not options.only_ours:
            npm = ensure_npm()
            versions |= {"bare ws": npm["ws"], "PeerJS": npm["peer"]}
    except PeerUnavailable as error:
        skipped = dict.fromkeys(PEERS, str(error))
    chosen = {key: start for key, start in chosen.items() if key[1] in versions}
    environment = Environment.now(versions)
    results = Results()
    for number in range(options.rounds):
        for (scenario, subject), start in chosen.items():
            folder = nursery.folder / f"{number}-{scenario}-{subject}"
            values = measure_one(folder, start, connections, options.seconds)
            for metric, value in values.items():
                results.add(scenario, metric, subject, value)
    notes = [f"{connections:,} connections, {options.rounds} rounds"]
    return Report("S6: idle connections", environment, results, list(versions), skipped, notes)


def main() -> int:
    """0 when ours was measured."""
    parser = command.make_parser("s6", __doc__, rounds=3)
    parser.add_argument(
        "--connections", type=int, default=10_000, help="sockets; at most what `ulimit -Hn` permits"
    )
    options = parser.parse_args()
    return command.run("S6", lambda nursery: measure(nursery, options), options.json)


if __name__ == "__main__":
    sys.exit(main())
