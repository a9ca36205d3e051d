"""A scenario as data (scenarios/*.json), played in simulated time, and its figures."""

from __future__ import annotations

import itertools
import json
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agent.congestion.loss import RateLimits
from benchmarks.congestion.clock import Clock
from benchmarks.congestion.cubic import CubicFlow
from benchmarks.congestion.link import Link, LinkSettings, Loss
from benchmarks.congestion.stream import Frame, Source, Steer, Stream

FOLDER = Path(__file__).with_name("scenarios")
FROZEN_S = 0.15
"""A picture that stands this long is seen to stand."""

MakeSteer = Callable[[int, RateLimits], Steer]


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is played; times in seconds, `measured_s` from when on it counts."""

    name: str
    title: str
    seconds: float
    measured_s: float
    seed: int
    link: LinkSettings
    source: Source
    start_bps: int
    limits: RateLimits
    cubic: tuple[float, float] | None
    """From when to when such a flow is beside ours."""
    targets: Mapping[str, float]
    """What our controller has to reach: `p95_ms` and `frozen` at most, the others at least."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What came out. Frame delays run from capture to the last packet, less the path's own delay."""

    utilisation: float
    """Media delivered over what the link could carry."""
    p50_ms: float
    p95_ms: float
    frozen: float
    """Share of the time."""
    beside: float
    """What the other flow got of the link; 0 without one."""
    targets: list[tuple[float, int]]


def load(path: Path) -> Scenario:
    """Read one file; raises KeyError or TypeError for one that is none."""
    raw: dict[str, Any] = json.loads(path.read_text())
    return Scenario(
        name=path.stem,
        title=raw["title"],
        seconds=raw["seconds"],
        measured_s=raw["measured_s"],
        seed=raw.get("seed", 1),
        link=link_settings(raw["link"]),
        source=Source(activity=[(at, share) for at, share in raw.get("activity", [(0.0, 1.0)])]),
        start_bps=int(raw.get("start_mbps", 8) * 1e6),
        limits=RateLimits(500_000, int(raw.get("ceiling_mbps", 100) * 1e6)),
        cubic=None if "cubic" not in raw else (raw["cubic"][0], raw["cubic"][1]),
        targets=raw.get("targets", {}),
    )


def link_settings(raw: Mapping[str, Any]) -> LinkSettings:
    """The `link` of a file; raises KeyError or TypeError for one that is none."""
    return LinkSettings(
        capacity_bps=[(start, mbps * 1e6) for start, mbps in raw["capacity_mbps"]],
        buffer_bytes=raw["buffer_bytes"],
        delay_s=raw["delay_ms"] / 1e3,
        jitter_s=raw.get("jitter_ms", 0) / 1e3,
        loss=Loss(**raw.get("loss", {})),
    )


def scenarios() -> list[Scenario]:
    """C1 to C8, in order; the others are for the emulated link alone (benchmarks/link.py)."""
    return [load(path) for path in sorted(FOLDER.glob("c*.json"))]


def play(scenario: Scenario, make: MakeSteer, kind: Callable[..., Stream] = Stream) -> Figures:
    """Play it with a new controller."""
    clock = Clock()
    link = Link(scenario.link, scenario.seed)
    steer = make(scenario.start_bps, scenario.limits)
    source = replace(scenario.source, seed=scenario.seed)
    stream = kind(clock, link, steer, source, scenario.link.delay_s)
    other = CubicFlow(clock, link, scenario.link.delay_s)
    if scenario.cubic is not None:
        other.play(*scenario.cubic)
    clock.run(scenario.seconds)
    start, end = scenario.measured_s, scenario.seconds
    possible = link.carried_bits(start, end)
    return Figures(
        utilisation=_bits(stream.delivered, start, end) / possible,
        **_delays(stream.frames, scenario),
        beside=_bits(other.delivered, start, end) / possible,
        targets=stream.targets,
    )


def _bits(delivered: list[tuple[float, int]], start: float, end: float) -> float:
    return sum(8 * size for at, size in delivered if start <= at < end)


def _delays(frames: list[Frame], scenario: Scenario) -> dict[str, float]:
    start, end = scenario.measured_s, scenario.seconds
    counted = [frame for frame in frames if start <= frame.captured_at < end - 1]
    delay_s = scenario.link.delay_s
    delays = sorted(
        1e3 * ((frame.shown_at or frame.captured_at + 1) - frame.captured_at - delay_s)
        for frame in counted
    )
    shown = [frame.shown_at for frame in frames if frame.shown_at is not None]
    shown = shown[bisect_left(shown, start) :]
    gaps = (b - a for a, b in itertools.pairwise(shown))
    frozen_s = sum(gap for gap in gaps if gap > FROZEN_S)
    return {
        "p50_ms": delays[len(delays) // 2],
        "p95_ms": delays[len(delays) * 95 // 100],
        "frozen": frozen_s / (end - start),
    }
