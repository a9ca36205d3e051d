"""The shapes of a load: how many users there are when, and when sockets are lost on purpose (a core)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

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
