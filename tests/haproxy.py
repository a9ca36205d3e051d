"""Debian's HAProxy before local nodes, which looks whether they take peers and passes addresses on."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from typing import Final

from benchmarks.processes import Nursery, Process
from tests.ports import free_port

BINARY: Final = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
NEEDS: Final = "needs Debian's package haproxy"
CONFIG: Final = """\
global
    maxconn {most}
defaults
    mode http
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    timeout tunnel 1h
    option redispatch
frontend clients
    bind 127.0.0.1:{port}
    default_backend nodes
backend nodes
    balance leastconn
    option forwardfor
    http-request set-header X-Forwarded-Proto http
    option httpchk GET /readyz?local=1
    default-server check inter 250ms fall 2 rise 1
{servers}
"""


def start(
    nursery: Nursery, nodes: Sequence[tuple[str, int]], most: int = 4000
) -> tuple[Process, int]:
    """Its process and port, where it will listen; `most` clients at once, each of which takes two of its files."""
    if BINARY is None:
        raise RuntimeError(NEEDS)
    port = free_port()
    servers = "\n".join(f"    server n{i} {host}:{at}" for i, (host, at) in enumerate(nodes))
    config = nursery.folder / "haproxy.cfg"
    config.write_text(CONFIG.format(port=port, servers=servers, most=most))
    subprocess.run([BINARY, "-c", "-q", "-f", str(config)], check=True)
    return nursery.start("haproxy", [BINARY, "-f", str(config)]), port
