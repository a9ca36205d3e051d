"""S3, the relay across nodes: what one message between peers of two nodes costs the whole cluster.

S2's ping-pong, but the two peers of each pair are on neighbouring nodes, which meet in one Redis of their
cluster's own. A larger cluster has more to do: 32 pairs for each of its nodes. The CPU time of all nodes together and
that of their Redis count, user and system, from /proc. A design whose message reaches every node pays for each further
one; the last notes say what 16 nodes cost against 2.

saturated    as fast as the cluster goes on this machine
2,000/s      at that rate, whatever the number of nodes: the way's time; nearly all CPU time is for waking up

predecessor  npm `ws` and `psubscribe room:*`, so many processes
socket.io    with @socket.io/redis-adapter, at 2 and 4 nodes
ours         `tightbeam node`, plain dialect

Rounds are interleaved over all subjects and sizes (A B A B), the table shows medians, a ratio is the median of the
rounds' ratios.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Sequence
from typing import Final

from benchmarks import command, windows
from benchmarks.peers.base import PeerUnavailable
from benchmarks.processes import Nursery
from benchmarks.report import OURS, THIS_TREE, Environment, Report, Results
from benchmarks.servers import (
    Load,
    Server,
    ensure_npm,
    start_javascript,
    start_nodes,
    start_redis,
)

PEERS: Final = ("predecessor", "socket.io")
SOCKET_IO_AT_MOST: Final = 4
"""Its cost at 2 and 4 shows how it grows; more of its processes would only slow the rest."""


def scenario(nodes: int) -> str:
    """As the report calls a cluster of this size."""
    return f"{nodes} nodes"


def start_cluster(nursery: Nursery, subject: str, nodes: int) -> Server:
    """One cluster with a Redis of its own."""
    redis = start_redis(nursery, f"redis-{subject}-{nodes}")
    if subject == OURS:
        return start_nodes(nursery, redis, "plain", nodes)
    if subject == "predecessor":
        return start_javascript(nursery, "predecessor.js", "plain", redis, nodes)
    return start_javascript(nursery, "socketio.js", "socketio", redis, nodes)


def growth(results: Results, subject: str, sizes: Sequence[int]) -> str | None:
    """What a message costs in the largest cluster against the smallest; None where that is not measured."""
    labels = [windows.label(scenario(size), windows.SATURATED) for size in (sizes[0], sizes[-1])]
    small, large = (results.median(label, windows.TOGETHER, subject) for label in labels)
    if not small or not large or sizes[0] == sizes[-1]:
        return None
    return f"{subject}: cost({sizes[-1]} nodes) / cost({sizes[0]}) = {large / small:.2f}, saturated"


def measure(nursery: Nursery, options: argparse.Namespace) -> Report:
    """All clusters side by side, loaded in turn."""
    subjects, skipped, versions = (
        [OURS],
        {},
        {OURS: THIS_TREE},
    )
    if not options.only_ours:
        try:
            npm = ensure_npm()
            subjects += PEERS
            versions["predecessor"] = f"{npm['ws']}, {npm['redis']}"
            versions["socket.io"] = f"{npm['socket.io']}, {npm['@socket.io/redis-adapter']}"
        except PeerUnavailable as error:
            skipped = dict.fromkeys(PEERS, str(error))
    environment = Environment.now(versions)
    lanes = []
    for nodes, subject in itertools.product(options.nodes, subjects):
        if subject == "socket.io" and nodes > SOCKET_IO_AT_MOST:
            continue
        server = start_cluster(nursery, subject, nodes)
        size = {"pairs": options.pairs * nodes, "bytes": options.bytes}
        load = Load.on(nursery, server, "ws_load.js", size)
        redis = server.redis.process if server.redis is not None else None
        lanes.append(windows.Lane(subject, load, server.processes, redis, scenario(nodes)))
    rates = (windows.SATURATED, options.rate)
    results = windows.interleave(lanes, rates, options.rounds, options.seconds)
    notes = [
        f"{options.pairs} pairs a node, {options.bytes} bytes, {options.rounds} rounds of {options.seconds} s"
    ]
    grown = (growth(results, subject, options.nodes) for subject in subjects)
    notes += [text for text in grown if text is not None]
    return Report("S3: relay across nodes", environment, results, subjects, skipped, notes)


def main() -> int:
    """0 when ours was measured."""
    parser = command.make_parser("s3", __doc__)
    parser.add_argument(
        "--nodes", type=command.numbers, default=[2, 4, 8, 16], help="sizes (default 2,4,8,16)"
    )
    parser.add_argument("--pairs", type=int, default=32, help="of sockets for each node (32)")
    parser.add_argument("--bytes", type=int, default=1024, help="per message (default 1024)")
    parser.add_argument(
        "--rate", type=int, default=2000, help="of the second scenario (default 2000)"
    )
    options = parser.parse_args()
    return command.run("S3", lambda nursery: measure(nursery, options), options.json)


if __name__ == "__main__":
    sys.exit(main())
