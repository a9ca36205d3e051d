"""Footprint: what the agent takes that nobody uses, and in a session, all its processes together.

An agent on an X display of 1280x720 that stands still, a node, and one Chromium in a session in which the whole screen
moves 60 times a second. Memory is its own, without the files that it maps (as a task manager shows it), and with them,
each page once. `ready` is when the agent has joined its room; its CPU is beside it, as a busy machine stretches the
time. Each round is another agent.

Targets: under 1 % of a core and 90 MB without a session, 250 MB in one, ready within 2 s.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from benchmarks import command, vitals
from benchmarks.beside import say
from benchmarks.desks import Picture, Viewer, desktop, start_agent
from benchmarks.local import LocalCluster
from benchmarks.m3_scene import Scene, Size
from benchmarks.processes import Nursery, Process, StartError
from benchmarks.report import OURS, THIS_TREE, Environment, Metric, Report, Results
from benchmarks.vitals import Vitals
from cluster.settings import Timing
from tests.browser.browser import Browser
from tests.browser.system import descendants
from tests.outages.cluster import members

ROOM: Final = "desk"
PICTURE: Final = Picture(Size(1280, 720), 60, 8)
READY_LIMIT_S: Final = 60.0
REST_S: Final = 5.0
READY: Final = Metric("start to ready", "s", 2)
READY_CPU: Final = Metric("CPU until ready", "s", 2)
CPU: Final = Metric("CPU, of a core", "%", 2)
OWN: Final = Metric("memory of its own", "MB", 1)
MEMORY: Final = Metric("with mapped files", "MB", 1)
DESCRIPTORS: Final = Metric("descriptors", "", 0)
THREADS: Final = Metric("threads", "", 0)


def pids(agent: Process) -> list[int]:
    """Of all its processes."""
    return [agent.pid, *descendants(agent.pid)]


def held(agent: Process) -> Vitals:
    """By all its processes."""
    return vitals.of(pids(agent))


def figures(agent: Process, seconds: float) -> Mapping[Metric, float]:
    """Of the next seconds."""
    before = held(agent)
    time.sleep(seconds)
    after = held(agent)
    return {
        CPU: (after.cpu_s - before.cpu_s) / seconds * 100,
        OWN: after.own_bytes / 1e6,
        MEMORY: vitals.together_bytes(pids(agent)) / 1e6,
        DESCRIPTORS: after.descriptors,
        THREADS: after.threads,
    }


def until_ready(cluster: LocalCluster, agent: Process, began: float) -> Mapping[Metric, float]:
    """Wait until it is in its room."""
    client = cluster.valkey.client
    while not members(client).get(ROOM):
        if not agent.running() or time.monotonic() > began + READY_LIMIT_S:
            raise StartError(f"the agent is not ready:\n{agent.log_tail()}")
        time.sleep(0.005)
    return {READY: time.monotonic() - began, READY_CPU: held(agent).cpu_s}


def measure_one(folder: Path, seconds: float, results: Results) -> None:
    """An agent from its start to its end."""
    with LocalCluster(1, {}) as cluster, Nursery(folder) as nursery:
        display, drawer = desktop(nursery, PICTURE)
        time.sleep(Timing().settle_s)  # a new Redis lets nobody in before
        began = time.monotonic()
        agent = start_agent(nursery, cluster.url, ROOM, display, PICTURE)
        for metric, value in until_ready(cluster, agent, began).items():
            results.add("start", metric, OURS, value)
        time.sleep(REST_S)
        for metric, value in figures(agent, seconds).items():
            results.add("idle", metric, OURS, value)
        drawer.show(Scene.MOTION)
        with Browser() as browser:
            viewer = Viewer.of(browser, cluster, ROOM)
            time.sleep(REST_S)
            for metric, value in figures(agent, seconds).items():
                results.add("session", metric, OURS, value)
            viewer.page.close()
        drawer.show(Scene.STATIC)
        time.sleep(REST_S)
        for metric, value in figures(agent, seconds).items():
            results.add("idle again", metric, OURS, value)


def measure(nursery: Nursery, options: argparse.Namespace) -> Report:
    """Round by round."""
    environment, results = Environment.now({OURS: THIS_TREE}), Results()
    for number in range(options.rounds):
        say(f"round {number + 1} of {options.rounds}")
        folder = nursery.folder / f"round-{number}"
        folder.mkdir()
        measure_one(folder, options.seconds, results)
    notes = [f"1280x720 at 60 pictures a second, {options.rounds} rounds of {options.seconds:g} s"]
    return Report("Footprint: the agent", environment, results, [OURS], {}, notes)


def main() -> int:
    """0 when it was measured."""
    options = command.make_parser("footprint", __doc__, rounds=3, seconds=15).parse_args()
    return command.run("footprint", lambda nursery: measure(nursery, options), options.json)


if __name__ == "__main__":
    sys.exit(main())
