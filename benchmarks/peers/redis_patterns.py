"""The load of S4: nodes that hold one pattern each, and publishes to them; all must arrive before the next ones go.

`python -m benchmarks.peers.redis_patterns SOCKET own|shared NODES BYTES BATCH`. `own`: each node subscribes
`<its random id>:*`, a publish goes to one of them in turn. `shared`: all subscribe `room:*`, a publish reaches all.
"""

from __future__ import annotations

import secrets
import select
import sys
import time
from collections.abc import Mapping

from benchmarks.peers.resp_client import RespClient, obey, pack


class Patterns:
    """The subscribers and the publisher."""

    def __init__(self, path: str, shared: bool, nodes: int, batch: int) -> None:
        ids = ["room" if shared else secrets.token_hex(8) for _ in range(nodes)]
        self._nodes = [RespClient(path) for _ in ids]
        self._poll = select.epoll()
        self._by_fd = {}
        for name, node in zip(ids, self._nodes, strict=True):
            node.write(pack("PSUBSCRIBE", f"{name}:*"))
            node.read(1)
            self._by_fd[node.socket.fileno()] = node.socket
            self._poll.register(node.socket, select.EPOLLIN)
        # Of equal length, so that what has to arrive can be counted in bytes.
        rooms = [f"room:{secrets.token_hex(8)}" for _ in range(nodes)]
        self._channels = rooms if shared else [f"{name}:letters" for name in ids]
        self._pattern = "room:*" if shared else f"{ids[0]}:*"
        self._reach = nodes if shared else 1
        self._batch = batch
        self._publisher = RespClient(path)
        self._next = 0

    def use(self, size_bytes: int) -> None:
        """Prepare the publishes of this size."""
        body = b"x" * size_bytes
        self._commands = [pack("PUBLISH", channel, body) for channel in self._channels]
        # RESP2 has the same form for what a client sends and for what is pushed.
        push = len(pack("pmessage", self._pattern, self._channels[0], body))
        self._expected = push * self._reach * self._batch

    def run(self, seconds: float) -> Mapping[str, float]:
        """Publish for so long; the number of publishes."""
        started, publishes = time.perf_counter(), 0
        while time.perf_counter() - started < seconds:
            commands = [
                self._commands[(self._next + index) % len(self._commands)]
                for index in range(self._batch)
            ]
            self._next += self._batch
            self._publisher.write(b"".join(commands))
            self._publisher.read(self._batch)
            self._drain()
            publishes += self._batch
        return {"messages": publishes, "seconds": time.perf_counter() - started}

    def _drain(self) -> None:
        left = self._expected
        while left > 0:
            for fd, _ in self._poll.poll():
                left -= len(self._by_fd[fd].recv(1 << 20))
        if left < 0:
            raise RuntimeError("more arrived than was published")


def main(path: str, kind: str, nodes: str, size_bytes: str, batch: str) -> None:
    """Subscribe, then publish on demand."""
    patterns = Patterns(path, kind == "shared", int(nodes), int(batch))
    patterns.use(int(size_bytes))
    obey(patterns.run)


if __name__ == "__main__":
    main(*sys.argv[1:])
