"""S7, whole sessions: what it costs to bring two peers together, and whether a first offer is lost.

A session is two peers that connect in the same moment and join; an offer of 4 KiB, an answer of 4 KiB, ten candidates
each way, and the end. 500 sessions a round, 32 at a time. The caller sends its offer as soon as it may, which is at the
opening of its socket where the server says nothing by itself, and again every 250 ms; it is lost when the callee
hears a later one first. With 4 nodes the two peers are on different ones. Only the CPU time of the servers and of
their Redis counts, user and system, from /proc.

PeerJS       its own signaling server (npm `peer`); it has no cluster
socket.io    a relay of rooms; at 4 nodes with @socket.io/redis-adapter
predecessor  npm `ws`, members in Redis and `psubscribe room:*`
ours         `tightbeam node`, plain dialect;  "tightbeam": the Tightbeam dialect, where the caller hears of its host

Rounds are interleaved (A B A B), the table shows medians, a ratio is the median of the rounds' ratios. --seconds is
when no further session starts in a round.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass
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

CPU: Final = Metric("server CPU per session", "ms", 2)
REDIS_CPU: Final = Metric("Redis CPU per session", "ms", 2)
RATE: Final = Metric("sessions", "1/s", 0)
LOST: Final = Metric("first offers lost", "%", 1, ratio=False)
FAILED: Final = Metric("sessions failed", "%", 1, ratio=False)
PEERS: Final = ("PeerJS", "socket.io", "predecessor")
DIALECTS: Final = ("plain", "tightbeam")


@dataclass(frozen=True, slots=True)
class Lane:
    """One subject under its load."""

    scenario: str
    subject: str
    server: Server
    load: Load

    def window(self, seconds: float, sessions: int) -> Mapping[Metric, float]:
        """One round's sessions."""
        before = self._spent()
        figures = self.load.run(seconds, sessions)
        servers, redis = (now - then for now, then in zip(self._spent(), before, strict=True))
        count = figures["sessions"]
        if figures["failed"] == count:
            raise StartError(f"no session of {self.subject}, {self.scenario} came about")
        values = {CPU: servers / count * 1e3}
        if self.server.redis is not None:
            values[REDIS_CPU] = redis / count * 1e3
        values[RATE] = count / figures["seconds"]
        values[LOST] = figures["lost"] / (count - figures["failed"]) * 100
        return values | {FAILED: figures["failed"] / count * 100}

    def _spent(self) -> tuple[float, float]:
        redis = self.server.redis
        servers = sum(process.busy_s() for process in self.server.processes)
        return servers, 0.0 if redis is None else redis.process.busy_s()


def start_servers(nursery: Nursery, nodes: int, peers: bool) -> dict[tuple[str, str], Server]:
    """By scenario and subject, each with a Redis of its own where it uses one."""
    scenario = f"{nodes} nodes" if nodes > 1 else "1 node"
    servers = {}
    for dialect in DIALECTS:
        redis = start_redis(nursery, f"redis-{dialect}-{nodes}")
        label = scenario if dialect == "plain" else f"{scenario}, {dialect}"
        servers[label, OURS] = start_nodes(nursery, redis, dialect, nodes)
    if not peers:
        return servers
    redis = start_redis(nursery, f"redis-predecessor-{nodes}")
    servers[scenario, "predecessor"] = start_javascript(
        nursery, "predecessor.js", "plain", redis, nodes
    )
    if nodes == 1:
        servers[scenario, "PeerJS"] = start_javascript(nursery, "peerjs.js", "peerjs")
    shared = None if nodes == 1 else start_redis(nursery, f"redis-socketio-{nodes}")
    servers[scenario, "socket.io"] = start_javascript(
        nursery, "socketio.js", "socketio", shared, nodes
    )
    return servers


def measure(nursery: Nursery, options: argparse.Namespace) -> Report:
    """All servers side by side, loaded in turn."""
    raise_file_limit()
    skipped: dict[str, str] = {}
    versions = {OURS: THIS_TREE}
    try:
        if not options.only_ours:
            npm = ensure_npm()
            versions |= {"PeerJS": npm["peer"], "predecessor": f"{npm['ws']}, {npm['redis']}"}
            versions["socket.io"] = f"{npm['socket.io']}, {npm['@socket.io/redis-adapter']}"
    except PeerUnavailable as error:
        skipped = dict.fromkeys(PEERS, str(error))
    environment = Environment.now(versions)
    load = {"bytes": options.bytes, "at_once": options.at_once}
    lanes = [
        Lane(scenario, subject, server, Load.on(nursery, server, "session_load.js", load))
        for nodes in options.nodes
        for (scenario, subject), server in start_servers(nursery, nodes, len(versions) > 1).items()
    ]
    results = Results()
    for number in range(options.rounds + 1):  # the first round is the warm-up
        for lane in lanes:
            sessions = options.sessions if number else options.at_once
            for metric, value in lane.window(options.seconds, sessions).items():
                if number:
                    results.add(lane.scenario, metric, lane.subject, value)
    notes = [
        f"at most {options.sessions} sessions or {options.seconds} s a round,"
        f" {options.at_once} at a time, {options.rounds} rounds"
    ]
    subjects = [name for name in (OURS, *PEERS) if name in versions]
    return Report("S7: whole sessions", environment, results, subjects, skipped, notes)


def main() -> int:
    """0 when ours was measured."""
    parser = command.make_parser("s7", __doc__, seconds=10)
    parser.add_argument("--sessions", type=int, default=500, help="a round (default 500)")
    parser.add_argument("--at-once", type=int, default=32, help="sessions (default 32)")
    parser.add_argument("--bytes", type=int, default=4096, help="of an offer (default 4096)")
    parser.add_argument("--nodes", type=command.numbers, default=[1, 4], help="(default 1,4)")
    options = parser.parse_args()
    return command.run("S7", lambda nursery: measure(nursery, options), options.json)


if __name__ == "__main__":
    sys.exit(main())
