"""Pictures of trials over the emulated link, as SVG: rate against capacity, ages over time and how they spread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import log
from pathlib import Path
from typing import Final

from benchmarks.emulator import SLOT_S
from benchmarks.link_stats import ages_over_time, rates_over_time
from benchmarks.link_trial import LinkTrial

WIDTH, HEIGHT = 720, 210
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 26, 30
COLOURS: Final = {"ours": "#c2410c", "selkies": "#1d4ed8", "aiortc": "#15803d"}
GREY: Final = "#9ca3af"
AGES_MS: Final = (10, 1000)
"""What the charts of ages span."""

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Axis:
    """From `low` to `high`; `ticks` are labelled."""

    low: float
    high: float
    ticks: Sequence[float]
    logarithmic: bool = False

    def at(self, value: float) -> float:
        """0 to 1 within the axis."""
        if self.logarithmic:
            value = max(value, self.low)
            return min(log(value / self.low) / log(self.high / self.low), 1.0)
        return min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)


@dataclass(frozen=True, slots=True)
class Line:
    """Points, in the order in which they are joined; a filled one reaches down to the axis."""

    points: Points
    colour: str
    filled: bool = False


def panel(title: str, axes: tuple[Axis, Axis], lines: Sequence[Line], top: int) -> str:
    """One chart, `top` pixels down."""
    across, up = axes
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    base = top + TOP + high

    def place(point: tuple[float, float]) -> str:
        return f"{LEFT + wide * across.at(point[0]):.1f},{base - high * up.at(point[1]):.1f}"

    parts = [f'<text x="{LEFT}" y="{top + 16}" font-weight="bold">{escape(title)}</text>']
    for tick in up.ticks:
        y = base - high * up.at(tick)
        parts.append(f'<path d="M{LEFT} {y:.1f}h{wide}" stroke="#e5e7eb"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for tick in across.ticks:
        x = LEFT + wide * across.at(tick)
        parts.append(f'<text x="{x:.1f}" y="{base + 16}" text-anchor="middle">{tick:g}</text>')
    for line in lines:
        joined = " ".join(place(point) for point in line.points)
        if line.filled and line.points:
            ends = (place((line.points[0][0], up.low)), place((line.points[-1][0], up.low)))
            parts.append(
                f'<polygon points="{ends[0]} {joined} {ends[1]}" fill="{line.colour}" opacity=".35"/>'
            )
        else:
            parts.append(
                f'<polyline points="{joined}" fill="none" stroke="{line.colour}" stroke-width="1.6"/>'
            )
    return "\n".join(parts)


def document(panels: Sequence[str], legend: Sequence[tuple[str, str]]) -> str:
    """The panels one below the other, and the colours' meanings."""
    height = HEIGHT * len(panels) + 24
    marks = "".join(
        f'<rect x="{LEFT + 110 * index}" y="{height - 17}" width="12" height="4" fill="{colour}"/>'
        f'<text x="{LEFT + 110 * index + 18}" y="{height - 11}">{escape(name)}</text>'
        for index, (name, colour) in enumerate(legend)
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"'
    style = 'font-family="sans-serif" font-size="12" fill="#374151"'
    back = f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>'
    return f"{head} {style}>\n{back}\n" + "\n".join(panels) + f"\n{marks}\n</svg>\n"


def steps(changes: Points, end: float, unit: float) -> list[tuple[float, float]]:
    """A step function's corners."""
    corners = []
    for index, (at, value) in enumerate(changes):
        if at < end:
            until = min(changes[index + 1][0], end) if index + 1 < len(changes) else end
            corners += [(at, value / unit), (until, value / unit)]
    return corners


def over_time(trials: Sequence[LinkTrial]) -> str:
    """One round of one scenario: what arrived beside the capacity, and how old pictures were."""
    first = trials[0]
    seconds = first.seconds
    rates = {
        trial.peer: rates_over_time(trial.passed.udp_bytes, SLOT_S, seconds) for trial in trials
    }
    most = max(rate for points in rates.values() for _, rate in points) / 1e6
    top = 1.15 * max(min(max(c for _, c in first.capacity_bps) / 1e6, 3 * most), most)
    across = Axis(0, seconds, [*range(0, int(seconds) + 1, 5)])
    step = next(s for s in (1, 2, 5, 10, 20) if top / s <= 6)
    up = Axis(0, top, [step * n for n in range(int(top / step) + 1)])
    capacity = Line(steps(first.capacity_bps, seconds, 1e6), GREY, filled=True)
    lines = [capacity] + [
        Line([(at, rate / 1e6) for at, rate in points], COLOURS[peer])
        for peer, points in rates.items()
    ]
    ages = [
        Line(ages_over_time(trial.figures.ages, seconds), COLOURS[trial.peer]) for trial in trials
    ]
    title = f"{first.scenario.upper()} {first.title}"
    log = Axis(*AGES_MS, (10, 30, 100, 300, 1000), logarithmic=True)
    panels = [
        panel(f"{title}: Mbit/s that arrive, over seconds", (across, up), lines, 0),
        panel("glass to glass, p95 of each half second, ms", (across, log), ages, HEIGHT),
    ]
    return document(panels, [("capacity", GREY), *((t.peer, COLOURS[t.peer]) for t in trials)])


def spread(trials: Sequence[LinkTrial]) -> str:
    """Scenarios of one family: the share of pictures that are younger than so much."""
    panels: list[str] = []
    peers = dict.fromkeys(trial.peer for trial in trials)
    for name in dict.fromkeys(trial.scenario for trial in trials):
        of_it = [trial for trial in trials if trial.scenario == name]
        lines = []
        for trial in of_it:
            ages = sorted(age for _, age in trial.figures.ages)
            every = max(len(ages) // 200, 1)
            points = [(ages[i], i / len(ages)) for i in range(0, len(ages), every)]
            lines.append(Line(points, COLOURS[trial.peer]))
        across = Axis(*AGES_MS, (10, 20, 50, 100, 200, 500, 1000), logarithmic=True)
        up = Axis(0, 1, (0, 0.25, 0.5, 0.75, 1))
        title = f"{name.upper()} {of_it[0].title}: share of pictures younger than so many ms"
        panels.append(panel(title, (across, up), lines, HEIGHT * len(panels)))
    return document(panels, [(peer, COLOURS[peer]) for peer in peers])


def write_charts(folder: Path, trials: Sequence[LinkTrial]) -> None:
    """The first round: link-NAME.svg for each scenario, link-spread-FAMILY.svg for each family."""
    folder.mkdir(parents=True, exist_ok=True)
    first = [trial for trial in trials if trial.round == 1]
    for name in dict.fromkeys(trial.scenario for trial in first):
        picture = over_time([trial for trial in first if trial.scenario == name])
        (folder / f"link-{name}.svg").write_text(picture)
    for family in ("m3b", "m6", "c"):
        of_it = [trial for trial in first if trial.scenario.startswith(family)]
        if of_it:
            (folder / f"link-spread-{family}.svg").write_text(spread(of_it))
