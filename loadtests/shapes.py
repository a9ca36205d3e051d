"""The shape of Locust that follows a plan of plan.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final

from locust import LoadTestShape

from loadtests.plan import DEFAULT_RUN_S, USERS_AT, Drop, Plan, drops

END_S: Final = 10.0
"""Over which users are ended: in one moment thousands keep a worker from answering for a minute. Hosts wait longer."""
LAST_COUNTS_S: Final = 15.0
"""Workers report every 3 s."""


class Shape(LoadTestShape):
    """The one that `--shape` names, with the number of users, rate and run time of Locust's own options."""

    use_common_options: ClassVar[bool] = True
    on_drop: Callable[[Drop], None] = staticmethod(lambda _: None)
    """Who tells the users."""
    all_counted: Callable[[], bool] = staticmethod(lambda: True)
    """Whether no user is left and all that they counted has come."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._pending: list[Drop] | None = None
        self._ends_by: float | None = None

    def reset_time(self) -> None:
        """A new run."""
        super().reset_time()  # type: ignore[no-untyped-call]
        self._pending = self._ends_by = None

    def _options(self) -> Any:
        if self.runner is None:
            raise RuntimeError("a shape has no options before Locust gives it a runner")
        return self.runner.environment.parsed_options

    def _plan(self) -> Plan:
        options = self._options()
        return Plan(
            users=int(options.num_users or 1),
            rate=float(options.spawn_rate or 1),
            run_s=float(options.run_time or DEFAULT_RUN_S),
            steps=max(1, int(options.steps)),
        )

    def tick(self) -> tuple[int, float] | None:
        """Part of LoadTestShape: users and rate now; None at the end."""
        plan, at_s = self._plan(), float(self.get_run_time())  # type: ignore[no-untyped-call]
        options = self._options()
        if options.run_time and at_s >= plan.run_s:
            return self._end(plan, at_s)
        if self._pending is None:
            self._pending = drops(options.shape, plan)
        while self._pending and at_s >= self._pending[0].at_s:
            self.on_drop(self._pending.pop(0))
        rate = plan.rate if options.shape != "spike" else max(plan.rate, plan.users / 2)
        return USERS_AT[options.shape](plan, at_s % plan.run_s), rate

    def _end(self, plan: Plan, at_s: float) -> tuple[int, float] | None:
        """First without users, and Locust quits only then.

        A master that quits waits half a second for what its workers have counted, whatever --stop-timeout says.
        """
        if self._ends_by is None:
            self._ends_by = at_s + float(self._options().stop_timeout) + LAST_COUNTS_S
        elif self.all_counted() or at_s >= self._ends_by:
            return None
        return 0, max(plan.rate, plan.users / END_S)
