"""The load of S5: publishes to one channel at a rate, in bursts, and one that says "end" after them.

`python -m benchmarks.peers.redis_publish SOCKET CHANNEL BYTES`; reads "run SECONDS RATE BURST".
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping

from benchmarks.peers.resp_client import RespClient, obey, pack


def main(path: str, channel: str, size_bytes: str) -> None:
    """Publish on demand."""
    client = RespClient(path)
    one = pack("PUBLISH", channel, b"x" * int(size_bytes))

    def run(seconds: float, rate: float, burst: float) -> Mapping[str, float]:
        number = int(burst)
        started, published = time.perf_counter(), 0
        while (now := time.perf_counter() - started) < seconds:
            due = published / rate
            if now < due:
                time.sleep(due - now)
            client.write(one * number)
            client.read(number)
            published += number
        client.write(pack("PUBLISH", channel, b"end"))
        client.read(1)
        return {"messages": published, "seconds": time.perf_counter() - started}

    obey(run)


if __name__ == "__main__":
    main(*sys.argv[1:])
