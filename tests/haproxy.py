"""Debian's HAProxy before local nodes, which looks whether they take peers, passes addresses on, and ends TLS."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.processes import Nursery, Process
from cluster.up import tls
from cluster.up.links import write_private
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
    bind {address}:{port}{tls}
    default_backend nodes
backend nodes
    balance leastconn
    option forwardfor
    http-request set-header X-Forwarded-Proto {scheme}
    option httpchk GET /readyz?local=1
    default-server check inter 250ms fall 2 rise 1
{servers}
"""


ADDRESS: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Front:
    """What clients are to find: room for `most` of them at once, each of which takes two of HAProxy's files."""

    most: int = 4000
    tls: bool = False


@dataclass(frozen=True, slots=True)
class Running:
    """Where it will listen; `authority` made its certificate, where there is one."""

    process: Process
    address: tuple[str, int]
    authority: Path | None

    @property
    def url(self) -> str:
        """Of its root."""
        scheme = "http" if self.authority is None else "https"
        return f"{scheme}://{self.address[0]}:{self.address[1]}"


def start(nursery: Nursery, nodes: Sequence[tuple[str, int]], front: Front) -> Running:
    """Its process; an authority and a certificate are made for this run."""
    if BINARY is None:
        raise RuntimeError(NEEDS)
    port, authority, scheme, options = free_port(), None, "http", ""
    if front.tls:
        made = tls.ensure(nursery.folder / "tls", [ADDRESS])
        identity = (
            nursery.folder / "haproxy.pem"
        )  # key and certificate in one file, as HAProxy wants them
        write_private(identity, made.certificate.read_bytes() + made.key.read_bytes())
        authority, scheme, options = made.authority, "https", f" ssl crt {identity}"
    servers = "\n".join(f"    server n{i} {host}:{at}" for i, (host, at) in enumerate(nodes))
    config = nursery.folder / "haproxy.cfg"
    words = CONFIG.format(
        address=ADDRESS, port=port, tls=options, scheme=scheme, servers=servers, most=front.most
    )
    config.write_text(words)
    subprocess.run([BINARY, "-c", "-q", "-f", str(config)], check=True)
    process = nursery.start("haproxy", [BINARY, "-f", str(config)])
    return Running(process, (ADDRESS, port), authority)
