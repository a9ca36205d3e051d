"""S2, the relay: what one message between two peers of one node costs the server.

Pairs of WebSockets play ping-pong with 1 KiB messages, both peers of a pair on one server. Ours validates every
message, counts it, limits its sender and keeps metrics. The load runs in a process of its own; only the server's
CPU time counts, user and system, from /proc.

bare ws      npm `ws`, rooms in memory, frames passed on unchecked
predecessor  npm `ws` and `psubscribe room:*`: parsed, checked, sent here and published (Redis not counted)
ours         `tightbeam node`, plain dialect;  "sync": the Tightbeam dialect, forwarded byte for byte

saturated    as fast as the server goes: CPU time per message, messages a second
2,000/s      at that rate: CPU time per message and the way's time, p50 and p99

Rounds are interleaved (A B A B), the table shows medians, a ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.peers.base import CACHE, PeerUnavailable
from benchmarks.processes import Nursery, Process, StartError, nothing_remains
from benchmarks.report import OURS, Environment, Metric, Report, Results

HERE: Final = Path(__file__).parent / "peers"
NPM: Final = CACHE / "npm"
SECRET: Final = "benchmark-secret-of-no-value-whatever"
START_TIMEOUT_S: Final = 20.0
UNLIMITED: Final = str(1 << 30)
"""The limit counts, but does not end the benchmark."""
CPU: Final = Metric("server CPU per message", "us")
RATE: Final = Metric("messages", "1/s", 0)
P50: Final = Metric("time on the way p50", "us", 0)
P99: Final = Metric("time on the way p99", "us", 0)
SUBJECTS: Final = (OURS, "bare ws", "predecessor")
OURS_SYNC: Final = "ours, sync"


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how much."""

    rounds: int
    seconds: float
    pairs: int
    size_bytes: int
    rate: int


@dataclass(slots=True)
class Server:
    """A running server: where it listens, and how it is loaded."""

    process: Process
    port: int
    dialect: str


def ensure_npm() -> Mapping[str, str]:
    """The peers' packages under the cache; their versions. Raises PeerUnavailable."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise PeerUnavailable("Node.js and npm are not installed")
    modules = NPM / "node_modules"
    if not all((modules / name).exists() for name in ("ws", "redis")):
        NPM.mkdir(parents=True, exist_ok=True)
        (NPM / "package.json").write_text('{"private": true}\n')
        command = ["npm", "install", "--no-audit", "--no-fund", "--silent", "ws@8", "redis@5"]
        result = subprocess.run(
            command, cwd=NPM, capture_output=True, text=True, timeout=300, check=False
        )
        if result.returncode != 0:
            raise PeerUnavailable(f"npm could not install ws and redis: {result.stderr[-300:]}")
    return {
        name: json.loads((modules / name / "package.json").read_text())["version"]
        for name in ("ws", "redis")
    }


def _first_line(process: Process) -> str:
    if process.stdout is None:
        raise StartError("no pipe to the process")
    line = process.stdout.readline().decode().strip()
    if not line:
        raise StartError(f"a process ended at once:\n{process.log_tail()}")
    return line


def start_javascript(nursery: Nursery, name: str, env: Mapping[str, str]) -> Server:
    """One of the peers; it prints its port."""
    # `ws` is found from the working directory, because that is where it was installed.
    script = f"process.chdir({json.dumps(str(NPM))}); await import({json.dumps(str(HERE / name))});"
    process = nursery.start(
        name,
        ["node", "--input-type=module", "-e", script],
        env={"PATH": os.environ["PATH"], **env},
        pipes=True,
    )
    return Server(process, int(_first_line(process)), "plain")


def start_ours(nursery: Nursery, redis_url: str, dialect: str) -> Server:
    """`tightbeam node` on a port of its own."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = int(listener.getsockname()[1])
    env = {
        "PATH": os.environ["PATH"],
        "REDIS_URL": redis_url,
        "TIGHTBEAM_SECRET": SECRET,
        "TIGHTBEAM_PAIRING": "0",
        "TIGHTBEAM_SINGLE_NODE": "1",
        "TIGHTBEAM_LISTEN_FD": str(listener.fileno()),
        "RATE_LIMIT_MESSAGES_PER_10S": UNLIMITED,
    }
    argv = [sys.executable, "-m", "cluster.cli", "node"]
    process = nursery.start(f"ours-{dialect}", argv, env=env, pass_fds=(listener.fileno(),))
    listener.close()
    return Server(process, port, dialect)


class Load:
    """The load generator for one server: opens all sockets once, then runs windows on request."""

    def __init__(self, nursery: Nursery, server: Server, plan: Plan) -> None:
        argv = ["node", str(HERE / "ws_load.js"), str(server.port), str(plan.pairs)]
        argv += [str(plan.size_bytes), server.dialect, SECRET]
        self._server = server
        self._process = nursery.start(
            f"load-{server.port}", argv, env={"PATH": os.environ["PATH"]}, pipes=True
        )
        if _first_line(self._process) != "ready":
            raise StartError(f"the load did not start:\n{self._process.log_tail()}")

    def window(self, seconds: float, rate: int) -> tuple[float, Mapping[str, float]]:
        """CPU microseconds per message of the server, and the load's own figures."""
        if self._process.stdin is None:
            raise StartError("no pipe to the load")
        before = self._server.process.cpu_s()
        self._process.stdin.write(f"run {seconds} {rate}\n".encode())
        self._process.stdin.flush()
        figures: Mapping[str, float] = json.loads(_first_line(self._process))
        spent = self._server.process.cpu_s() - before
        if not figures["messages"]:
            raise StartError(f"no message came through:\n{self._server.process.log_tail()}")
        return spent / figures["messages"] * 1e6, figures


def measure(nursery: Nursery, plan: Plan, redis_url: str) -> Report:
    """All subjects side by side, loaded in turn."""
    versions = {OURS: f"Python {sys.version.split()[0]}, in this tree"}
    skipped: dict[str, str] = {}
    servers = {
        OURS: start_ours(nursery, redis_url, "plain"),
        OURS_SYNC: start_ours(nursery, redis_url, "tightbeam"),
    }
    try:
        installed = ensure_npm()
        path = redis_url.removeprefix("unix://")
        servers["bare ws"] = start_javascript(nursery, "ws_relay.js", {})
        servers["predecessor"] = start_javascript(nursery, "predecessor.js", {"REDIS_SOCKET": path})
        versions |= {"bare ws": f"ws {installed['ws']}"}
        versions |= {"predecessor": f"ws {installed['ws']}, redis {installed['redis']}"}
    except PeerUnavailable as error:
        skipped = dict.fromkeys(SUBJECTS[1:], str(error))
    environment = Environment.now(versions)
    loads = {name: Load(nursery, server, plan) for name, server in servers.items()}
    results = Results()
    for number in range(plan.rounds + 1):  # the first round is the warm-up
        for name, load in loads.items():
            scenario = "sync, " if name == OURS_SYNC else ""
            subject = OURS if name == OURS_SYNC else name
            for label, rate in (("saturated", 0), (f"{plan.rate:,}/s", plan.rate)):
                cpu_us, figures = load.window(plan.seconds if number else 0.5, rate)
                if number == 0:
                    continue
                results.add(scenario + label, CPU, subject, cpu_us)
                if rate:
                    results.add(scenario + label, P50, subject, figures["p50_us"])
                    results.add(scenario + label, P99, subject, figures["p99_us"])
                else:
                    per_s = figures["messages"] / figures["seconds"]
                    results.add(scenario + label, RATE, subject, per_s)
    notes = [
        f"{plan.pairs} pairs, {plan.size_bytes} bytes, {plan.rounds} rounds of {plan.seconds} s"
    ]
    subjects = [name for name in SUBJECTS if name in servers]
    return Report("S2: relay on one node", environment, results, subjects, skipped, notes)


def parse_arguments(argv: Sequence[str] | None = None) -> tuple[Plan, Path | None]:
    """Read the command line; the second value is where the JSON goes."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.s2",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default 5)")
    parser.add_argument("--seconds", type=float, default=2, help="per window (default 2)")
    parser.add_argument("--pairs", type=int, default=64, help="pairs of sockets (default 64)")
    parser.add_argument("--bytes", type=int, default=1024, help="per message (default 1024)")
    parser.add_argument(
        "--rate", type=int, default=2000, help="of the second scenario (default 2000)"
    )
    parser.add_argument("--json", type=Path, help="also write every figure to this file")
    options = parser.parse_args(argv)
    plan = Plan(options.rounds, options.seconds, options.pairs, options.bytes, options.rate)
    return plan, options.json


def main() -> int:
    """0 when ours was measured."""
    from cluster.store.valkey import EmbeddedValkey

    plan, json_file = parse_arguments()
    valkey = EmbeddedValkey()
    valkey.start()
    try:
        with (
            nothing_remains(),
            tempfile.TemporaryDirectory() as folder,
            Nursery(Path(folder)) as nursery,
        ):
            started = time.monotonic()
            report = measure(nursery, plan, valkey.url)
            print(report.text())
            print(f"\nin {time.monotonic() - started:.0f} s")
            if json_file is not None:
                report.write_json(json_file)
    except StartError as error:
        print(f"S2: {error}", file=sys.stderr)
        return 1
    finally:
        valkey.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
