"""A dashboard as an SVG, drawn from what a Prometheus has: for the docs, and where there is no Grafana."""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Final

from deploy.observability.ask import Refused, Series, filled, lately, now
from deploy.observability.build import DASHBOARDS
from deploy.observability.panels import Query, grafana

CELL, LINE, GAP = 60, 30, 8
"""Of Grafana's grid: width and height of a cell, and what is between panels."""
POINTS: Final = 240
COLOURS: Final = (
    *("#3274d9", "#e0752d", "#37872d", "#c4162a", "#8f3bb8", "#00838f", "#b0872b", "#d6518f"),
    *("#5b6b7b", "#7eb26d", "#6d1f62", "#447ebc"),
)
LEGENDS: Final = 6
"""More names do not fit below a panel."""
STYLE: Final = """\
text { font: 12px "DejaVu Sans", Verdana, sans-serif; fill: #24292e; }
.title { font-weight: bold; font-size: 13px; } .row { font-weight: bold; font-size: 15px; }
.small { font-size: 10.5px; fill: #57606a; } .big { font-size: 30px; font-weight: bold; }
.card { fill: #fff; stroke: #d0d7de; } .grid { stroke: #eaeef2; } .line { fill: none; stroke-width: 1.6; }
"""
_STEPS: Final = {
    "s": ((1e-6, "µs"), (1e-3, "ms"), (1, "s"), (60, "min"), (3600, "h")),
    "bps": ((1, "bit/s"), (1e3, "kbit/s"), (1e6, "Mbit/s"), (1e9, "Gbit/s")),
    "bytes": ((1, "B"), (1 << 10, "KiB"), (1 << 20, "MiB"), (1 << 30, "GiB")),
}


def worded(value: float, unit: str) -> str:
    """A value with its unit, three digits."""
    if not math.isfinite(value):
        return "no value"
    if unit == "percentunit":
        return f"{100 * value:.3g} %"
    if unit in _STEPS and value:
        steps = _STEPS[unit]
        size, name = next((step for step in reversed(steps) if abs(value) >= step[0]), steps[0])
        return f"{value / size:.3g} {name}"
    suffix = "/s" if unit == "reqps" else ""
    return f"{value:.0f}{suffix}" if abs(value) >= 100 else f"{value:.3g}{suffix}"


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle, in pixels."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Named:
    """A series under its name."""

    name: str
    points: tuple[tuple[float, float], ...]


def _text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">'
        f"{escape(words)}</text>"
    )


def _ceiling(value: float) -> float:
    """A round number that is not less."""
    if value <= 0 or not math.isfinite(value):
        return 1.0
    size = float(10 ** math.floor(math.log10(value)))
    return next(step * size for step in (1, 2, 2.5, 5, 10) if step * size >= value * 0.999)


def _stacked(lines: Sequence[Named]) -> list[Named]:
    """Each on top of those before it."""
    below: dict[float, float] = {}
    found = []
    for line in lines:
        for at, value in line.points:
            below[at] = below.get(at, 0.0) + (value if math.isfinite(value) else 0.0)
        found.append(Named(line.name, tuple((at, below[at]) for at, _ in line.points)))
    return found


def _curve(
    line: Named, box: Box, span: tuple[float, float], top: float
) -> list[tuple[float, float]]:
    begin, end = span
    dots = [
        (
            round(box.x + (at - begin) / (end - begin) * box.width, 1),
            round(box.y + box.height - min(value / top, 1.0) * box.height, 1),
        )
        for at, value in line.points
        if math.isfinite(value)
    ]
    inner = zip(dots, dots[1:], dots[2:], strict=False)  # only where it bends
    bends = [dot for before, dot, after in inner if not before[1] == dot[1] == after[1]]
    return [*dots[:1], *bends, *dots[-1:]]


def _plot(
    lines: Sequence[Named], box: Box, unit: str, span: tuple[float, float], stacked: bool
) -> Iterable[str]:
    drawn = _stacked(lines) if stacked else list(lines)
    values = [value for line in drawn for _, value in line.points if math.isfinite(value)]
    top = _ceiling(max(values, default=0.0))
    for part in range(5):
        y = box.y + box.height * part / 4
        yield f'<line class="grid" x1="{box.x:.1f}" x2="{box.x + box.width:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield _text(box.x - 6, y + 4, worded(top * (4 - part) / 4, unit), "small", "end")
    for part in range(4):
        at = span[0] + (span[1] - span[0]) * part / 3
        anchor = "end" if part == 3 else "middle" if part else "start"
        clock = time.strftime("%H:%M:%S", time.gmtime(at))
        yield _text(box.x + box.width * part / 3, box.y + box.height + 14, clock, "small", anchor)
    for index, line in reversed(list(enumerate(drawn))):
        colour = COLOURS[index % len(COLOURS)]
        curve = _curve(line, box, span, top)
        if not curve:
            continue
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in curve)
        if stacked:
            floor = box.y + box.height
            area = f"{curve[0][0]:.1f},{floor:.1f} {points} {curve[-1][0]:.1f},{floor:.1f}"
            yield f'<polygon points="{area}" fill="#fff"/>'
            yield f'<polygon points="{area}" fill="{colour}" fill-opacity="0.35"/>'
        yield f'<polyline class="line" points="{points}" stroke="{colour}"/>'


def _legend(lines: Sequence[Named], box: Box) -> Iterable[str]:
    x, y = box.x, box.y
    for index, line in enumerate(lines[:LEGENDS]):
        width = 22 + 6.6 * len(line.name)
        if x > box.x and x + width > box.x + box.width:
            x, y = box.x, y + 15
        colour = COLOURS[index % len(COLOURS)]
        yield f'<rect x="{x:.1f}" y="{y - 8:.1f}" width="9" height="9" rx="2" fill="{colour}"/>'
        yield _text(x + 13, y, line.name, "small")
        x += width
    if len(lines) > LEGENDS:
        yield _text(x, y, f"and {len(lines) - LEGENDS} more", "small")


def _table(rows: Sequence[Named], box: Box, unit: str) -> Iterable[str]:
    ranked = sorted(rows, key=lambda row: -row.points[-1][1])[:10]
    most = max((row.points[-1][1] for row in ranked), default=0.0) or 1.0
    for index, row in enumerate(ranked):
        y, value = box.y + 14 + 19 * index, row.points[-1][1]
        length = max(0.0, value / most) * box.width * 0.45
        bar = f'x="{box.x + box.width * 0.5:.1f}" y="{y - 10:.1f}" width="{length:.1f}" height="13"'
        yield f'<rect {bar} rx="2" fill="{COLOURS[0]}" fill-opacity="0.25"/>'
        yield _text(box.x, y, row.name, "small")
        yield _text(box.x + box.width * 0.5 + 4, y, worded(value, unit), "small")


@dataclass(frozen=True, slots=True)
class Source:
    """Which Prometheus, which time, and how long a rate looks back."""

    url: str
    span: tuple[float, float]
    rate_interval: str

    def lines(self, queries: Sequence[Query], *, moment: bool) -> list[Named]:
        """The series of a panel, with all those at the end that are 0 throughout."""
        found: list[Named] = []
        for query in queries:
            expr = filled(query.expr, self.rate_interval)
            step_s = (self.span[1] - self.span[0]) / POINTS
            got: list[Series] = (
                now(self.url, expr) if moment else lately(self.url, expr, self.span, step_s)
            )
            found += [Named(series.legend(query.legend), series.points) for series in got]
        return sorted(found, key=lambda line: not any(value for _, value in line.points))


def _panel(panel: dict[str, Any], box: Box, source: Source) -> Iterable[str]:
    kind, unit = panel["type"], panel["fieldConfig"]["defaults"]["unit"]
    queries = [Query(target["expr"], target["legendFormat"]) for target in panel["targets"]]
    lines = source.lines(queries, moment=kind == "table")
    size = f'width="{box.width:.0f}" height="{box.height:.0f}" rx="4"'
    yield f'<rect class="card" x="{box.x:.0f}" y="{box.y:.0f}" {size}/>'
    yield _text(box.x + 10, box.y + 19, panel["title"], "title")
    if not lines:
        yield _text(box.x + box.width / 2, box.y + box.height / 2, "no data", "small", "middle")
    elif kind == "stat":
        value = worded(lines[0].points[-1][1], unit)
        yield _text(box.x + box.width / 2, box.y + box.height / 2 + 20, value, "big", "middle")
    elif kind == "table":
        yield from _table(lines, Box(box.x + 10, box.y + 28, box.width - 20, 0), unit)
    else:
        plot = Box(box.x + 78, box.y + 32, box.width - 92, box.height - 92)
        stacked = "stacking" in panel["fieldConfig"]["defaults"]["custom"]
        yield from _plot(lines, plot, unit, source.span, stacked)
        yield from _legend(lines, Box(box.x + 12, box.y + box.height - 26, box.width - 24, 0))


def svg(name: str, source: Source, rows: Sequence[str] = ()) -> str:
    """The dashboard of this name, or some rows of it; raises Refused."""
    dashboard = next(board for board in DASHBOARDS if board.name == name)
    wanted = [row for row in dashboard.rows if not rows or row.title in rows]
    board = grafana(type(dashboard)(name, dashboard.title, dashboard.description, tuple(wanted)))
    parts, bottom = [_text(GAP, 24, dashboard.title, "row")], 0.0
    for panel in board["panels"]:
        place = panel["gridPos"]
        box = Box(
            place["x"] * CELL + GAP / 2,
            place["y"] * LINE + 40,
            place["w"] * CELL - GAP,
            place["h"] * LINE - GAP,
        )
        bottom = max(bottom, box.y + box.height + GAP)
        if panel["type"] == "row":
            parts.append(_text(box.x + 4, box.y + 17, panel["title"], "title"))
        else:
            parts += _panel(panel, box, source)
    width = 24 * CELL
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {bottom:.0f}" width="{width}">'
    back = f'<rect width="{width}" height="{bottom:.0f}" fill="#f6f8fa"/>'
    return "\n".join([head, f"<style>{STYLE}</style>", back, *parts, "</svg>\n"])


def main() -> int:
    """The command."""
    flags = argparse.ArgumentParser(
        prog="python -m deploy.observability.picture",
        description="Draw a dashboard as an SVG from what a Prometheus has.",
    )
    flags.add_argument("url", help="of the Prometheus")
    flags.add_argument("name", choices=[board.name for board in DASHBOARDS])
    flags.add_argument("--minutes", type=float, default=5, help="how far back (5)")
    flags.add_argument("--rate-interval", default="30s", metavar="T", help="of rates (30s)")
    flags.add_argument("--row", action="append", default=[], help="only this one; may be repeated")
    flags.add_argument("--output", type=Path, metavar="FILE", help="(NAME.svg)")
    options = flags.parse_args()
    end = time.time()
    source = Source(options.url, (end - 60 * options.minutes, end), options.rate_interval)
    path = options.output or Path(f"{options.name}.svg")
    try:
        path.write_text(svg(options.name, source, options.row), "utf-8")
    except (Refused, OSError) as error:
        print(f"picture: {error}", file=sys.stderr)
        return 1
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
