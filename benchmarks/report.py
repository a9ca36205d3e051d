"""How every benchmark reports: machine, date and versions, then ours, each peer and the ratio, from rounds.

A benchmark adds one value per round and subject; the table shows medians, and the ratio is the median of the
rounds' own ratios, so that a machine that changes its speed between rounds changes it little.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

OURS = "ours"
THIS_TREE = f"Python {platform.python_version()}, in this tree"
"""The version of what is ours."""


@dataclass(frozen=True, slots=True)
class Environment:
    """Where and when a run was made."""

    machine: str
    cores: int
    kernel: str
    python: str
    date: str
    load_average: float
    versions: Mapping[str, str]

    @classmethod
    def now(cls, versions: Mapping[str, str]) -> Environment:
        """Read it from this machine; `versions` is one text per subject."""
        return cls(
            machine=_cpu_model(),
            cores=os.cpu_count() or 1,
            kernel=platform.release(),
            python=platform.python_version(),
            date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
            load_average=round(os.getloadavg()[0], 2),
            versions=dict(versions),
        )

    def lines(self) -> list[str]:
        """As text, one fact a line."""
        head = f"{self.machine}, {self.cores} cores, Linux {self.kernel}, Python {self.python}"
        load = f"{self.date}, load average before the run {self.load_average}"
        return [head, load, *(f"{name}: {text}" for name, text in self.versions.items())]


def _cpu_model() -> str:
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@dataclass(frozen=True, slots=True)
class Metric:
    """One row's name and unit; `digits` after the point; `ratio` is False where ours / peer means nothing."""

    name: str
    unit: str
    digits: int = 1
    ratio: bool = True

    def show(self, value: float | None) -> str:
        """A value of this metric as the table shows it."""
        return "-" if value is None else f"{value:.{self.digits}f}"


@dataclass(slots=True)
class Results:
    """Values by scenario, metric and subject, one per round, in the order in which rows were first added."""

    rows: dict[tuple[str, Metric], dict[str, list[float]]] = field(default_factory=dict)

    def add(self, scenario: str, metric: Metric, subject: str, value: float | None) -> None:
        """Record one round's value; None (not measured) is left out."""
        values = self.rows.setdefault((scenario, metric), {}).setdefault(subject, [])
        if value is not None:
            values.append(value)

    def median(self, scenario: str, metric: Metric, subject: str) -> float | None:
        """The median over rounds."""
        values = self.rows.get((scenario, metric), {}).get(subject)
        return statistics.median(values) if values else None

    def ratio(self, scenario: str, metric: Metric, peer: str) -> float | None:
        """Median over rounds of ours / peer; None when either is missing or a peer's value is 0."""
        row = self.rows.get((scenario, metric), {}) if metric.ratio else {}
        pairs = zip(row.get(OURS, []), row.get(peer, []), strict=False)
        ratios = [ours / theirs for ours, theirs in pairs if theirs]
        return statistics.median(ratios) if ratios else None

    def table(self, subjects: Sequence[str]) -> str:
        """A Markdown table, aligned so that it reads in a terminal too."""
        peers = [subject for subject in subjects if subject != OURS]
        head = ["scenario", "metric", *subjects]
        head += [f"ours/{peer}" for peer in peers] if OURS in subjects else []
        lines = [head]
        for scenario, metric in self.rows:
            cells = [metric.show(self.median(scenario, metric, s)) for s in subjects]
            if OURS in subjects:
                ratios = (self.ratio(scenario, metric, peer) for peer in peers)
                cells += ["-" if ratio is None else f"{ratio:.2f}" for ratio in ratios]
            unit = f" ({metric.unit})" if metric.unit else ""
            lines.append([scenario, f"{metric.name}{unit}", *cells])
        return _markdown(lines)


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]

    def row(line: Sequence[str]) -> str:
        cells = (
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        return "| " + " | ".join(cells) + " |"

    rule = [("-" * width if i < 2 else "-" * (width - 1) + ":") for i, width in enumerate(widths)]
    return "\n".join([row(lines[0]), row(rule), *(row(line) for line in lines[1:])])


@dataclass(frozen=True, slots=True)
class Report:
    """A finished run: what ran where, the table, and who was skipped and why."""

    title: str
    environment: Environment
    results: Results
    subjects: Sequence[str]
    skipped: Mapping[str, str]
    notes: Sequence[str] = ()

    def text(self) -> str:
        """The run for a reader, in Markdown."""
        parts = [f"## {self.title}", "", *(f"- {line}" for line in self.environment.lines())]
        parts += [f"- {note}" for note in self.notes]
        parts += [f"- skipped {name}: {reason}" for name, reason in self.skipped.items()]
        return "\n".join([*parts, "", self.results.table(self.subjects)])

    def write_json(self, path: Path, trials: Sequence[Mapping[str, object]] = ()) -> None:
        """The run for a program: medians, ratios, every round's value, and raw trials when given."""
        rows = [
            {
                "scenario": scenario,
                "metric": metric.name,
                "unit": metric.unit,
                "rounds": values,
                "median": {s: self.results.median(scenario, metric, s) for s in self.subjects},
                "ratio": {
                    s: self.results.ratio(scenario, metric, s) for s in self.subjects if s != OURS
                },
            }
            for (scenario, metric), values in self.results.rows.items()
        ]
        document = {
            "title": self.title,
            "environment": asdict(self.environment),
            "notes": list(self.notes),
            "skipped": dict(self.skipped),
            "rows": rows,
            "trials": list(trials),
        }
        path.write_text(json.dumps(document, indent=2) + "\n")
