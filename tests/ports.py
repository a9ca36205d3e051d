"""Ports for the servers of tests."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
from collections.abc import Iterator

LOWEST, BELOW = 20_000, 32_000
"""Where no kernel takes ports by itself: Linux does from 32,768 on."""
_turns = itertools.count(os.getpid() * 997)  # another run of the tests is elsewhere


def free_port() -> int:
    """A TCP port of loopback that nobody has right now, and that no connection takes before its server does."""
    for _ in range(BELOW - LOWEST):
        port = LOWEST + next(_turns) % (BELOW - LOWEST)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError(f"no port from {LOWEST} to {BELOW} is free")


@contextlib.contextmanager
def udp_taken(*ports: int) -> Iterator[None]:
    """These UDP ports of loopback, by another program."""
    with contextlib.ExitStack() as sockets:
        for port in ports:
            one = sockets.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            one.bind(("127.0.0.1", port))
        yield


def free_udp_range(count: int) -> tuple[int, int]:
    """The first and the last of UDP ports that nobody has right now; another run of the tests looks elsewhere."""
    firsts = range(LOWEST, BELOW, count)
    skipped = os.getpid() % len(firsts)
    for first in (*firsts[skipped:], *firsts[:skipped]):
        with contextlib.suppress(OSError), udp_taken(*range(first, first + count)):
            return first, first + count - 1
    raise AssertionError(f"no {count} ports from {LOWEST} to {BELOW} are free")
