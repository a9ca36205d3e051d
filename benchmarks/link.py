"""M3b, M6 and C1 to C8 end to end: real hosts and a real Chromium at the two ends of an emulated link.

The peer runs in one network namespace, the browser in another, and between them is nothing but
benchmarks/emulator.py. The scenarios are the files of benchmarks/congestion/scenarios; those that are about rates alone
(c...) are scaled, that a software encoder and decoder on one machine keep up. What the peer streams is the
clock of M3 over full-screen motion, 1280x720 at 60 fps. Each trial connects on a link without losses that
stays at its first rate; then the scenario begins.

used       UDP that came to the viewer over what the link could carry (parity and repetitions included).
present    age of the clock at the page's display tick, the path's own delay included: p50, p95, p99, highest.
frozen     time in which a picture stood for more than 150 ms, in seconds a minute.
late       how much later than due the emulator wrote packets, 99th percentile: its own jitter.
others     CPU of what else ran on the machine meanwhile: distrust a round in which it is high.

Rounds are interleaved (A B A B), the table shows medians, a ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from benchmarks.link_charts import write_charts
from benchmarks.link_trial import LinkBench, LinkTrial, Route, names
from benchmarks.link_wire import EmulatedLink
from benchmarks.m3 import prepare
from benchmarks.m3_scene import Scene, Size
from benchmarks.m3_trial import Plan, start_drawer
from benchmarks.namespaces import enter, why_not
from benchmarks.peers.base import Peer, StreamSettings
from benchmarks.processes import Nursery, StartError, nothing_remains, start_xvfb
from benchmarks.report import Environment, Metric, Report, Results

FPS: Final = 60
CLOCK_HZ: Final = 59.0
SCALE: Final = 0.4
"""8 Mbit/s where the simulation has 20: what 720p60 in motion is worth, and two cores can encode and decode."""
EXAMPLES: Final = """examples:
  python -m benchmarks.link                                everything with all peers, 40 minutes a round
  python -m benchmarks.link --only m3b --rounds 5 --svg docs/pictures
  python -m benchmarks.link --only c3,c7 --peers ours --rounds 1
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.link",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", default="m3b,m6,c", help="how names of scenarios begin")
    parser.add_argument("--peers", default="ours,selkies,aiortc", help="default: all of them")
    parser.add_argument("--rounds", type=int, default=1, help="interleaved rounds (default 1)")
    parser.add_argument("--size", type=Size.parse, default=Size(1280, 720), help="default 1280x720")
    parser.add_argument("--scale", type=float, default=SCALE, help=f"of C1 to C8 (default {SCALE})")
    parser.add_argument("--json", type=Path, help="also write every figure to this file")
    parser.add_argument("--svg", type=Path, help="folder for pictures of the first round")
    parser.add_argument("--keep-logs", type=Path, help="folder for the logs of all processes")
    return parser


def measure(
    options: argparse.Namespace,
    peers: Mapping[str, tuple[Peer, str]],
    skipped: dict[str, str],
    folder: Path,
) -> list[LinkTrial]:
    """All rounds of all scenarios; a trial that fails is left out, with the reason."""
    trials: list[LinkTrial] = []
    size: Size = options.size
    with Nursery(folder) as nursery:
        # In the namespace of everybody else: there alone an X server sees which displays are taken.
        x_server, display = start_xvfb(nursery, f"{size.width}x{size.height}")
        plan = Plan(size, (Scene.MOTION,), 0, 0, CLOCK_HZ)
        drawer = start_drawer(nursery, display, plan)
        emulated = EmulatedLink(nursery)
        enter(emulated.viewer_path)
        stream = StreamSettings(display, size.width, size.height, FPS, 0)
        bench = LinkBench(nursery, x_server, drawer, emulated, size, stream)
        for name in names(options.only.split(",")):
            route = Route.read(name, options.scale)
            for number in range(1, options.rounds + 1):
                for peer, _ in peers.values():
                    try:
                        trial = bench.run(peer, route, number)
                    except StartError as error:
                        skipped[f"{peer.name} in {name}"] = str(error).splitlines()[0]
                        _progress(f"{name} round {number}  {peer.name}: {error}")
                        continue
                    trials.append(trial)
                    _progress(describe(trial))
    return trials


def rows(trial: LinkTrial) -> list[tuple[Metric, float | None]]:
    """What the table has of one trial."""
    figures, present = trial.figures, trial.figures.present
    window_s = figures.window_s
    return [
        (Metric("used", "%", 0), 100 * trial.utilisation),
        (Metric("the other flow's", "%", 0, ratio=False), 100 * trial.beside or None),
        (Metric("present p50", "ms"), present.p50 if present else None),
        (Metric("present p95", "ms"), present.p95 if present else None),
        (Metric("present p99", "ms"), present.p99 if present else None),
        (Metric("present highest", "ms", 0), figures.peak_ms),
        (Metric("new clock values", "1/s"), figures.fps),
        (Metric("frozen", "s/min", 2), 60 * figures.frozen_s / window_s),
        (Metric("host CPU", "%", 0), trial.host_cpu_percent),
        (Metric("late p99", "us", 0, ratio=False), trial.passed.late_us[2]),
        (Metric("CPU of others", "%", 0, ratio=False), trial.other_cpu_percent),
    ]


def describe(trial: LinkTrial) -> str:
    """One line on one trial, while the run goes on."""
    words = ", ".join(
        f"{metric.name} {metric.show(value)}" for metric, value in rows(trial) if value is not None
    )
    return f"{trial.scenario} round {trial.round}  {trial.peer:8} {words}"


def tabulate(trials: Sequence[LinkTrial]) -> Results:
    """Scenario by scenario."""
    results = Results()
    for trial in trials:
        title = f"{trial.scenario.upper()} {trial.title}"
        for metric, value in rows(trial):
            if value is not None or not metric.name.startswith("the other"):
                results.add(title, metric, trial.peer, value)
    return results


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    """Run and report; 1 when nothing could be measured, 130 after Ctrl-C."""
    options = _parser().parse_args()
    if (reason := why_not()) is not None:
        print(f"skipped, no emulated link here: {reason}")
        return 0
    peers, skipped = prepare(options.peers.split(","))
    environment = Environment.now({name: version for name, (_, version) in peers.items()})
    with tempfile.TemporaryDirectory(prefix="link-", ignore_cleanup_errors=True) as temporary:
        folder = options.keep_logs or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with nothing_remains():
                trials = measure(options, peers, skipped, folder)
        except KeyboardInterrupt:
            _progress("interrupted: everything that was started is stopped")
            return 130
    report = Report(
        title=f"Over an emulated link, {options.rounds} rounds, C1 to C8 x {options.scale:g}",
        environment=environment,
        results=tabulate(trials),
        subjects=[name for name in peers if any(trial.peer == name for trial in trials)],
        skipped=skipped,
    )
    print(report.text())
    if options.json is not None:
        report.write_json(options.json, [asdict(trial) for trial in trials])
    if options.svg is not None:
        write_charts(options.svg, trials)
    return 0 if trials else 1


if __name__ == "__main__":
    sys.exit(main())
