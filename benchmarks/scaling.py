"""The cost model of docs/scaling.md: what each step costs the one Redis, measured, and what a cluster of N nodes needs.

Our store does each step many times against a Valkey, whose CPU time alone counts, from /proc. The model (`need`)
multiplies: for a number of nodes, of rooms and of sessions a second it says how busy Redis and the nodes are. What a
session costs the nodes comes from S7, a publish among many nodes from S4.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from benchmarks import command
from benchmarks.processes import Nursery, Process
from benchmarks.report import OURS, Environment, Metric, Report, Results
from benchmarks.servers import start_redis
from cluster.auth import new_id
from cluster.link import Link
from cluster.protocol.messages import PeerId, Role, RoomId
from cluster.protocol.telemetry import SessionFigures, Telemetry, encode
from cluster.redis_url import RedisUrl
from cluster.resp import RespConnection
from cluster.room import Member, NodeId
from cluster.settings import Timing
from cluster.store.base import JoinRequest, Registration
from cluster.store.redis import RedisStore

AT_ONCE: Final = 64
NEIGHBOURS: Final = (10, 100)
"""Nodes with which a node shares rooms, in the measured beats."""
NODES_OF_A_ROOM: Final = 2
"""Its host and its player are on different nodes, each of which writes it again."""
CPU: Final = Metric("Redis CPU", "us")
MEMORY: Final = Metric("Redis memory", "bytes", 0)
TIMING: Final = Timing()
STREAM: Final = SessionFigures(
    codec="h264",
    encoder="h264_nvenc",
    path="direct",
    congestion="hold",
    width=1920,
    height=1080,
    encode_fps=60.0,
    target_bps=2e7,
    sent_bps=1.9e7,
    stages_s={"capture": 0.001, "convert": 0.001, "encode": 0.004, "send": 0.002},
    dropped={"replaced": 12},
    rtt_s=0.012,
    loss=0.001,
)


@dataclass(frozen=True, slots=True)
class Costs:
    """CPU microseconds of one step: of Redis, but for the two of nodes."""

    join: float
    leave: float
    register: float
    beat: float
    beat_per_node: float
    """More for each further node with which rooms are shared: all of them, in the model."""
    publish: float
    """Of 1 KiB to one node's mailbox, and out of it."""
    publish_per_node: float
    """More for each further node's pattern that does not match."""
    telemetry: float
    node_session: float
    """Of both nodes: connect, join, offer, answer, candidates, leave."""


MEASURED: Final = Costs(
    join=36.2,
    leave=31.8,
    register=30.2,
    beat=18.6,
    beat_per_node=0.70,
    publish=6.4,
    publish_per_node=0.0157,
    telemetry=2.3,
    node_session=3310,
)
"""On the machine and the day of docs/benchmarks.md: steps by this file, publishes by S4, a session by S7 (4 nodes)."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a cluster has to do."""

    nodes: int
    sessions_per_s: float
    """That begin and end; two peers each, on different nodes."""
    messages: int
    """Of a session, both ways: offer, answer, candidates, acknowledgements."""
    rooms: int
    """That are open; each has a host, which sends telemetry."""
    telemetry_every_s: float = 2.0


LOADS: Final = (
    Load(nodes=3, sessions_per_s=1, messages=60, rooms=1_000),
    Load(nodes=10, sessions_per_s=10, messages=60, rooms=10_000),
    Load(nodes=100, sessions_per_s=100, messages=60, rooms=100_000),
    Load(nodes=100, sessions_per_s=1_000, messages=60, rooms=100_000),
    Load(nodes=300, sessions_per_s=300, messages=60, rooms=300_000),
    Load(nodes=1_000, sessions_per_s=1_000, messages=60, rooms=1_000_000),
)
"""A session of an hour, in a busy hour: one a second for a thousand rooms; and once ten times as many."""


@dataclass(frozen=True, slots=True)
class Need:
    """Shares of one core, of the Redis and of each node; and how long a Redis that came back empty is not whole."""

    redis_joins: float
    redis_messages: float
    redis_sweeps: float
    redis_beats: float
    redis_telemetry: float
    node: float
    whole_again_s: float

    @property
    def redis(self) -> float:
        """All of Redis's; it has one core and no more."""
        joins = self.redis_joins + self.redis_messages
        return joins + self.redis_sweeps + self.redis_beats + self.redis_telemetry


def need(costs: Costs, load: Load) -> Need:
    """Every message is one publish whatever the number of nodes; only the patterns that do not match add up."""
    publish = costs.publish + costs.publish_per_node * (load.nodes - 1)
    messages_per_s = load.sessions_per_s * load.messages
    joins_per_s = load.sessions_per_s * 2  # each is told to the other's node, which is a publish
    writes = load.rooms * NODES_OF_A_ROOM
    return Need(
        redis_joins=joins_per_s * (costs.join + costs.leave + 2 * publish) / 1e6,
        redis_messages=messages_per_s * publish / 1e6,
        redis_sweeps=writes / TIMING.sweep_s * costs.register / 1e6,
        redis_beats=load.nodes / TIMING.beat_s * _beat(costs, load.nodes) / 1e6,
        redis_telemetry=load.rooms / load.telemetry_every_s * costs.telemetry / 1e6,
        node=load.sessions_per_s * costs.node_session / 1e6 / load.nodes,
        whole_again_s=writes * costs.register / 1e6,
    )


def _beat(costs: Costs, nodes: int) -> float:
    return costs.beat + costs.beat_per_node * (nodes - 1)


class Bench:
    """One node's store, without the node."""

    def __init__(self, url: str) -> None:
        self.link = Link(RedisUrl.parse(url), self._up)
        self.store = RedisStore(self.link, NodeId(new_id()), TIMING, alone=True)

    async def _up(self, connection: RespConnection) -> None:
        await self.store.prepare(connection)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Connected."""
        task = asyncio.create_task(self.link.run())
        try:
            async with asyncio.timeout(10):
                while not self.link.up:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def join(self, room: RoomId, role: Role) -> Member:
        """A host, or a player, of a room."""
        request = JoinRequest(
            room, PeerId(new_id()), role, "tightbeam", 9, host_capacity=9, authorised=True
        )
        return (await self.store.join(request)).member


async def in_turns(count: int, step: Callable[[int], Awaitable[object]]) -> None:
    """All steps, some at once: what goes out in one turn is one write, as in a busy node."""
    for start in range(0, count, AT_ONCE):
        await asyncio.gather(*(step(i) for i in range(start, min(count, start + AT_ONCE))))


async def round_of(bench: Bench, redis: Process, count: int, results: Results) -> None:
    """Every step once, `count` times."""
    rooms = [RoomId(new_id()) for _ in range(count)]
    members: dict[int, Member] = {}

    async def measured(name: str, steps: int, step: Callable[[int], Awaitable[object]]) -> None:
        before = redis.busy_s()
        await in_turns(steps, step)
        results.add(name, CPU, OURS, (redis.busy_s() - before) / steps * 1e6)

    async def join(i: int) -> None:
        members[i] = await bench.join(rooms[i // 2], "player" if i % 2 else "host")

    async def leave(i: int) -> None:
        await bench.store.leave(rooms[i // 2], members[i], "bye")

    async def register(i: int) -> None:
        rows = [(members[2 * i], True), (members[2 * i + 1], True)]
        await bench.store.register(Registration(rooms[i], 9, rows))

    async def beat(others: list[NodeId], _: int) -> None:
        await bench.store.beat(others)

    async def report(i: int) -> None:
        bench.store.report(rooms[i], frame)
        if i % AT_ONCE == 0:  # no answer is waited for
            await bench.link.current().call("PING")

    frame = encode(Telemetry("1.0", "streaming", 3600.0, (STREAM,), cpu=0.25, gpu=0.5))
    memory = await _used_memory(bench)
    await measured("join (of two, into a room of their own)", 2 * count, join)
    results.add("a room of two", MEMORY, OURS, (await _used_memory(bench) - memory) / count)
    await measured("write a room of two again", count, register)
    await measured("leave", 2 * count, leave)
    for neighbours in NEIGHBOURS:
        others = [NodeId(new_id()) for _ in range(neighbours)]
        await measured(f"beat, {neighbours} neighbours", count, partial(beat, others))
    await measured(f"telemetry of a host, {len(frame)} bytes", count, report)


async def _used_memory(bench: Bench) -> int:
    text = await bench.link.current().call("INFO", "memory")
    return int(text.split(b"used_memory:")[1].split(b"\r")[0])


def measure(nursery: Nursery, options: argparse.Namespace) -> Report:
    """The steps, in rounds."""
    redis = start_redis(nursery, "redis")
    results = Results()

    async def rounds() -> None:
        bench = Bench(redis.url)
        async with bench.running():
            await round_of(bench, redis.process, options.count // 10, Results())  # warm up
            for _ in range(options.rounds):
                await round_of(bench, redis.process, options.count, results)

    asyncio.run(rounds())
    environment = Environment.now({OURS: redis.version()})
    notes = [f"{options.rounds} rounds of {options.count:,} rooms, {AT_ONCE} steps at once"]
    return Report("What Redis spends on each step", environment, results, [OURS], {}, notes)


def table(costs: Costs, loads: Sequence[Load]) -> str:
    """The model, a row per load, in Markdown."""
    columns = ["nodes", "rooms", "sessions/s", "publish, us"]
    columns += ["joins", "messages", "sweeps", "beats", "telemetry", "**Redis, % of its core**"]
    columns += ["a node, %", "whole again, s"]
    lines = ["| " + " | ".join(columns) + " |", "|" + "---:|" * len(columns)]
    for load in loads:
        found = need(costs, load)
        parts = (found.redis_joins, found.redis_messages, found.redis_sweeps, found.redis_beats)
        shares = (*parts, found.redis_telemetry, found.redis, found.node)
        publish = costs.publish + costs.publish_per_node * (load.nodes - 1)
        cells = [f"{load.nodes:,}", f"{load.rooms:,}", f"{load.sessions_per_s:,.0f}"]
        cells += [f"{publish:.1f}", *(f"{share * 100:.1f}" for share in shares)]
        cells.append(f"{found.whole_again_s:.1f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> int:
    """0 when Redis was measured."""
    parser = command.make_parser("scaling", __doc__, rounds=5)
    parser.add_argument("--count", type=int, default=5000, help="rooms in a round (default 5000)")
    parser.add_argument(
        "--model", action="store_true", help="only print the table of docs/scaling.md"
    )
    options = parser.parse_args()
    if options.model:
        print(table(MEASURED, LOADS))
        return 0
    return command.run("scaling", lambda nursery: measure(nursery, options), options.json)


if __name__ == "__main__":
    sys.exit(main())
