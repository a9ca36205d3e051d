"""Everything that can happen to a cluster, while people work on it: `make chaos` runs this.

Three nodes behind HAProxy, two Valkeys with a sentinel, the fleet exporter, and a Prometheus with our rules. On it:
Locust (loadtests/), 40 pairs of light clients that say four things a second each, and two agents on desktops whose
whole screen moves, each with a real browser that looks. Then one fault after another. It fails, and says in words why,

  - when a message of the Tightbeam dialect is lost, doubled or reordered, in Locust or among the pairs;
  - when a browser has no new frame for more than 500 ms, from the first fault's beginning to the last one's end;
  - when pairs are not all served again a minute after it can be, or a fault's alert does not fire, or does not end;
  - when an alert fires before there was any fault.

  make chaos                                           every fault, about four minutes
  make chaos ARGS="--faults kill-node,stop-redis"      some of them
  make chaos ARGS="--faults partition --seconds 60"    for longer; an alert is expected of a fault that lasts at least
                                                       as long as by default

faults, in this order, and how long each lasts by default:
{faults}

The rules are deploy/observability/rules.yml with every `for:` twelve times shorter (a minute is five seconds), and
nothing else changed. `served again` is when 99 % of the pairs deliver in both directions, counted from when they
can be: the fault's beginning where nodes are left, its end where it takes Redis from all. black-hole and partition
need root (a network namespace) and are left out without it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks import load
from benchmarks.beside import Monitoring, end, locust, say
from benchmarks.desks import Shown, Viewer, desk
from benchmarks.local import LocalCluster
from benchmarks.processes import Nursery, nothing_remains
from benchmarks.servers import raise_file_limit
from deploy.observability import prometheus
from deploy.observability.build import RULES
from tests import eventually
from tests.browser.browser import Browser
from tests.haproxy import Front
from tests.outages.crowd import Crowd
from tests.outages.network import NAMESPACES_NEED, Namespace, namespaces_work

HURRY: Final = 12.0
PAIRS: Final = 40
SAY_EVERY_S: Final = 0.25
LONGEST_GAP_S: Final = 0.5
SERVED_LIMIT_S: Final = 60.0
QUIET_S: Final = 10.0
"""Before the first fault, and that a fault's alert may take to end after it."""
ENDS_WITHIN_S: Final = 30.0
SETTLE_S: Final = 3.0
"""Between two faults."""
LONG_S: Final = 3600.0
ROOMS: Final = ("desk-1", "desk-2")


@dataclass(frozen=True, slots=True)
class Fault:
    """What is done for how long, and which alert it is to raise; `ends`: whether that one ends soon after."""

    words: str
    act: Callable[[LocalCluster, float], float]
    seconds: float = 0.0
    alert: str | None = None
    ends: bool = True
    namespace: bool = False
    gives_up: bool = False
    """A goodbye is lost with Redis, or a place that is kept for ten seconds: Locust's sides may give each other up."""


FAULTS: Final[Mapping[str, Fault]] = {
    # First: its alert asks how much of all was slow since the beginning. For the same reason it does not end soon.
    "slow-redis": Fault(
        "Valkey works a fifth of the time",
        LocalCluster.slow_redis,
        30,
        "RelayLatencyHigh",
        ends=False,
    ),
    "kill-node": Fault("kill -9 of a node", LocalCluster.kill_node, 12, "NodeDown"),
    "black-hole": Fault(
        "a node's network swallows every packet",
        LocalCluster.black_hole,
        15,
        "NodeDown",
        namespace=True,
    ),
    "partition": Fault(
        "a node reaches no Redis; its peers reach it",
        LocalCluster.partition,
        20,
        "RedisSubscriptionDown",
        namespace=True,
        gives_up=True,
    ),
    "drain": Fault("`tightbeam drain` of a node", lambda cluster, _: cluster.drain()),
    "stop-redis": Fault(
        "kill -9 of both Valkeys, which come back empty",
        LocalCluster.stop_redis,
        12,
        "RedisSubscriptionDown",
        gives_up=True,
    ),
    "fail-over": Fault(
        "kill -9 of the primary; the sentinel makes the replica the primary",
        LocalCluster.fail_over,
        5,
        gives_up=True,
    ),
}


@dataclass(slots=True)
class Outcome:
    """What one fault did. Times in seconds; -1: not within the limit."""

    fault: str
    lasted_s: float
    served_again_s: float
    delivered: int
    lost: int
    doubled: int
    reordered: int
    shown: Mapping[str, Shown]
    """By room."""
    fired: Sequence[str]
    """Alerts, while it lasted and until all was delivered."""
    failures: list[str] = field(default_factory=list)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    lines = [
        f"  {name:<12}{fault.words}" + (f" ({fault.seconds:.0f} s)" if fault.seconds else "")
        for name, fault in FAULTS.items()
    ]
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.chaos",
        description=__doc__.format(faults="\n".join(lines)) if __doc__ else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--faults", type=_faults, help="these only, with commas between them")
    made.add_argument("--seconds", type=float, help="how long each of them lasts")
    made.add_argument("--users", type=int, default=80, help="of Locust (default 80)")
    made.add_argument("--json", type=Path, metavar="FILE", help="write all figures there as well")
    where = load.ROOT / ".cache" / "chaos"
    made.add_argument("--results", type=Path, default=where, help="folder (.cache/chaos)")
    return made


def _faults(text: str) -> list[str]:
    chosen = text.split(",")
    unknown = [name for name in chosen if name not in FAULTS]
    if unknown:
        raise argparse.ArgumentTypeError(f"no fault {unknown[0]!r}; there are {', '.join(FAULTS)}")
    return [name for name in FAULTS if name in chosen]


class Stage:
    """All that runs; `begin` what is to be seen of a fault and `end` it."""

    def __init__(self, cluster: LocalCluster, folder: Path, monitoring: Monitoring) -> None:
        self.cluster = cluster
        self.folder = folder
        self.monitoring = monitoring
        self.viewers: list[Viewer] = []

    def keep_logs(self, results: Path) -> None:
        """Of nodes, agents and Prometheus; the folders that they are in go."""
        logs = [node.process.log for node in self.cluster.nodes]
        logs += [*self.folder.glob("*.log"), *self.folder.glob("*/agent.log")]
        for log in logs:
            name = log.name if log.parent.name not in ROOMS else f"{log.parent.name}.log"
            shutil.copyfile(log, results / name)

    def shown(self) -> dict[str, Shown]:
        """What each browser has presented since this was last asked."""
        return {viewer.room: viewer.shown() for viewer in self.viewers}


async def suffer(stage: Stage, name: str, seconds: float | None) -> Outcome:
    """One fault, from a calm moment to the next."""
    fault = FAULTS[name]
    lasts_s = fault.seconds if seconds is None else seconds
    proxy = stage.cluster.proxy
    assert proxy is not None
    async with Crowd([proxy.address], SAY_EVERY_S, name) as crowd:
        crowd.world.source = lambda number: f"127.5.0.{number + 1}"
        crowd.add(PAIRS)
        await crowd.all_joined()
        await crowd.all_deliver()
        await asyncio.to_thread(stage.shown)
        began, began_unix = time.monotonic(), time.time()
        say(f"{name}: {fault.words}")
        whole_at = await asyncio.to_thread(fault.act, stage.cluster, lasts_s)
        lasted_s = time.monotonic() - began
        failures = []
        try:
            served_s = await crowd.all_deliver(whole_at, SERVED_LIMIT_S + lasted_s)
        except AssertionError as error:
            served_s = -1.0
            failures.append(str(error))
        with contextlib.suppress(AssertionError):  # what is lost is counted below
            await crowd.nothing_is_lost(given_up=True)
        recorder = crowd.recorder
        outcome = Outcome(
            name,
            lasted_s,
            served_s,
            sum(len(stream.applied) for stream in recorder.streams.values()),
            recorder.lost + recorder.skipped,
            recorder.doubled,
            recorder.reordered,
            await asyncio.to_thread(stage.shown),
            await asyncio.to_thread(stage.monitoring.fired, began_unix),
            failures,
        )
    outcome.failures += verdict(outcome, fault.alert if lasts_s >= fault.seconds else None)
    if fault.ends and fault.alert is not None and fault.alert in outcome.fired:
        try:
            await eventually.until(
                partial(stage.monitoring.ended, fault.alert),
                f"{fault.alert} ends",
                ENDS_WITHIN_S,
                poll_s=0.5,
            )
        except AssertionError as error:
            outcome.failures.append(str(error))
    say(f"{name}: {words(outcome)}")
    for line in outcome.failures:
        say(f"  FAILED: {line}")
    return outcome


def verdict(outcome: Outcome, alert: str | None) -> list[str]:
    """What is not as it must be, in words; `alert` must have fired."""
    found = []
    counts = (outcome.lost, outcome.doubled, outcome.reordered)
    if any(counts):
        found.append("pairs: {} lost, {} doubled, {} reordered".format(*counts))
    for room, shown in outcome.shown.items():
        if shown.longest_s > LONGEST_GAP_S:
            gap_ms, most_ms = shown.longest_s * 1000, LONGEST_GAP_S * 1000
            found.append(f"{room}: no new frame for {gap_ms:.0f} ms ({most_ms:.0f} are allowed)")
        if not shown.frames:
            found.append(f"{room}: no frame at all")
    if alert is not None and alert not in outcome.fired:
        found.append(f"the alert {alert} did not fire")
    return found


def words(outcome: Outcome) -> str:
    """One line."""
    gaps = max(shown.longest_s for shown in outcome.shown.values()) * 1000
    served = (
        f"served again after {outcome.served_again_s:.2f} s"
        if outcome.served_again_s >= 0
        else "not served"
    )
    fired = ", ".join(outcome.fired) or "no alert"
    return f"{served}; {outcome.delivered:,} delivered; longest gap {gaps:.0f} ms; {fired}"


def table(outcomes: Sequence[Outcome], calm: Mapping[str, Shown]) -> str:
    """For a terminal, and for docs/runbook.md: Markdown."""
    head = ["fault", "lasted, s", "served again, s", "delivered", "lost", "doubled", "reordered"]
    head += [f"longest gap {room}, ms" for room in ROOMS] + ["alerts"]
    rows = [["(none)", "", "", "", "", "", "", *_gaps(calm), ""]]
    for one in outcomes:
        served = f"{one.served_again_s:.2f}" if one.served_again_s >= 0 else "never"
        counts = [f"{one.delivered:,}", str(one.lost), str(one.doubled), str(one.reordered)]
        row = [one.fault, f"{one.lasted_s:.1f}", served, *counts, *_gaps(one.shown)]
        rows.append([*row, ", ".join(one.fired) or "-"])
    lines = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines)


def _gaps(shown: Mapping[str, Shown]) -> list[str]:
    return [f"{one.longest_s * 1000:.0f}" for one in shown.values()]


def locust_command(options: argparse.Namespace, cluster: LocalCluster) -> list[str]:
    """Locust, for longer than any run."""
    wanted = argparse.Namespace(
        users=options.users, spawn_rate=20, seconds=LONG_S, results=options.results, fault="chaos"
    )
    rest = ["--hold", "5", "--talk-every", "1"]
    if any(FAULTS[name].gives_up for name in options.faults):
        rest += ["--max-given-up", "1000000", "--max-unfinished", "1000000"]
    return load.locust(wanted, cluster, rest)


@contextlib.asynccontextmanager
async def stage_of(options: argparse.Namespace, secret: str) -> AsyncIterator[Stage]:
    """Everything but Locust, running."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tightbeam-chaos-")))
        say("three nodes, HAProxy, two Valkeys and a sentinel")
        env = {"JWT_SECRET": secret}
        cluster = stack.enter_context(
            LocalCluster(3, env, sentinel=True, front=Front(options.users + 400), away=options.away)
        )
        say("fleet exporter and Prometheus")
        rules = prometheus.hurried(RULES.read_text("utf-8"), HURRY)
        monitoring = Monitoring(stack.enter_context(Nursery(folder)), cluster, rules)
        stage = Stage(cluster, folder, monitoring)
        for room in ROOMS:
            say(f"{room}: desktop, agent, browser")
            stack.enter_context(desk(folder, cluster.url, room))
            browser = await asyncio.to_thread(lambda: stack.enter_context(Browser()))
            stage.viewers.append(await asyncio.to_thread(Viewer.of, browser, cluster, room))
        yield stage


async def run(options: argparse.Namespace) -> int:
    """The exit status."""
    options.results.mkdir(parents=True, exist_ok=True)
    secret = secrets.token_urlsafe(32)
    failures: list[str] = []
    outcomes: list[Outcome] = []
    async with stage_of(options, secret) as stage:
        log = options.results / "locust.log"
        with locust(locust_command(options, stage.cluster), secret, log) as process:
            say(f"{options.users} users of Locust")
            await asyncio.sleep(options.users / 20 + QUIET_S)
            await asyncio.to_thread(stage.shown)
            calm_from = time.time()
            await asyncio.sleep(QUIET_S)
            calm = await asyncio.to_thread(stage.shown)
            if early := await asyncio.to_thread(stage.monitoring.fired, calm_from):
                failures.append(f"before any fault: {', '.join(early)}")
            say(f"calm: longest gap {max(one.longest_s for one in calm.values()) * 1000:.0f} ms")
            for name in options.faults:
                outcomes.append(await suffer(stage, name, options.seconds))
                await asyncio.sleep(SETTLE_S)
            say("the end: Locust's sessions end")
            failures += await asyncio.to_thread(end, process, log)
        stage.keep_logs(options.results)
    failures += [f"{one.fault}: {line}" for one in outcomes for line in one.failures]
    print(f"\n{table(outcomes, calm)}\n")
    if options.json is not None:
        figures = {
            "calm": {room: asdict(one) for room, one in calm.items()},
            "faults": [asdict(one) for one in outcomes],
            "failures": failures,
        }
        options.json.write_text(json.dumps(figures, indent=2, default=str) + "\n", "utf-8")
    for line in failures:
        print(f"FAILED: {line}")
    print("chaos: failed" if failures else "chaos: all well")
    return 1 if failures else 0


def main() -> int:
    """0 when all was well."""
    options = parser().parse_args()
    able = namespaces_work()
    if options.faults is None:
        options.faults = [name for name, fault in FAULTS.items() if able or not fault.namespace]
        for name in FAULTS.keys() - set(options.faults):
            print(f"SKIPPED: {name} {NAMESPACES_NEED}")
    elif not able and any(FAULTS[name].namespace for name in options.faults):
        print(f"black-hole and partition: {NAMESPACES_NEED}", file=sys.stderr)
        return 2
    raise_file_limit()
    wanted = any(FAULTS[name].namespace for name in options.faults)
    # Outside of all else, so that it goes however the run is interrupted, after the processes in it.
    with Namespace() if wanted else contextlib.nullcontext() as options.away, nothing_remains():
        return asyncio.run(run(options))


if __name__ == "__main__":
    sys.exit(main())
