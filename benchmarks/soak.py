"""A whole system on which people come and go for long: what it holds must be at its end what it was. `make soak`.

Two nodes behind HAProxy over Valkey, the fleet exporter, Prometheus, an agent that shares a desktop whose whole screen
moves, and a real browser. Locust's hosts, viewers and players come and go all the time. In each round two pages come
by a pairing link each, play together for a while and go; when the host has no session left, memory is looked at:
always at the same point of a round, so that it is not the sessions that are measured. The browser is started anew
now and then.

It fails, and says in words why, when over the last two thirds

  - the resident memory of nodes, agent, media process, Valkey or exporter rises by 5 MB an hour or more (the slope by
    least squares; less than two standard errors above that is not held against it, so a run of ten minutes says
    little, one of thirty enough),

and when, people gone, there are more than at the beginning of

  - descriptors or threads of any of them, tasks in a node's event loop, keys in Valkey, series in Prometheus,

or a session does not come about, or Locust counts a message as lost, doubled or reordered.

  make soak                                  half an hour
  make soak ARGS="--minutes 360"             before a release
  make soak ARGS="--minutes 10 --size 640x360 --fps 30"
"""

from __future__ import annotations

import argparse
import contextlib
import json
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from benchmarks import load, vitals
from benchmarks.beside import Monitoring, end, locust, say
from benchmarks.desks import Picture, Shown, Viewer, desk
from benchmarks.local import LocalCluster
from benchmarks.m3_scene import Size
from benchmarks.processes import Nursery, Process, nothing_remains
from benchmarks.servers import raise_file_limit
from benchmarks.vitals import Slope, Vitals
from deploy.observability import ask
from deploy.observability.build import RULES
from tests.browser.browser import Browser, BrowserError
from tests.eventually import eventually
from tests.haproxy import Front

ROOM: Final = "desk"
MOST_RISE: Final = 5e6 / 3600
"""Bytes a second."""
PLAY_S: Final = 12.0
WARM_S: Final = 20.0
REST_LIMIT_S: Final = 180.0
"""For what ends by itself: connections that are closing, keys and series with a life."""
BROWSER_ROUNDS: Final = 20
SERIES: Final = '{job=~"tightbeam-.+",__name__!~"tightbeam_fleet_.+_(bucket|sum|count)"}'
"""Without the exporter's histograms: one for each encoder, codec and path that there ever was, closed sets, stays."""
MOST_NAMED: Final = 5
NO_SESSION: Final = f'sum(tightbeam_fleet_host_sessions{{host="{ROOM}"}})'
JOIN_P99: Final = (
    "histogram_quantile(0.99, sum by (le) (rate(tightbeam_join_seconds_bucket[{window}s])))"
)


@dataclass(frozen=True, slots=True)
class Held:
    """What all hold at one moment: by process, and of the whole."""

    at: float
    processes: Mapping[str, Vitals]
    tasks: int
    keys: int
    series: int

    def more_than(self, before: Held) -> list[str]:
        """In words, what there is more of, memory apart."""
        found = []
        for name, now in self.processes.items():
            then = before.processes[name]
            for what in ("descriptors", "threads"):
                had, has = getattr(then, what), getattr(now, what)
                if has > had:
                    found.append(f"{name}: {has} {what}, {had} at the beginning")
        for what in ("tasks", "keys", "series"):
            had, has = getattr(before, what), getattr(self, what)
            if has > had:
                found.append(f"{has} {what}, {had} at the beginning")
        return found


class System:
    """All that runs."""

    def __init__(self, cluster: LocalCluster, monitoring: Monitoring, agent: Process) -> None:
        self.cluster = cluster
        self.monitoring = monitoring
        self._agent = agent
        self.shown: list[Shown] = []

    def _pids(self) -> dict[str, int]:
        pids = {
            f"node {number}": node.process.pid for number, node in enumerate(self.cluster.nodes)
        }
        pids |= {"Valkey": self.cluster.valkey.process.pid}
        pids |= {"exporter": self.monitoring.exporter.pid, "agent": self._agent.pid}
        return pids | {"media": vitals.child(self._agent.pid, r"agent\.media")}

    def held(self) -> Held:
        """Now."""
        each = {name: vitals.of([pid]) for name, pid in self._pids().items()}
        return Held(
            time.monotonic(),
            each,
            int(self.monitoring.value("sum(tightbeam_tasks)")),
            int(self.cluster.valkey.client.dbsize()),
            int(self.monitoring.value(f"count({SERIES})")),
        )

    def names(self) -> tuple[set[str], set[str]]:
        """Of the keys and of the series."""
        keys = {bytes(key).decode() for key in self.cluster.valkey.client.scan_iter(count=1000)}
        series = {str(dict(one.labels)) for one in ask.now(self.monitoring.url, SERIES)}
        return keys, series

    def visit(self, browser: Browser) -> None:
        """Two pages come, play and go; done when the host knows of no session. Raises AssertionError in words."""
        pages = []
        for _ in range(2):
            pages.append(Viewer.of(browser, self.cluster, ROOM))
            time.sleep(1.0)
        time.sleep(PLAY_S)
        for viewer in pages:
            self.shown.append(viewer.shown())
            viewer.page.close()
        eventually(lambda: self.monitoring.value(NO_SESSION) == 0, "the host is left", 60)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--minutes", type=float, default=30.0, help="(default 30)")
    made.add_argument("--size", type=Size.parse, default=Size(1280, 720), help="(default 1280x720)")
    made.add_argument("--fps", type=int, default=60, help="pictures a second (default 60)")
    made.add_argument("--users", type=int, default=60, help="of Locust (default 60)")
    made.add_argument("--json", type=Path, metavar="FILE", help="write all figures there as well")
    where = load.ROOT / ".cache" / "soak"
    made.add_argument("--results", type=Path, default=where, help="folder (.cache/soak)")
    return made


def locust_command(options: argparse.Namespace, cluster: LocalCluster) -> list[str]:
    """Churn, for longer than the run."""
    seconds = options.minutes * 60 + 3600
    wanted = argparse.Namespace(
        users=options.users, spawn_rate=20, seconds=seconds, results=options.results, fault=None
    )
    # Thresholds of time say how busy the machine is, which has video to do.
    patient = ["--max-unfinished", "1000000", "--max-given-up", "1000000"]
    patient += [
        "--max-plain-lost",
        "1000000",
        "--max-answer-p95",
        "15000",
        "--max-join-p95",
        "15000",
    ]
    return load.locust(wanted, cluster, ["--hold", "5", "--talk-every", "1", *patient])


def at_rest(system: System, before: Held | None = None) -> Held:
    """What is held when people are gone: as soon as it is no more than before, at the latest at the limit."""
    deadline = time.monotonic() + REST_LIMIT_S
    last = system.held()
    while time.monotonic() < deadline:
        time.sleep(5.0)
        now = system.held()
        if (
            not (now.more_than(last) or last.more_than(now))
            if before is None
            else not now.more_than(before)
        ):
            return now
        last = now
    return last


def soak(options: argparse.Namespace, system: System, secret: str) -> tuple[list[Held], list[str]]:
    """The samples, and what failed: sessions, and what Locust says."""
    log = options.results / "locust.log"
    failures: list[str] = []
    samples: list[Held] = []
    with locust(locust_command(options, system.cluster), secret, log) as process:
        began = time.monotonic()
        while time.monotonic() < began + options.minutes * 60:
            with Browser() as browser:
                for _ in range(BROWSER_ROUNDS):
                    try:
                        system.visit(browser)
                    except (AssertionError, BrowserError) as error:
                        failures.append(f"after {(time.monotonic() - began) / 60:.1f} min: {error}")
                        say(f"FAILED: {failures[-1]}")
                        break  # with another browser
                    samples.append(system.held())
                    say(progress(samples, began))
                    if time.monotonic() > began + options.minutes * 60:
                        break
            if len(failures) > 5:
                break
        say("the end: Locust's sessions end")
        failures += end(process, log)
    return samples, failures


def progress(samples: Sequence[Held], began: float) -> str:
    """One line."""
    now = samples[-1]
    memory = ", ".join(
        f"{name} {one.resident_bytes / 2**20:.1f}" for name, one in now.processes.items()
    )
    return f"{(now.at - began) / 60:5.1f} min  MiB: {memory}; {now.tasks} tasks, {now.keys} keys"


def slopes(samples: Sequence[Held]) -> dict[str, Slope]:
    """Of each process's resident memory over the last two thirds, bytes a second."""
    late = samples[len(samples) // 3 :]
    return {
        name: vitals.slope([(one.at, one.processes[name].resident_bytes) for one in late])
        for name in (late[0].processes if late else ())
    }


def risen(found: Mapping[str, Slope]) -> list[str]:
    """In words, whose memory rises."""
    return [
        f"{name}: memory rises by {one.rise * 3600 / 1e6:.1f} ± {one.error * 3600 / 1e6:.1f} MB an hour"
        f" (less than {MOST_RISE * 3600 / 1e6:.0f} are allowed)"
        for name, one in found.items()
        if one.rise - 2 * one.error >= MOST_RISE
    ]


def table(first: Held, last: Held, found: Mapping[str, Slope]) -> str:
    """Markdown."""
    head = [
        "",
        "memory at first, MiB",
        "at last",
        "slope, MB an hour",
        "descriptors",
        "threads",
        "CPU, s",
    ]
    rows = []
    for name, now in last.processes.items():
        then, line = first.processes[name], found.get(name, Slope(0.0, float("inf")))
        memory = [f"{one.resident_bytes / 2**20:.1f}" for one in (then, now)]
        rise = f"{line.rise * 3600 / 1e6:+.1f} ± {line.error * 3600 / 1e6:.1f}"
        counts = [
            f"{getattr(then, what)} → {getattr(now, what)}" for what in ("descriptors", "threads")
        ]
        rows.append([name, *memory, rise, *counts, f"{now.cpu_s - then.cpu_s:.0f}"])
    lines = [f"| {' | '.join(row)} |" for row in (head, ["---", *["---:"] * 6], *rows)]
    wholes = [
        f"{what} {getattr(first, what)} → {getattr(last, what)}"
        for what in ("tasks", "keys", "series")
    ]
    return "\n".join([*lines, "", "; ".join(wholes)])


def drift(monitoring: Monitoring, seconds: float) -> str:
    """The 99th percentile of joins in the first and in the last third, in words: a busy machine has its say in it."""
    window = max(10, round(seconds / 3))
    late = monitoring.value(JOIN_P99.format(window=window))
    early = monitoring.value(
        JOIN_P99.format(window=window).replace("])", f"] offset {2 * window}s)")
    )
    return f"joins, 99th percentile: {early * 1000:.0f} ms in the first third, {late * 1000:.0f} ms in the last"


@contextlib.contextmanager
def running(options: argparse.Namespace, secret: str) -> Iterator[System]:
    """Everything but Locust and the browser."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tightbeam-soak-")))
        cluster = stack.enter_context(
            LocalCluster(2, {"JWT_SECRET": secret}, front=Front(options.users + 200))
        )
        nursery = stack.enter_context(Nursery(folder))
        monitoring = Monitoring(nursery, cluster, RULES.read_text("utf-8"))
        picture = Picture(options.size, options.fps, 8)
        yield System(
            cluster, monitoring, stack.enter_context(desk(folder, cluster.url, ROOM, picture))
        )


def run(options: argparse.Namespace) -> int:
    """The exit status."""
    options.results.mkdir(parents=True, exist_ok=True)
    secret = secrets.token_urlsafe(32)
    with running(options, secret) as system:
        say("warm-up: sessions and load, so that all code has run once")
        warm = argparse.Namespace(**{**vars(options), "minutes": WARM_S / 60})
        _, failures = soak(warm, system, secret)
        first = at_rest(system)
        before = system.names()
        say("the beginning, at rest")
        began = time.monotonic()
        samples, found = soak(options, system, secret)
        failures += found
        say(joins := drift(system.monitoring, time.monotonic() - began))
        last = at_rest(system, first)
        new = [sorted(now - then) for now, then in zip(system.names(), before, strict=True)]
    lines = slopes(samples)
    failures += [*risen(lines), *last.more_than(first)]
    if any(f" {what}, " in line for line in failures for what in ("keys", "series")):
        failures += [f"new: {name}" for names in new for name in names[:MOST_NAMED]]
    frames = sum(one.frames for one in system.shown)
    print(f"\n{table(first, last, lines)}\n\n{joins}")
    print(f"{len(system.shown)} sessions of browsers, {frames:,} frames presented")
    if options.json is not None:
        figures = {
            "first": asdict(first),
            "last": asdict(last),
            "samples": [asdict(one) for one in samples],
            "failures": failures,
        }
        options.json.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
    for line in failures:
        print(f"FAILED: {line}")
    print("soak: failed" if failures else "soak: all is as it was")
    return 1 if failures else 0


def main() -> int:
    """0 when all was as before."""
    options = parser().parse_args()
    raise_file_limit()
    with nothing_remains():
        return run(options)


if __name__ == "__main__":
    sys.exit(main())
