"""The shape of Locust that follows a plan of plan.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from locust import LoadTestShape

from loadtests.plan import DEFAULT_RUN_S, USERS_AT, Drop, Plan, drops


class Shape(LoadTestShape):
    """The one that `--shape` names, with the number of users, rate and run time of Locust's own options."""

    use_common_options: ClassVar[bool] = True
    on_drop: Callable[[Drop], None] = staticmethod(lambda _: None)
    """Who tells the users."""
    on_end: Callable[[], None] = staticmethod(lambda: None)
    """Who sees to it that all users have ended and have been counted, before Locust quits."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._pending: list[Drop] | None = None

    def reset_time(self) -> None:
        """A new run."""
        super().reset_time()  # type: ignore[no-untyped-call]
        self._pending = None

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
            self.on_end()
            return None
        if self._pending is None:
            self._pending = drops(options.shape, plan)
        while self._pending and at_s >= self._pending[0].at_s:
            self.on_drop(self._pending.pop(0))
        rate = plan.rate if options.shape != "spike" else max(plan.rate, plan.users / 2)
        return USERS_AT[options.shape](plan, at_s % plan.run_s), rate
