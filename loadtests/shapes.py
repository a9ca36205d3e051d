"""The shapes of a load: how many users there are when, and when sockets are lost on purpose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from locust import LoadTestShape

DEFAULT_RUN_S: Final = 120.0
DRAIN_S: Final = 5.0
"""Over which the sockets of one restarted node are lost."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What was asked for; `steps` are steps, spikes, storms or restarted nodes."""

    users: int
    rate: float
    run_s: float
    steps: int


@dataclass(frozen=True, slots=True)
class Drop:
    """At `at_s`, users whose number modulo `groups` is `group` lose their sockets, spread over `window_s`."""

    at_s: float
    group: int = 0
    groups: int = 1
    window_s: float = 0.0


def _ramp_hold(plan: Plan, at_s: float) -> int:
    return plan.users


def _step(plan: Plan, at_s: float) -> int:
    """Equal steps up, each as long as the others."""
    reached = min(int(at_s / plan.run_s * plan.steps) + 1, plan.steps)
    return max(1, plan.users * reached // plan.steps)


def _spike(plan: Plan, at_s: float) -> int:
    """A fifth of the users; all of them in the middle third of each of the equal parts of the run."""
    part = at_s / plan.run_s * plan.steps % 1
    return plan.users if 1 / 3 <= part < 2 / 3 else max(1, plan.users // 5)


USERS_AT: Final[dict[str, Callable[[Plan, float], int]]] = {
    "ramp-hold": _ramp_hold,
    "step": _step,
    "spike": _spike,
    "reconnect-storm": _ramp_hold,
    "rolling-restart": _ramp_hold,
}


def drops(shape: str, plan: Plan) -> list[Drop]:
    """All of a run, in order: evenly between the end of the ramp and the end."""
    if shape not in ("reconnect-storm", "rolling-restart"):
        return []
    ramp_s = min(plan.users / plan.rate, plan.run_s)
    each_s = (plan.run_s - ramp_s) / (plan.steps + 1)
    times = [ramp_s + each_s * (number + 1) for number in range(plan.steps)]
    if shape == "reconnect-storm":
        return [Drop(at_s) for at_s in times]
    return [Drop(at_s, number, plan.steps, DRAIN_S) for number, at_s in enumerate(times)]


class Shape(LoadTestShape):
    """The one that `--shape` names, with the number of users, rate and run time of Locust's own options."""

    use_common_options: ClassVar[bool] = True
    on_drop: Callable[[Drop], None] = staticmethod(lambda _: None)
    """Who tells the users."""

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
            return None
        if self._pending is None:
            self._pending = drops(options.shape, plan)
        while self._pending and at_s >= self._pending[0].at_s:
            self.on_drop(self._pending.pop(0))
        rate = plan.rate if options.shape != "spike" else max(plan.rate, plan.users / 2)
        return USERS_AT[options.shape](plan, at_s % plan.run_s), rate
