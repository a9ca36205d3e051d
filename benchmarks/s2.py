"""S2, the relay: what one message between two peers of one node costs the server.

Pairs of WebSockets play ping-pong with 1 KiB messages, both peers of a pair on one server. Ours validates every
message, counts it, limits its sender and keeps metrics. The load runs in a process of its own; only the server's
CPU time counts, user and system, from /proc.

bare ws      npm `ws`, rooms in memory, frames passed on unchecked
PeerJS       its own signaling server (npm `peer`) and protocol
predecessor  npm `ws` and `psubscribe room:*`: parsed, checked, sent here and published (Redis not counted)
ours         `tightbeam node`, plain dialect;  "sync": the Tightbeam dialect, forwarded byte for byte

saturated    as fast as the server goes: CPU time per message, messages a second
2,000/s      at that rate: CPU time per message and the way's time, p50 and p99

Rounds are interleaved (A B A B), the table shows medians, a ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import Final

from benchmarks import command, windows
from benchmarks.peers.base import PeerUnavailable
from benchmarks.processes import Nursery
from benchmarks.report import OURS, THIS_TREE, Environment, Report
from benchmarks.servers import (
    Load,
    Server,
    ensure_npm,
    start_javascript,
    start_nodes,
    start_redis,
)

PEERS: Final = ("bare ws", "PeerJS", "predecessor")
SYNC: Final = "sync"


def start_all(
    nursery: Nursery, only_ours: bool
) -> tuple[dict[tuple[str, str], Server], dict[str, str], Mapping[str, str]]:
    """By subject and scenario, each with a Redis of its own; why peers are skipped; versions."""
    servers = {
        (OURS, ""): start_nodes(nursery, start_redis(nursery, "redis-plain"), "plain"),
        (OURS, SYNC): start_nodes(nursery, start_redis(nursery, "redis-sync"), "tightbeam"),
    }
    versions = {OURS: THIS_TREE}
    if only_ours:
        return servers, {}, versions
    try:
        npm = ensure_npm()
    except PeerUnavailable as error:
        return servers, dict.fromkeys(PEERS, str(error)), versions
    servers["bare ws", ""] = start_javascript(nursery, "ws_relay.js", "plain")
    servers["PeerJS", ""] = start_javascript(nursery, "peerjs.js", "peerjs")
    redis = start_redis(nursery, "redis-predecessor")
    servers["predecessor", ""] = start_javascript(nursery, "predecessor.js", "plain", redis)
    versions |= {"bare ws": f"{npm['ws']}, {npm['bufferutil']}", "PeerJS": npm["peer"]}
    versions |= {"predecessor": f"{npm['ws']}, {npm['redis']}"}
    return servers, {}, versions


def measure(nursery: Nursery, options: argparse.Namespace) -> Report:
    """All subjects side by side, loaded in turn."""
    servers, skipped, versions = start_all(nursery, options.only_ours)
    environment = Environment.now(versions)
    size = {"pairs": options.pairs, "bytes": options.bytes}
    lanes = [
        windows.Lane(
            subject,
            Load.on(nursery, server, "ws_load.js", size),
            server.processes,
            scenario=scenario,
        )
        for (subject, scenario), server in servers.items()
    ]
    rates = (windows.SATURATED, options.rate)
    results = windows.interleave(lanes, rates, options.rounds, options.seconds)
    notes = [
        f"{options.pairs} pairs, {options.bytes} bytes, {options.rounds} rounds of {options.seconds} s"
    ]
    subjects = [OURS, *(peer for peer in PEERS if (peer, "") in servers)]
    return Report("S2: relay on one node", environment, results, subjects, skipped, notes)


def main() -> int:
    """0 when ours was measured."""
    parser = command.make_parser("s2", __doc__)
    parser.add_argument("--pairs", type=int, default=64, help="pairs of sockets (default 64)")
    parser.add_argument("--bytes", type=int, default=1024, help="per message (default 1024)")
    parser.add_argument(
        "--rate", type=int, default=2000, help="of the second scenario (default 2000)"
    )
    options = parser.parse_args()
    return command.run("S2", lambda nursery: measure(nursery, options), options.json)


if __name__ == "__main__":
    sys.exit(main())
