"""S8, outages: how long until 99 % of the pairs deliver again, and what was lost meanwhile.

Pairs of clients say numbered items to each other, two a second each way; a recorder outside both ends counts them. The
clients come back as page and agent do, at any node that lives.

killed    one of three nodes is ended by kill -9
Redis     is ended by kill -9 and comes back empty after two seconds; counted from then
at once   every socket is lost in the same moment

ours         the Tightbeam dialect;  "plain": the plain one, which repeats nothing
predecessor  npm `ws`, members in Redis and `psubscribe room:*`, the same clients as "plain"
socket.io    a relay of rooms with @socket.io/redis-adapter, clients as "plain"

A pair that does not deliver within --seconds counts as not back; a time of "-" means that 99 % never were. Every round
starts fresh servers; rounds are interleaved (A B A B), the table shows medians.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

import orjson
import uvloop

from benchmarks import command
from benchmarks.peers.base import PeerUnavailable
from benchmarks.processes import Nursery
from benchmarks.report import OURS, THIS_TREE, Environment, Metric, Report, Results
from benchmarks.servers import (
    SECRET,
    Redis,
    Server,
    ensure_npm,
    raise_file_limit,
    start_javascript,
    start_nodes,
    start_redis,
)
from tests import eventually
from tests.outages.crowd import Crowd
from tests.outages.plain import PlainPeer
from tests.outages.recorder import Recorder

BACK: Final = Metric("99 % deliver after", "s", 2)
SHARE: Final = Metric("pairs back", "%", 1, ratio=False)
LOST: Final = Metric("items lost", "%", 2, ratio=False)
PEERS: Final = ("predecessor", "socket.io")
PLAIN: Final = "ours, plain"
REDIS_AWAY_S: Final = 2.0
WARM_S: Final = 5.0


class SocketIoPeer(PlainPeer):
    """Speaks Engine.IO 4 and Socket.IO 5 as far as a relay of messages needs it."""

    def path(self) -> str:
        """A WebSocket at once, without the polling before it."""
        return f"/socket.io/?EIO=4&transport=websocket&roomId={self.room}"

    def encode(self, message: dict[str, str]) -> bytes:
        """4: message, 2: event."""
        return b"42" + orjson.dumps(["message", message])

    def decode(self, frame: bytes) -> dict[str, str]:
        """0 is the server's opening, answered by 40: join the namespace."""
        if frame.startswith(b"0") and self._wire is not None:
            self._wire.send(b"40")
        if not frame.startswith(b"42"):
            return {"type": "other"}
        message: dict[str, str] = orjson.loads(frame[2:])[1]
        return message


@dataclass(frozen=True, slots=True)
class Trial:
    """One subject in one round of one scenario."""

    nursery: Nursery
    server: Server
    crowd: Crowd

    async def killed(self) -> float:
        """When the outage that counts began."""
        os.kill(self.server.processes[0].pid, signal.SIGKILL)
        self.crowd.balancer.nodes.pop(0)
        return time.monotonic()

    async def redis(self) -> float:
        """When Redis accepts again."""
        redis = self.server.redis
        assert redis is not None
        os.kill(redis.process.pid, signal.SIGKILL)
        await asyncio.sleep(REDIS_AWAY_S)
        name = os.path.basename(redis.path).removesuffix(".sock")
        await asyncio.to_thread(start_redis, self.nursery, name)
        return time.monotonic()

    async def at_once(self) -> float:
        """When all sockets went."""
        for client in self.crowd.clients:
            client.drop()
        for pair in self.crowd.plain:
            for peer in pair:
                peer.drop()
        return time.monotonic()


SCENARIOS: Final[Mapping[str, Callable[[Trial], Awaitable[float]]]] = {
    "killed": Trial.killed,
    "Redis": Trial.redis,
    "at once": Trial.at_once,
}


def start(nursery: Nursery, subject: str, name: str) -> Server:
    """Three fresh nodes and a fresh Redis."""
    redis: Redis = start_redis(nursery, name)
    if subject == "socket.io":
        return start_javascript(nursery, "socketio.js", "socketio", redis, 3)
    if subject == "predecessor":
        return start_javascript(nursery, "predecessor.js", "plain", redis, 3)
    return start_nodes(nursery, redis, "tightbeam" if subject == OURS else "plain", 3)


async def trial(
    nursery: Nursery, server: Server, subject: str, scenario: str, options: argparse.Namespace
) -> Mapping[Metric, float | None]:
    """Bring the pairs together, hurt the servers, and wait."""
    async with Crowd([("127.0.0.1", port) for port in server.ports]) as crowd:
        crowd.world.secret = SECRET
        crowd.world.source = lambda number: f"127.5.{number // 250}.{number % 250 + 1}"
        begun = time.monotonic()
        if subject == OURS:
            crowd.add(options.pairs)
        else:
            kind = SocketIoPeer if subject == "socket.io" else PlainPeer
            crowd.add_plain(options.pairs, kind=kind)
        recorder = crowd.recorder if subject == OURS else crowd.plain_recorder
        await _back(recorder, begun, 4 * options.seconds)
        since = await SCENARIOS[scenario](Trial(nursery, server, crowd))
        await _back(recorder, since, options.seconds)
        crowd.world.say_every_s = 3600.0
        await asyncio.sleep(WARM_S)  # what is still on its way arrives
        times = recorder.deliveries(since).values()
        back_s = recorder.recovery_s(since)
        said = sum(len(stream.said) for stream in recorder.streams.values())
        missing = sum(stream.missing for stream in recorder.streams.values())
        return {
            BACK: None if math.isinf(back_s) else back_s,
            SHARE: sum(not math.isinf(at) for at in times) / options.pairs * 100,
            LOST: missing / said * 100,
        }


async def _back(recorder: Recorder, since: float, limit_s: float) -> None:
    """Until all pairs deliver, or the limit."""
    with contextlib.suppress(AssertionError):
        await eventually.until(
            lambda: not math.isinf(recorder.recovery_s(since, 1.0)), limit_s=limit_s, poll_s=0.1
        )


def measure(nursery: Nursery, options: argparse.Namespace) -> Report:
    """All subjects in turn, in every scenario."""
    raise_file_limit()
    skipped: dict[str, str] = {}
    versions = dict.fromkeys((OURS, PLAIN), THIS_TREE)
    try:
        if not options.only_ours:
            npm = ensure_npm()
            versions["predecessor"] = f"{npm['ws']}, {npm['redis']}"
            versions["socket.io"] = f"{npm['socket.io']}, {npm['@socket.io/redis-adapter']}"
    except PeerUnavailable as error:
        skipped = dict.fromkeys(PEERS, str(error))
    environment = Environment.now(versions)
    results = Results()
    for number in range(options.rounds):
        for scenario in SCENARIOS:
            for subject in versions:
                name = f"redis-{number}-{list(SCENARIOS).index(scenario)}-{subject[:6]}"
                server = start(nursery, subject, name.replace(",", "").replace(" ", ""))
                found = uvloop.run(trial(nursery, server, subject, scenario, options))
                for metric, value in found.items():
                    results.add(scenario, metric, subject, value)
                for process in server.processes:
                    if process.running():
                        os.kill(process.pid, signal.SIGKILL)
    notes = [f"{options.pairs} pairs, {options.rounds} rounds, at most {options.seconds} s"]
    return Report("S8: outages", environment, results, list(versions), skipped, notes)


def main() -> int:
    """0 when ours was measured."""
    parser = command.make_parser("s8", __doc__, rounds=3, seconds=20)
    parser.add_argument("--pairs", type=int, default=150, help="of clients (default 150)")
    options = parser.parse_args()
    return command.run("S8", lambda nursery: measure(nursery, options), options.json)


if __name__ == "__main__":
    sys.exit(main())
