"""Messages through servers in interleaved windows: CPU time per message of the servers and of their Redis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.processes import Process, StartError
from benchmarks.report import Metric, Results
from benchmarks.servers import Load

CPU: Final = Metric("server CPU per message", "us")
REDIS_CPU: Final = Metric("Redis CPU per message", "us")
TOGETHER: Final = Metric("CPU per message, together", "us")
RATE: Final = Metric("messages", "1/s", 0)
P50: Final = Metric("time on the way p50", "us", 0)
P99: Final = Metric("time on the way p99", "us", 0)
SATURATED: Final = 0
"""The rate that means: as fast as the server goes."""
WARM_UP_S: Final = 0.5


def label(scenario: str, rate: int) -> str:
    """The scenario in the report."""
    pace = "saturated" if rate == SATURATED else f"{rate:,}/s"
    return f"{scenario}, {pace}" if scenario else pace


@dataclass(frozen=True, slots=True)
class Lane:
    """One subject under its load; `scenario` goes before the name of the rate."""

    subject: str
    load: Load
    servers: Sequence[Process]
    redis: Process | None = None
    scenario: str = ""

    def window(self, seconds: float, rate: int) -> Mapping[Metric, float]:
        """One measurement."""
        before = self._spent()
        figures = self.load.run(seconds, rate)
        servers, redis = (now - then for now, then in zip(self._spent(), before, strict=True))
        messages = figures["messages"]
        if not messages:
            raise StartError(f"no message came through:\n{self.servers[0].log_tail()}")
        values = {CPU: servers / messages * 1e6}
        if self.redis is not None:
            values[REDIS_CPU] = redis / messages * 1e6
            values[TOGETHER] = values[CPU] + values[REDIS_CPU]
        if rate == SATURATED:
            return values | {RATE: messages / figures["seconds"]}
        return values | {P50: figures["p50_us"], P99: figures["p99_us"]}

    def _spent(self) -> tuple[float, float]:
        redis = 0.0 if self.redis is None else self.redis.busy_s()
        return sum(process.busy_s() for process in self.servers), redis


def interleave(lanes: Sequence[Lane], rates: Sequence[int], rounds: int, seconds: float) -> Results:
    """All lanes in turn, round after round; the first one is the warm-up and does not count."""
    results = Results()
    for number in range(rounds + 1):
        for lane in lanes:
            for rate in rates:
                values = lane.window(seconds if number else min(seconds, WARM_UP_S), rate)
                for metric, value in values.items() if number else ():
                    results.add(label(lane.scenario, rate), metric, lane.subject, value)
    return results
