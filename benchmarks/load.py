"""A real load on a real cluster of this machine, from beginning to end: `make load` runs this.

Starts Valkey, three nodes and HAProxy before them; loads them with Locust (loadtests/locustfile.py), a fifth plain
and the rest Tightbeam clients that join with tokens, each from an address of its own; ends everything. The exit
status is Locust's: 1 when a message was lost, doubled or reordered, or a threshold was passed. Whatever is not an
option of this command goes to Locust.

  make load                                         about a minute
  make load ARGS="--fault kill-node"                kill -9 of a node in the middle; nothing may be lost
  make load ARGS="--shape reconnect-storm --steps 5"
  make load ARGS="--tls"                            wss:// through HAProxy, whose certificate is made for the run
  make load ARGS="--users 600 --hold 5 --max-answer-p95 500"
  make load ARGS="--users 12000 --spawn-rate 300 --seconds 150 --processes 2 --direct --hold 300 --talk-every 60
      --heartbeat 10 HostUser ViewerUser"           connections held; the table says what one costs
  .venv/bin/locust --help                           what else Locust can be asked for; its users' options are below
  .venv/bin/locust -f loadtests/locustfile.py --host https://NODE     the same against a cluster of yours, with a web UI

faults, at two fifths of the time (plain clients may lose messages then, and answers take longer):
  kill-node        kill -9 of one of the nodes, which comes back after three seconds
  drain            `tightbeam drain` of one node
  rolling-restart  SIGTERM to one node after another; each drains for five seconds and is started again
  stop-redis       kill -9 of Valkey, which is back, empty, after two seconds
  fail-over        kill -9 of Valkey's primary; a sentinel makes the replica the primary

The last table: what the nodes and Valkey used between the end of the ramp and the end of the run, and the memory that
connections took. A join there stands for a whole session where nothing but sessions goes on (`--hold 0`).
"""

from __future__ import annotations

import argparse
import os
import secrets
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.local import LocalCluster, Use
from benchmarks.processes import nothing_remains
from benchmarks.servers import raise_file_limit
from loadtests import options as user_options
from tests.haproxy import Front
from tests.ports import free_port

ROOT: Final = Path(__file__).resolve().parents[1]
FAULTS: Final[Mapping[str, Callable[[LocalCluster], float]]] = {
    "kill-node": LocalCluster.kill_node,
    "drain": LocalCluster.drain,
    "rolling-restart": LocalCluster.rolling_restart,
    "stop-redis": LocalCluster.stop_redis,
    "fail-over": LocalCluster.fail_over,
}
FAULT_AT: Final = 0.4
LOCUST_STARTS_S: Final = 2.0
ENOUGH: Final = 1000
"""Connections or joins, below which what one takes drowns in what a node takes anyway."""
END_S: Final = 300.0
"""After the run time, for sessions to end and for Locust to write."""


@dataclass(frozen=True, slots=True)
class Sample:
    """At one moment (monotonic seconds)."""

    at: float
    uses: Mapping[str, Use]
    connections: int
    joins: int


def users_options() -> str:
    """What loadtests/locustfile.py can be asked for: Locust prints its help before it reads that file."""
    made = argparse.ArgumentParser(usage=argparse.SUPPRESS, add_help=False)
    user_options.add(made)
    return made.format_help().strip("\n")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.load",
        description=__doc__,
        epilog=f"passed on to Locust, which does not show these itself:\n\n{users_options()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("--users", type=int, default=200, help="(default 200)")
    made.add_argument("--spawn-rate", type=float, default=25, help="users a second (default 25)")
    made.add_argument("--seconds", type=float, default=45, help="of the run (default 45)")
    made.add_argument("--nodes", type=int, default=3, help="(default 3)")
    way = made.add_mutually_exclusive_group()
    way.add_argument("--direct", action="store_true", help="without HAProxy: to every node")
    way.add_argument(
        "--tls", action="store_true", help="to HAProxy by TLS, with a CA of this run's"
    )
    made.add_argument("--fault", choices=tuple(FAULTS), help="what happens in the middle")
    where = ROOT / ".cache" / "load"
    made.add_argument("--results", type=Path, default=where, help="folder (.cache/load)")
    return made


def locust(options: argparse.Namespace, cluster: LocalCluster, rest: Sequence[str]) -> list[str]:
    """Locust's command line."""
    argv = [sys.executable, "-m", "locust", "-f", str(ROOT / "loadtests" / "locustfile.py")]
    argv += ["--headless", "--only-summary", "--host", cluster.url, "--sources", "127.1.0.0/16"]
    if cluster.proxy is not None and cluster.proxy.authority is not None:
        argv += ["--ca-file", str(cluster.proxy.authority)]
    argv += ["--users", str(options.users), "--spawn-rate", str(options.spawn_rate)]
    argv += ["--run-time", f"{options.seconds:.0f}s"]
    argv += ["--html", str(options.results / "report.html")]
    argv += ["--csv", str(options.results / "load")]
    if options.fault is not None:
        argv += ["--max-plain-lost", "1000000", "--max-answer-p95", "15000"]
        argv += ["--max-join-p95", "15000"]
    if "--hold" not in rest:
        argv += ["--hold", "10", "--talk-every", "1"]
    if "--processes" in rest:
        port = str(free_port())
        argv += [
            "--master-bind-host",
            "127.0.0.1",
            "--master-bind-port",
            port,
            "--master-port",
            port,
        ]
    return [*argv, *rest]


def take(cluster: LocalCluster) -> Sample:
    """A sample of now."""
    sums = dict.fromkeys(("tightbeam_websocket_connections", "tightbeam_join_seconds_count"), 0)
    for node in cluster.nodes:
        if not node.process.running():
            continue
        with urllib.request.urlopen(node.url("/metrics"), timeout=10) as reply:
            for line in reply.read().decode().splitlines():
                name = line.partition("{")[0].partition(" ")[0]
                if name in sums:
                    sums[name] += int(float(line.rsplit(" ", 1)[1]))
    return Sample(time.monotonic(), cluster.uses(), *sums.values())


def table(empty: Sample, ramped: Sample, end: Sample) -> str:
    """What it cost; `empty` before there were clients."""
    wall_s = end.at - ramped.at
    lines = [f"{end.connections:,} connections at the end", f"{'':<8}{'CPU, % of a core':>18}"]
    lines[-1] += f"{'memory, MiB':>14}{'grown by, MiB':>16}"
    nodes_grown = nodes_s = 0.0
    for name, use in end.uses.items():
        if name not in ramped.uses or use.cpu_s < ramped.uses[name].cpu_s:
            continue  # started anew in between
        used_s = use.cpu_s - ramped.uses[name].cpu_s
        grown = (use.resident_bytes - empty.uses[name].resident_bytes) / 2**20
        if name.startswith("node"):
            nodes_grown += grown
            nodes_s += used_s
        lines.append(
            f"{name:<8}{used_s / wall_s * 100:>18.1f}{use.resident_bytes / 2**20:>14.1f}{grown:>16.1f}"
        )
    if end.connections >= ENOUGH:
        each = nodes_grown * 1024 / end.connections
        lines.append(f"{each:.1f} KiB of the nodes' memory a connection")
    joins = end.joins - ramped.joins
    if joins >= ENOUGH:
        each_ms = nodes_s * 1000 / joins
        lines.append(
            f"{joins / wall_s:,.1f} joins a second, {each_ms:.2f} ms of the nodes' CPU each"
        )
    return "\n".join(lines)


def run(options: argparse.Namespace, rest: Sequence[str]) -> int:
    """Locust's exit status."""
    options.results.mkdir(parents=True, exist_ok=True)
    secret = secrets.token_urlsafe(32)
    front = None if options.direct else Front(options.users + 200, options.tls)
    sentinel = options.fault == "fail-over"
    env = {"JWT_SECRET": secret}
    with LocalCluster(options.nodes, env, sentinel=sentinel, front=front) as cluster:
        empty = take(cluster)
        began = time.monotonic() + LOCUST_STARTS_S
        argv = locust(options, cluster, rest)
        process = subprocess.Popen(argv, cwd=ROOT, env={**os.environ, "JWT_SECRET": secret})
        ramp_s = min(options.users / options.spawn_rate, 0.8 * options.seconds)
        _sleep(process, began + ramp_s + 1)
        ramped = take(cluster) if process.poll() is None else empty
        if options.fault is not None and process.poll() is None:
            _sleep(process, began + FAULT_AT * options.seconds)
            fault_at = time.monotonic()
            FAULTS[options.fault](cluster)
            print(f"{options.fault}: over after {time.monotonic() - fault_at:.1f} s", flush=True)
        _sleep(process, began + options.seconds - 2)
        end = take(cluster) if process.poll() is None else ramped
        code = process.wait(END_S)
        if end is not ramped:
            print(table(empty, ramped, end))
        print(f"Results: {options.results}/report.html, load_*.csv")
        return code


def _sleep(process: subprocess.Popen[bytes], until: float) -> None:
    """Until this moment, or the end of the process."""
    try:
        process.wait(max(0.0, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        return


def main() -> int:
    """0 when nothing was lost and no threshold was passed."""
    options, rest = parser().parse_known_args()
    raise_file_limit()
    with nothing_remains():
        return run(options, rest)


if __name__ == "__main__":
    sys.exit(main())
