"""A node as its own process, for what only a process can show: signals, exit, logs."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import support


def status_of(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        return error.code


@dataclass
class NodeProcess:
    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ready(self) -> bool:
        with contextlib.suppress(OSError):
            return status_of(f"{self.http}/readyz") == 200
        return False


@contextlib.contextmanager
def node_process(redis_url: str, folder: Path, **environment: str) -> Iterator[NodeProcess]:
    listener = socket.create_server(("127.0.0.1", 0))
    fd, port = listener.fileno(), listener.getsockname()[1]
    env = dict(os.environ) | {
        "REDIS_URL": redis_url,
        "TIGHTBEAM_SECRET": support.SECRET,
        "TIGHTBEAM_LISTEN_FD": str(fd),
        "TIGHTBEAM_PAIRING": "0",
        "TIGHTBEAM_SINGLE_NODE": "1",
        "DRAIN_TIMEOUT_MS": "200",
        "RATE_LIMIT_CONN_PER_10S": "1000000",  # all tests come from one address
        "RATE_LIMIT_IP_MSGS_PER_10S": "1000000",
    }
    path = folder / f"node-{port}.log"
    with path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "cluster.cli", "node"],
            env=env | environment,
            pass_fds=(fd,),
            stdout=log,
            stderr=log,
        )
    listener.close()
    try:
        yield NodeProcess(process, port, path)
    finally:
        process.kill()
        process.wait()
