"""S1, the edge: what one WebSocket message in and one out cost the server, with nothing in between.

50 connections each send 400 bytes of text and wait for their echo. The load runs in a process of its own; only
the server's CPU time counts, user and system, from /proc.

ws                 npm `ws` with `bufferutil`
sansio, websockets uvicorn's two implementations below Starlette (the first one is uvicorn's default)
picows             framing in Cython on uvloop
ours               the node's own connection class on its own uvicorn server with all checks of the protocol, and a
                   receiver that echoes in place of a session

Rounds are interleaved (A B A B), the table shows medians, a ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Final

from benchmarks import command, windows
from benchmarks.peers.base import ensure_venv, this_python, version_of
from benchmarks.processes import Nursery
from benchmarks.report import OURS, THIS_TREE, Environment, Report
from benchmarks.servers import (
    HERE,
    Load,
    Server,
    ensure_npm,
    start_javascript,
    start_peers,
    start_script,
)

SCRIPT: Final = str(HERE / "echo_server.py")
DIALECT: Final = "echo"


def start_python(nursery: Nursery, python: str, kind: str) -> Server:
    """One of the servers of `echo_server.py`."""
    argv = [python, SCRIPT, kind]
    process, port = start_script(
        nursery, f"echo-{kind}", argv, {"PYTHONPATH": str(HERE.parents[1])}
    )
    return Server([process], [port], DIALECT)


def starters(nursery: Nursery, versions: dict[str, str]) -> dict[str, Callable[[], Server]]:
    """How each peer is started; fills in its version."""

    def ws() -> Server:
        npm = ensure_npm()
        versions["ws"] = f"{npm['ws']}, {npm['bufferutil']}"
        return start_javascript(nursery, "ws_echo.js", DIALECT)

    def uvicorn(kind: str) -> Server:
        names = ("uvicorn", "websockets", "starlette")
        texts = (f"{name} {version_of(this_python(), name)}" for name in names)
        versions[kind] = ", ".join(texts)
        return start_python(nursery, this_python(), kind)

    def picows() -> Server:
        python = ensure_venv("picows", ["picows", "uvloop"], "picows, uvloop")
        versions["picows"] = f"picows {version_of(python, 'picows')}"
        return start_python(nursery, str(python), "picows")

    return {
        "ws": ws,
        "websockets-sansio": lambda: uvicorn("websockets-sansio"),
        "websockets": lambda: uvicorn("websockets"),
        "picows": picows,
    }


def measure(nursery: Nursery, options: argparse.Namespace) -> Report:
    """All subjects side by side, loaded in turn."""
    versions = {OURS: THIS_TREE}
    servers = {OURS: start_python(nursery, this_python(), OURS)}
    peers, skipped = start_peers({} if options.only_ours else starters(nursery, versions))
    servers |= peers
    environment = Environment.now(versions)
    size = {"pairs": options.connections, "bytes": options.bytes}
    lanes = [
        windows.Lane(name, Load.on(nursery, server, "ws_load.js", size), server.processes)
        for name, server in servers.items()
    ]
    results = windows.interleave(lanes, [windows.SATURATED], options.rounds, options.seconds)
    notes = [
        f"{options.connections} connections, {options.bytes} bytes,"
        f" {options.rounds} rounds of {options.seconds} s"
    ]
    return Report("S1: echo at the edge", environment, results, list(servers), skipped, notes)


def main() -> int:
    """0 when ours was measured."""
    parser = command.make_parser("s1", __doc__)
    parser.add_argument("--connections", type=int, default=50, help="sockets (default 50)")
    parser.add_argument("--bytes", type=int, default=400, help="per message (default 400)")
    options = parser.parse_args()
    return command.run("S1", lambda nursery: measure(nursery, options), options.json)


if __name__ == "__main__":
    sys.exit(main())
