"""The root of the load tests: `locust -f loadtests/locustfile.py --host http://NODE:8080`.

`python -m benchmarks.load --help` explains the options (Locust prints its help before it reads this file);
docs/capacity.md has examples and what came out.
"""

from __future__ import annotations

import functools
import logging
import os
import random
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gevent
from locust import argument_parser, events, runners
from locust.runners import MasterRunner, WorkerRunner

from loadtests import credentials, options, thresholds
from loadtests.connection import parse_target
from loadtests.plan import Drop
from loadtests.seats import Desk, Seats
from loadtests.shapes import Shape
from loadtests.tally import Tallies
from loadtests.users import (
    ChurnUser,
    ClusterUser,
    Context,
    HostUser,
    PlainHostUser,
    PlainViewerUser,
    ViewerUser,
)

__all__ = ["ChurnUser", "HostUser", "PlainHostUser", "PlainViewerUser", "Shape", "ViewerUser"]

DROP = "tightbeam-drop"
DELIVERY = "tightbeam-delivery"
LIVING = "tightbeam-living"
"""Keys of counts in what a worker reports to its master, every 3 s."""
log = logging.getLogger("loadtests")

# Every second of a ramp each worker of Locust 2.47 asks for this once for every option there is, and each time the
# whole command line is built anew: more than half of its CPU, and long enough for its master to take it for dead.
argument_parser.default_args_dict = functools.cache(argument_parser.default_args_dict)
# Seconds without a word after which a worker is taken for lost, and the run stopped when none is left. Locust's three
# are over when a busy machine ramps thousands up.
runners.HEARTBEAT_LIVENESS = 20


class Run:
    """What belongs together in this process: connects Locust's events with the parts."""

    def __init__(self, environment: Any, runner: Any) -> None:
        self._environment = environment
        self._worker = isinstance(runner, WorkerRunner)
        self._credentials = credentials.load(os.environ, environment.parsed_options.token_file)
        self._chance = random.Random()  # noqa: S311 - spreads moments
        self.tallies = Tallies()
        self._living: dict[str, int] = {}
        self._desk: Desk | None = None
        if not self._worker:
            self._desk = Desk(runner, {"tightbeam": self._credentials.rooms})
        if not isinstance(runner, MasterRunner):
            self._seats = Seats(runner)
            runner.register_message(DROP, self._drop)
        Shape.on_drop = staticmethod(lambda drop: runner.send_message(DROP, asdict(drop)))
        Shape.all_counted = staticmethod(self._all_counted)
        environment.events.test_start.add_listener(self._start)
        environment.events.report_to_master.add_listener(self._report)
        environment.events.worker_report.add_listener(self._reported)
        environment.events.quitting.add_listener(self._quitting)

    def _start(self, environment: Any, **_: Any) -> None:
        self.tallies.take()
        self._living.clear()
        if self._desk is not None:
            self._desk.reset()
        if isinstance(environment.runner, MasterRunner):
            return
        chosen = environment.parsed_options
        script, churn = options.scripts(chosen)
        ClusterUser.shared = Context(
            self._seats,
            self._credentials,
            self.tallies,
            parse_target(environment.host or "", chosen.sources, chosen.ca_file),
            script,
            churn,
            plain_pure=chosen.plain_mode == "pure",
        )

    def _drop(self, environment: Any, msg: Any, **_: Any) -> None:
        drop = Drop(**msg.data)
        for user in list(ClusterUser.living):
            if user.number % drop.groups == drop.group:
                gevent.spawn_later(self._chance.uniform(0, drop.window_s), user.drop)

    def _report(self, client_id: str, data: dict[str, Any]) -> None:
        data[DELIVERY] = self.tallies.take()
        data[LIVING] = len(ClusterUser.living)

    def _reported(self, client_id: str, data: dict[str, Any]) -> None:
        self.tallies.add(data.get(DELIVERY, {}))
        self._living[client_id] = data.get(LIVING, 0)

    def _all_counted(self) -> bool:
        if isinstance(self._environment.runner, MasterRunner):
            return not any(self._living.values())
        return not ClusterUser.living

    def _quitting(self, environment: Any, **_: Any) -> None:
        if self._worker:
            environment.process_exit_code = 0  # the master judges
            return
        chosen = environment.parsed_options
        stats = environment.stats
        p95_ms = {
            name: max(
                (
                    entry.get_response_time_percentile(0.95)
                    for (entry_name, _), entry in stats.entries.items()
                    if entry_name == event and entry.num_requests > entry.num_failures
                ),
                default=None,
            )
            for name, event in (("answer", "offer to answer"), ("join", "join"))
        }
        found = thresholds.failures(chosen, self.tallies.by_dialect, p95_ms)
        print(f"\n{self.tallies.table()}\n")
        if chosen.csv_prefix:
            Path(f"{chosen.csv_prefix}_delivery.csv").write_text(self.tallies.csv(), "utf-8")
        for line in found:
            log.error("threshold: %s", line)
        environment.process_exit_code = 1 if found else 0


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def _options(parser: Any) -> None:
    options.add(parser)


@events.init.add_listener  # type: ignore[untyped-decorator]
def _init(environment: Any, runner: Any, **_: Any) -> None:
    Run(environment, runner)
