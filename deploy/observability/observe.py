"""`make observe`: a small cluster with a Prometheus beside it, to look at; all of it ends with this command.

Two nodes on an embedded Valkey, the fleet exporter, and agents with the test pattern, each under a guard.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import urllib.request
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import quote

from cluster.store.valkey import EmbeddedValkey
from cluster.up.children import Child, Command, Lifeline
from cluster.up.links import host_token
from deploy.observability import prometheus
from deploy.observability.build import RULES

READY_LIMIT_S: Final = 30.0
GRACE_S: Final = 4.0
SCRAPE_S: Final = 2
EVALUATE_S: Final = 5
HOST: Final = "127.0.0.1"
SHOWN: Final = (
    ("messages", "sum by (path) (rate(tightbeam_messages_total[30s]))"),
    ("hosts by state", "tightbeam_fleet_hosts"),
    ("stages of sessions", "tightbeam_fleet_host_stage_seconds"),
)
"""Graphs to begin with."""


class Ended(RuntimeError):
    """A part has ended, or never began; the text has its last words."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where everything listens."""

    nodes: tuple[str, str]
    exporter: str
    prometheus: str

    @classmethod
    def free(cls) -> Places:
        """Ports of loopback that nobody has right now."""
        with contextlib.ExitStack() as held:
            sockets = [held.enter_context(socket.create_server((HOST, 0))) for _ in range(4)]
            one, two, three, four = (f"{HOST}:{s.getsockname()[1]}" for s in sockets)
        return cls((one, two), three, four)


class Observed:
    """The processes of one run; `options` are the command's."""

    def __init__(self, options: argparse.Namespace, folder: Path, redis_url: str) -> None:
        self.places = Places.free()
        self._options = options
        self._folder = folder
        self._redis_url = redis_url
        self._rooms = ["desk", *(f"desk-{n}" for n in range(2, options.hosts + 1))]
        self._secret = os.environ.get("TIGHTBEAM_SECRET") or secrets.token_hex(32)
        self.children: list[Child] = []

    def _commands(self) -> list[Command]:
        nodes = [self._node(number) for number in range(len(self.places.nodes))]
        agents = [self._agent(room) for room in self._rooms]
        return [*nodes, self._exporter(), *agents, self._prometheus()]

    def _command(self, name: str, argv: list[str], env: Mapping[str, str]) -> Command:
        log_file = self._folder / f"{name}.log"
        return Command(name, argv, {**os.environ, **env}, log_file, grace_s=GRACE_S)

    def _python(self, name: str, module: str, word: str, env: Mapping[str, str]) -> Command:
        return self._command(name, [sys.executable, "-P", "-m", module, word], env)

    def _node(self, number: int) -> Command:
        env = {
            "TIGHTBEAM_REDIS_URL": self._redis_url,
            "TIGHTBEAM_PORT": self.places.nodes[number].rpartition(":")[2],
            "TIGHTBEAM_SECRET": self._secret,
            "TIGHTBEAM_PAIRING": "0",
            "TIGHTBEAM_DRAIN_MS": os.environ.get("DRAIN_TIMEOUT_MS", "1000"),
        }
        return self._python(f"node-{number + 1}", "cluster.cli", "node", env)

    def _exporter(self) -> Command:
        env = {
            "TIGHTBEAM_REDIS_URL": self._redis_url,
            "TIGHTBEAM_PORT": self.places.exporter.rpartition(":")[2],
        }
        return self._python("exporter", "cluster.cli", "fleet-exporter", env)

    def _agent(self, room: str) -> Command:
        env = {
            "TIGHTBEAM_URL": f"http://{self.places.nodes[0]}",
            "TIGHTBEAM_ROOM": room,
            "TIGHTBEAM_HOST_TOKEN": host_token(self._secret, room),
            "TIGHTBEAM_SOURCE": "testpattern",
            "TIGHTBEAM_SIZE": self._options.size,
            "TIGHTBEAM_FPS": str(self._options.fps),
        }
        return self._python(f"agent-{room}", "agent.cli", "run", env)

    def _prometheus(self) -> Command:
        places = self.places
        jobs = {"tightbeam-node": places.nodes, "tightbeam-fleet-exporter": (places.exporter,)}
        config = self._folder / "prometheus.json"
        config.write_text(prometheus.config(jobs, RULES, SCRAPE_S, EVALUATE_S))
        argv = prometheus.command(self._folder, config, places.prometheus)
        # Its guard removes the folder, even where this process is killed.
        return replace(self._command("prometheus", argv, {}), remove=str(self._folder))

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Everything, until the scope ends; raises Ended when it does not begin."""
        lifeline = Lifeline()
        try:
            for command in self._commands():
                self.children.append(await Child.start(command, lifeline))
            for place in (*self.places.nodes, self.places.exporter):
                await self._wait_for(f"http://{place}/readyz")
            await self._wait_for(f"http://{self.places.prometheus}/-/ready")
            yield
        finally:
            await asyncio.gather(*(child.stop() for child in self.children))
            lifeline.cut()

    def check(self) -> None:
        """Raises Ended when one of them is gone."""
        for child in self.children:
            if not child.running:
                raise Ended(f"{child.command.name} has ended; its last words:\n{child.log_tail()}")

    async def _wait_for(self, url: str) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + READY_LIMIT_S
        while not await asyncio.to_thread(_answers, url):
            self.check()
            if loop.time() > deadline:
                raise Ended(f"{url} was not ready within {READY_LIMIT_S:g} s")
            await asyncio.sleep(0.1)

    def announce(self) -> None:
        """Where to look."""
        places = self.places
        lines = [
            "Hosts with the test pattern; open them a few times, to have sessions:",
            *(f"  http://{node}/#room={room}" for room in self._rooms for node in places.nodes),
            "Prometheus:",
            f"  http://{places.prometheus}/targets",
            f"  http://{places.prometheus}/alerts",
        ]
        for words, expr in SHOWN:
            url = (
                f"http://{places.prometheus}/graph?g0.expr={quote(expr)}&g0.tab=0&g0.range_input=5m"
            )
            lines.append(f"  {url}   {words}")
        lines += [
            "What it reads:",
            *(f"  http://{place}/metrics" for place in (*places.nodes, places.exporter)),
            "A Grafana with this Prometheus as its data source takes deploy/observability/dashboards/*.json;",
            "without one, a dashboard becomes a picture by:",
            f"  .venv/bin/python -m deploy.observability.picture http://{places.prometheus} session-quality",
            f"Logs are in {self._folder}. Ctrl-C ends everything.",
        ]
        print("\n".join(lines), flush=True)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def parser() -> argparse.ArgumentParser:
    """The flags."""
    flags = argparse.ArgumentParser(
        prog="make observe",
        description="A small cluster with a Prometheus beside it, to look at: two nodes, the fleet exporter,"
        " and hosts with a test pattern, all on loopback. Ctrl-C ends everything and leaves nothing behind.",
    )
    flags.add_argument("--hosts", type=int, default=1, metavar="N", help="how many hosts (1)")
    flags.add_argument(
        "--size", default="1280x720", metavar="WxH", help="of its picture (1280x720)"
    )
    flags.add_argument("--fps", type=int, default=30, metavar="N", help="pictures a second (30)")
    return flags


async def run(options: argparse.Namespace, folder: Path, redis_url: str) -> None:
    """Until a signal; raises Ended when a part ends before."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    observed = Observed(options, folder, redis_url)
    async with observed.running():
        observed.announce()
        while not stop.is_set():
            observed.check()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 0.5)


def main() -> int:
    """The command; its exit status."""
    options = parser().parse_args()
    if shutil.which("prometheus") is None:
        print("There is no prometheus here; on Debian: apt-get install prometheus", file=sys.stderr)
        return 1
    folder = Path(tempfile.mkdtemp(prefix="tightbeam-observe-"))
    valkey = EmbeddedValkey()
    try:
        valkey.start()
        asyncio.run(run(options, folder, valkey.url))
    except (Ended, OSError, RuntimeError) as error:
        print(f"make observe: {error}", file=sys.stderr)
        return 1
    finally:
        valkey.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
