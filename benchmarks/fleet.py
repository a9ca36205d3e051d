"""What the fleet exporter spends on many hosts: one look at Redis, one scrape, its size, and the memory.

Every host has two sessions and all figures, and says something new before each look; twice as many rooms are beside
them in Redis, which SCAN has to pass over. The CPU time of this process alone counts, in which the exporter runs.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import os
import sys
import time
from pathlib import Path
from typing import Final

import redis as client

from benchmarks import command
from benchmarks.processes import Nursery, Process
from benchmarks.report import OURS, Environment, Metric, Report, Results
from benchmarks.servers import start_redis
from cluster.exporter.app import Exporter
from cluster.exporter.fleet import MAX_HOSTS
from cluster.exporter.sweep import sweep
from cluster.protocol.telemetry import DROPS, LEGS, STAGES, SessionFigures, Telemetry, encode
from cluster.resp import RedisUnavailable, RespConnection
from cluster.settings import Settings
from cluster.store.redis import HOST_PREFIX, ROOM_PREFIX

CPU: Final = Metric("CPU", "s", 2)
REDIS_CPU: Final = Metric("Redis CPU", "ms", 0)
SIZE: Final = Metric("size", "MB", 1)
LINES: Final = Metric("lines", "", 0)
MEMORY: Final = Metric("memory", "MB", 0)
LEVEL: Final = 1
"""Of gzip, as the exporter answers."""


def frame(number: int, round_number: int) -> bytes:
    """A host's, another in each round."""
    whole = SessionFigures(
        codec="h264", encoder="x264", path="direct", congestion="hold",
        width=1920, height=1080, encode_fps=59.5 + number % 3 / 10, target_bps=2e7, sent_bps=1.9e7 + number,
        stages_s=dict.fromkeys(STAGES, 0.001 + number % 7 / 10000.0),
        dropped=dict.fromkeys(DROPS, number),
        capture_fps=59.9, rtt_s=0.02 + number % 9 / 1e3, loss=0.001, jitter_s=0.003, freezes=3,
        legs_s=dict.fromkeys(LEGS, 0.004 + number % 11 / 1e3),
    )  # fmt: skip
    uptime_s = 10.0 * round_number + number / 7
    return encode(Telemetry("0.1.0", "streaming", uptime_s, (whole, whole), 0.35, 0.2, 0.1))


def _say(server: client.Redis, count: int, round_number: int) -> None:
    pipeline = server.pipeline(transaction=False)
    for number in range(count):
        pipeline.set(f"{HOST_PREFIX}desk-{number:05d}", frame(number, round_number))
    pipeline.execute()


def _rooms(server: client.Redis, count: int) -> None:
    pipeline = server.pipeline(transaction=False)
    for number in range(2 * count):
        pipeline.hset(f"{ROOM_PREFIX}desk-{number:05d}", "version", "1")
    pipeline.execute()


async def _rounds(
    process: Process, url: str, options: argparse.Namespace, results: Results
) -> None:
    server = client.Redis.from_url(url)
    _rooms(server, options.count)
    exporter = Exporter(Settings(redis_url=url))
    link = asyncio.create_task(exporter._link.run())
    for round_number in range(options.rounds):
        _say(server, options.count, round_number)
        connection = await _connected(exporter)
        began, redis_began = time.process_time(), process.busy_s()
        await sweep(connection, exporter.fleet, time.time)
        results.add("look", CPU, OURS, time.process_time() - began)
        results.add("look", REDIS_CPU, OURS, 1000 * (process.busy_s() - redis_began))
        began = time.process_time()
        body = exporter.exposition()
        results.add("scrape", CPU, OURS, time.process_time() - began)
        began = time.process_time()
        packed = gzip.compress(body, LEVEL)
        results.add("gzip", CPU, OURS, time.process_time() - began)
        results.add("scrape", SIZE, OURS, len(body) / 1e6)
        results.add("gzip", SIZE, OURS, len(packed) / 1e6)
        results.add("scrape", LINES, OURS, body.count(b"\n"))
    link.cancel()
    await asyncio.wait([link])


async def _connected(exporter: Exporter) -> RespConnection:
    while True:
        try:
            return exporter._link.current()
        except RedisUnavailable:
            await asyncio.sleep(0.01)


def measure(nursery: Nursery, options: argparse.Namespace) -> Report:
    """In rounds."""
    redis = start_redis(nursery)
    results = Results()
    asyncio.run(_rounds(redis.process, redis.url, options, results))
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    results.add("process", MEMORY, OURS, pages * os.sysconf("SC_PAGE_SIZE") / 1e6)
    notes = [f"{options.rounds} rounds of {options.count:,} hosts, two sessions each"]
    environment = Environment.now({OURS: redis.version()})
    return Report("What the fleet exporter spends", environment, results, [OURS], {}, notes)


def main() -> int:
    """0 when it was measured."""
    parser = command.make_parser("fleet", __doc__, rounds=3)
    parser.add_argument("--count", type=int, default=10_000, help="hosts (default 10,000)")
    options = parser.parse_args()
    if not 0 < options.count <= MAX_HOSTS:
        parser.error(f"--count: expected 1 to {MAX_HOSTS}")
    return command.run("fleet", lambda nursery: measure(nursery, options), options.json)


if __name__ == "__main__":
    sys.exit(main())
