"""C1 to C8, congestion control: frame delay against use of the link, in simulated time over benchmarks/congestion.

The scenarios are files (benchmarks/congestion/scenarios), the link, the frames and the viewer are simulated, the
pacer, the repetition of lost packets and the controllers are the real ones. A round is another seed.

ours   agent/congestion/delay.py
loss   the predecessor's rule by receiver reports (agent/congestion/loss.py)
gcc    libwebrtc's delay-based estimator and increase, without its probing (benchmarks/congestion/steers.py)

Frame delays run from capture to the frame's last packet, repetitions included, less the path's own delay; a frame
that is not whole after a second is given up. `frozen` is the time in which a picture stood for more than 150 ms.
`--json` also writes each controller's rate over time.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from typing import Final

from benchmarks import command
from benchmarks.congestion.scenario import Figures, Scenario, play, scenarios
from benchmarks.congestion.steers import STEERS
from benchmarks.report import OURS, THIS_TREE, Environment, Metric, Report, Results

UTILISATION: Final = Metric("utilisation", "%", 0)
P50: Final = Metric("frame delay p50", "ms")
P95: Final = Metric("frame delay p95", "ms")
FROZEN: Final = Metric("frozen", "% of the time")
BESIDE: Final = Metric("the other flow's", "%", 0, ratio=False)
STEPS_A_SECOND: Final = 5


def record(results: Results, scenario: Scenario, subject: str, figures: Figures) -> None:
    """One scenario's rows."""
    title = f"{scenario.name.upper()} {scenario.title}"
    results.add(title, UTILISATION, subject, 100 * figures.utilisation)
    results.add(title, P50, subject, figures.p50_ms)
    results.add(title, P95, subject, figures.p95_ms)
    results.add(title, FROZEN, subject, 100 * figures.frozen)
    if scenario.cubic is not None:
        results.add(title, BESIDE, subject, 100 * figures.beside)


def curve(scenario: Scenario, subject: str, figures: Figures) -> dict[str, object]:
    """The rate over time, in steps, beside the capacity."""
    every = scenario.source.fps // STEPS_A_SECOND
    return {
        "scenario": scenario.name,
        "subject": subject,
        "capacity_bps": list(scenario.link.capacity_bps),
        "target_bps": [(round(at, 2), rate) for at, rate in figures.targets[::every]],
    }


def measure(options: argparse.Namespace) -> tuple[Report, list[dict[str, object]]]:
    """Every scenario with every controller."""
    subjects = {OURS if name == "delay" else name: make for name, make in STEERS.items()}
    if options.only_ours:
        subjects = {OURS: subjects[OURS]}
    results, curves = Results(), []
    environment = Environment.now({"all": THIS_TREE})
    for number in range(options.rounds):
        for scenario in scenarios():
            for subject, make in subjects.items():
                figures = play(replace(scenario, seed=scenario.seed + number), make)
                record(results, scenario, subject, figures)
                if not number:
                    curves.append(curve(scenario, subject, figures))
    notes = [f"{options.rounds} seeds"]
    title = "C1 to C8: congestion control in simulated time"
    return Report(title, environment, results, list(subjects), {}, notes), curves


def main() -> int:
    """0 when it was measured."""
    options = command.make_parser("c", __doc__, rounds=3).parse_args()
    report, curves = measure(options)
    print(report.text())
    if options.json is not None:
        report.write_json(options.json, curves)
    return 0


if __name__ == "__main__":
    sys.exit(main())
