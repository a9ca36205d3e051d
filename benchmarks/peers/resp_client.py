"""Plain blocking RESP for the loads of S4 and S5, and the lines by which a benchmark drives them."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable, Mapping
from typing import Any

import hiredis


class RespClient:
    """One connection to a unix socket."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self._reader = hiredis.Reader()

    def write(self, commands: bytes) -> None:
        """Packed commands, as they are."""
        self.socket.sendall(commands)

    def read(self, count: int) -> None:
        """Wait for so many replies; raises the first error among them."""
        while count:
            self._reader.feed(self.socket.recv(65536))
            while (reply := self._reader.gets()) is not False:
                if isinstance(reply, hiredis.ReplyError):
                    raise reply
                count -= 1


def pack(*parts: Any) -> bytes:
    """One command as RESP."""
    packed: bytes = hiredis.pack_command(parts)
    return packed


def obey(run: Callable[..., Mapping[str, float]]) -> None:
    """Print "ready", then answer every line "run NUMBER ..." with a line of JSON."""
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(run(*map(float, line.split()[1:]))), flush=True)
