"""A cluster on this machine as it is run for real: nodes behind HAProxy over Valkey, and ways to hurt it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

from benchmarks.processes import Nursery, Process
from tests import haproxy
from tests.cluster.support import SECRET
from tests.eventually import eventually
from tests.haproxy import Front, Running
from tests.outages.cluster import Cluster, NodeProcess, status
from tests.outages.network import Namespace
from tests.redis_server import Sentinel, ValkeyServer

REDIS_AWAY_S: Final = 2.0
DRAIN_S: Final = 5.0
DOWN_S: Final = 3.0
"""How long a killed node is away."""
SLOW_S: Final = (0.2, 0.05)
"""A slow Valkey stands still and goes on, in turn; well below what a sentinel takes for its end."""


@dataclass(frozen=True, slots=True)
class Use:
    """What a node's process has used: resident bytes now, CPU seconds since its start."""

    resident_bytes: int
    cpu_s: float


class LocalCluster:
    """`with LocalCluster(3) as cluster`: all of it ends with the block.

    `env` is for all nodes. `sentinel`: a replica too, and a sentinel that makes it the primary. `away`: the last node
    is at the end of that cable, which can swallow what goes through it.
    """

    def __init__(
        self,
        nodes: int,
        env: Mapping[str, str],
        *,
        sentinel: bool = False,
        front: Front | None = None,
        away: Namespace | None = None,
    ) -> None:
        """`front`: HAProxy before the nodes."""
        self._count = nodes
        self._away = away
        self._here = "127.0.0.1" if away is None else away.here
        self._env = {
            "TIGHTBEAM_TRUSTED_PROXIES": f"127.0.0.1,{self._here}",
            "DRAIN_TIMEOUT_MS": str(int(DRAIN_S * 1000)),
            **env,
        }
        if front is not None and front.tls:
            self._env["REQUIRE_WSS"] = "true"
        self._front = front
        self._wants_sentinel = sentinel
        self._folder = tempfile.TemporaryDirectory(prefix="tightbeam-local-")
        self._nursery = Nursery(Path(self._folder.name))
        self._valkeys: list[ValkeyServer] = []
        """The primary first."""
        self._sentinel: Sentinel | None = None
        self._cluster: Cluster | None = None
        self.proxy: Running | None = None
        """HAProxy, if there is one."""
        self.redis_url = ""

    def __enter__(self) -> LocalCluster:
        try:
            self._start()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._cluster is not None:
            self._cluster.__exit__(kind, error, trace)
        self._nursery.__exit__()
        servers = [*self._valkeys] if self._sentinel is None else [self._sentinel, *self._valkeys]
        for server in servers:
            server.resume()
            server.stop()
        self._folder.cleanup()

    def _start(self) -> None:
        self.redis_url = self._start_redis(Path(self._folder.name))
        self._cluster = Cluster(redis_url=self.redis_url)
        self._cluster.__enter__()
        for number in range(self._count):
            self._start_node(number)
        self._cluster.all_ready()
        if self._front is not None:
            self.proxy = proxy = haproxy.start(self._nursery, self._cluster.addresses, self._front)
            health = f"{proxy.url}/healthz"
            eventually(lambda: status(health, proxy.authority) == 200, "HAProxy finds a node")

    def _start_redis(self, folder: Path) -> str:
        """Valkey, with all that was asked for; where nodes find it."""
        bind = () if self._away is None else ("--bind", "127.0.0.1", self._here)
        open_too = ("--protected-mode", "no", *bind)  # to nobody but the node at the cable's end
        primary = ValkeyServer(folder, *open_too)
        self._valkeys.append(primary)
        if not self._wants_sentinel:
            return f"redis://{self._here}:{primary.port}"
        behind = ("--replicaof", self._here, str(primary.port))
        self._valkeys.append(ValkeyServer(folder, *open_too, *behind))
        self._sentinel = sentinel = Sentinel(folder, primary, host=self._here)
        eventually(lambda: sentinel.command("SENTINEL", "REPLICAS", "desks"), "a replica")
        return sentinel.primary_url

    def _start_node(self, number: int, port: str = "") -> NodeProcess:
        assert self._cluster is not None
        if self._away is None or number < self._count - 1:
            return self._cluster.start_node(port=port, **self._env)
        there, prefix = self._away.there, self._away.prefix
        return self._cluster.start_node(host=there, port=port, prefix=prefix, **self._env)

    @property
    def nodes(self) -> list[NodeProcess]:
        """In a place that stays a node's own over restarts."""
        assert self._cluster is not None
        return self._cluster.nodes[: self._count]

    @property
    def url(self) -> str:
        """That of HAProxy, or of all nodes by comma."""
        if self.proxy is not None:
            return self.proxy.url
        return ",".join(node.url("") for node in self.nodes)

    def uses(self) -> dict[str, Use]:
        """Of every node that runs, and of Valkey's primary if it does."""
        processes = {f"node {number}": node.process for number, node in enumerate(self.nodes)}
        valkey = self._valkeys[0].process
        if valkey.poll() is None:
            processes["Valkey"] = Process(valkey, Path(os.devnull))
        return {
            name: Use(process.resident_bytes(), process.busy_s())
            for name, process in processes.items()
            if process.running()
        }

    @property
    def valkey(self) -> ValkeyServer:
        """The primary."""
        return self._valkeys[0]

    # What can happen to it; each returns when the cluster is whole again, or as whole as it gets. What they return is
    # the moment (monotonic seconds) from which on clients could be served: there was a live node and a primary.

    def _again(self, number: int) -> None:
        """A new process in the place of one that has ended."""
        assert self._cluster is not None
        cluster, old = self._cluster, self.nodes[number]
        old.process.stop()
        fresh = self._start_node(number, str(old.address[1]))
        cluster.nodes.remove(fresh)
        cluster.nodes[number] = fresh
        eventually(lambda: status(fresh.url("/readyz")) == 200, "the node is back", 60)

    def kill_node(self, seconds: float = DOWN_S) -> float:
        """`kill -9` of the first node, which is started again a little later."""
        self.nodes[0].signal(signal.SIGKILL)
        killed_at = time.monotonic()
        time.sleep(seconds)
        self._again(0)
        return killed_at

    def black_hole(self, seconds: float) -> float:
        """The last node's network swallows every packet, and tells nobody."""
        assert self._away is not None
        self._away.swallow()
        silent_at = time.monotonic()
        time.sleep(seconds)
        self._away.heal()
        node = self.nodes[-1]
        eventually(lambda: status(node.url("/readyz")) == 200, "the node is back", 60)
        return silent_at

    def partition(self, seconds: float) -> float:
        """The last node reaches no Redis and no sentinel, while its peers reach it."""
        assert self._away is not None
        ports = [server.port for server in self._valkeys]
        ports += [] if self._sentinel is None else [self._sentinel.port]
        self._away.swallow_to(ports)
        time.sleep(seconds)
        self._away.heal()
        healed_at = time.monotonic()
        node = self.nodes[-1]
        eventually(lambda: status(node.url("/readyz")) == 200, "the node is back", 60)
        return healed_at

    def slow_redis(self, seconds: float) -> float:
        """Valkey works a fifth of the time only."""
        ends_at = time.monotonic() + seconds
        still_s, works_s = SLOW_S
        while time.monotonic() < ends_at:
            self.valkey.pause()
            time.sleep(still_s)
            self.valkey.resume()
            time.sleep(works_s)
        return time.monotonic()

    def stop_redis(self, seconds: float = REDIS_AWAY_S) -> float:
        """`kill -9` of every Valkey; they are back empty after a while."""
        for server in self._valkeys:
            server.stop()
        time.sleep(seconds)
        for server in self._valkeys:
            server.start()
        back_at = time.monotonic()
        self._pair()
        return back_at

    def fail_over(self, seconds: float = 0.0) -> float:
        """`kill -9` of the primary: the sentinel makes the replica the primary; the old one follows when it is back."""
        old, replica = self._valkeys
        old.stop()
        killed_at = time.monotonic()
        eventually(lambda: replica.client.role()[0] == b"master", "failover", 60)
        new_at = time.monotonic()
        self._valkeys.reverse()
        time.sleep(max(0.0, killed_at + seconds - time.monotonic()))
        old.start()
        self._pair()
        return new_at

    def _pair(self) -> None:
        """Give a replica that was started anew the primary of today."""
        if len(self._valkeys) == 1:
            return
        primary, replica = self._valkeys
        primary.command("REPLICAOF", "NO", "ONE")
        replica.command("REPLICAOF", self._here, str(primary.port))

    def drain(self, number: int = 0) -> float:
        """`tightbeam drain` of one node, which comes back at once when it is empty."""
        node = self.nodes[number]
        argv = [sys.executable, "-m", "cluster.cli", "drain", node.url("")]
        env = {"PATH": os.environ["PATH"], "TIGHTBEAM_SECRET": SECRET}
        began_at = time.monotonic()
        subprocess.run(argv, env=env, check=True, timeout=8 * DRAIN_S, stdout=subprocess.DEVNULL)
        eventually(lambda: not node.process.running(), "the node ends", 3 * DRAIN_S)
        self._again(number)
        return began_at

    def rolling_restart(self) -> float:
        """SIGTERM to one node after another, each of which drains and is started again."""
        began_at = time.monotonic()
        for number in range(self._count):
            self.nodes[number].signal(signal.SIGTERM)
            ended = self.nodes[number].process
            eventually(lambda ended=ended: not ended.running(), "it drains", 4 * DRAIN_S)  # type: ignore[misc]
            self._again(number)
        return began_at
