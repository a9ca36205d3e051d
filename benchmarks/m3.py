"""M3, glass to glass: from a clock drawn on an X display to the frame that a browser presents.

A private Xvfb shows a clock as a barcode of 48 macroblocks, redrawn at 59 Hz against a page that composes at
60 Hz, so that the two drift through every phase once a second. The peer captures that display and streams it to
its own page in a fresh headless Chromium. A probe in the page reads the barcode of every presented frame inside
requestVideoFrameCallback. Everything runs on one machine and the barcode carries CLOCK_MONOTONIC; the zero of
the page's performance.now() on that clock is read over DevTools and checked by a round trip.

scenes    static: only the barcode changes.  motion: every pixel of the screen moves.
present   age of the clock at the page's first 60 Hz tick after the frame was handed to the compositor.
receive   age of the clock when the frame's last packet had been received.
host CPU  CPU time of everything that the peer started on the host, per wall time (100 % is one core); the X
          server is a line of its own, the drawer and the browser are not counted.
age slope how fast the age at the hand-over to the compositor rises, by linear regression over all frames, and
          over the tenth percentile of each second (its floor: a growing queue raises it, a busy moment not).
others    CPU time of what else ran on the machine meanwhile: distrust a round in which it is high.
PSNR      luma of some decoded frames against the picture that was drawn, below the barcode.

Rounds are interleaved (A B A B), the table shows medians, a ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.m3_scene import Scene, Size
from benchmarks.m3_trial import Bench, Plan, Trial, start_drawer
from benchmarks.peers.aiortc_stock import AiortcStock
from benchmarks.peers.base import Peer, PeerUnavailable, StreamSettings
from benchmarks.peers.selkies import Selkies
from benchmarks.peers.tightbeam import Tightbeam
from benchmarks.processes import Nursery, StartError, nothing_remains, start_xvfb
from benchmarks.report import Environment, Metric, Report, Results

PEERS: tuple[type[Peer], ...] = (Tightbeam, Selkies, AiortcStock)
MAX_TRIES = 4
EXAMPLES = """examples:
  python -m benchmarks.m3                                     the whole comparison, about 6 minutes
  python -m benchmarks.m3 --rounds 1 --seconds 5              a quick look
  python -m benchmarks.m3 --peers ours --age 60               does the age of frames rise? (ms per minute)
  python -m benchmarks.m3 --peers ours,selkies --json m3.json
"""


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asks for."""

    peers: tuple[str, ...]
    rounds: int
    plan: Plan
    fps: int
    bitrate_bps: int
    keep_logs: Path | None
    max_others_percent: float | None


def _parser(names: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.m3",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--peers", help=f"comma separated, of {', '.join(names)} (default: all)")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default 5)")
    parser.add_argument("--seconds", type=float, default=10, help="measured per scene (default 10)")
    parser.add_argument("--warm-up", type=float, default=3, help="before each window (default 3)")
    parser.add_argument("--scenes", default="static,motion", help="default static,motion")
    parser.add_argument("--size", type=Size.parse, default=Size(1280, 720), help="default 1280x720")
    parser.add_argument("--fps", type=int, default=60, help="asked of every peer (aiortc: 30)")
    parser.add_argument("--bitrate", type=int, default=8_000_000, help="bit/s, default 8000000")
    parser.add_argument("--clock-hz", type=float, default=59, help="redraws a second (default 59)")
    parser.add_argument("--json", type=Path, help="also write every figure to this file")
    parser.add_argument("--keep-logs", type=Path, help="folder for the logs of all processes")
    parser.add_argument(
        "--max-others", type=float, metavar="PERCENT",
        help="measure again, at most 3 times, when other processes used more CPU than this meanwhile",
    )  # fmt: skip
    parser.add_argument(
        "--age", type=float, metavar="SECONDS",
        help="one window this long instead of rounds, for the slope of the age of frames "
        "(peers then default to ours)",
    )  # fmt: skip
    return parser


def parse_arguments(argv: Sequence[str] | None = None) -> tuple[Request, Path | None]:
    """Read the command line; the second value is where the JSON goes."""
    names = [peer.name for peer in PEERS]
    parser = _parser(names)
    options = parser.parse_args(argv)
    try:
        scenes = tuple(Scene(name) for name in options.scenes.split(","))
    except ValueError:
        parser.error(f"--scenes: expected static, motion or both, got {options.scenes!r}")
    peers = (options.peers or ("ours" if options.age else ",".join(names))).split(",")
    if unknown := set(peers) - set(names):
        parser.error(f"--peers: {', '.join(sorted(unknown))} is not one of {', '.join(names)}")
    plan = Plan(
        size=options.size,
        scenes=scenes,
        seconds=options.age or options.seconds,
        warm_up_s=options.warm_up,
        drawer_hz=options.clock_hz,
    )
    request = Request(
        peers=tuple(peers),
        rounds=1 if options.age else options.rounds,
        plan=plan,
        fps=options.fps,
        bitrate_bps=options.bitrate,
        keep_logs=options.keep_logs,
        max_others_percent=options.max_others,
    )
    return request, options.json


def prepare(names: Sequence[str]) -> tuple[dict[str, tuple[Peer, str]], dict[str, str]]:
    """The peers that can run here with their versions, and the others with the reason."""
    ready: dict[str, tuple[Peer, str]] = {}
    skipped: dict[str, str] = {}
    for peer_class in PEERS:
        if peer_class.name not in names:
            continue
        peer = peer_class()
        try:
            ready[peer.name] = (peer, peer.prepare())
        except PeerUnavailable as error:
            skipped[peer.name] = str(error)
    return ready, skipped


def measure(
    request: Request, peers: Mapping[str, tuple[Peer, str]], skipped: dict[str, str], folder: Path
) -> list[Trial]:
    """All rounds; a peer that fails is skipped from then on, with the reason."""
    trials: list[Trial] = []
    size = request.plan.size
    with Nursery(folder) as nursery:
        x_server, display = start_xvfb(nursery, f"{size.width}x{size.height}")
        drawer = start_drawer(nursery, display, request.plan)
        stream = StreamSettings(display, size.width, size.height, request.fps, request.bitrate_bps)
        bench = Bench(nursery, x_server, drawer, request.plan, stream)
        for number in range(1, request.rounds + 1):
            for name, (peer, _) in peers.items():
                if name in skipped:
                    continue
                try:
                    measured = _quiet_run(bench, peer, number, request.max_others_percent)
                except StartError as error:
                    skipped[name] = f"round {number}: {str(error).splitlines()[0]}"
                    _progress(f"round {number}  {name}: {error}")
                    continue
                trials += measured
                for trial in measured:
                    _progress(describe(trial))
    return trials


def _quiet_run(bench: Bench, peer: Peer, number: int, limit_percent: float | None) -> list[Trial]:
    """A trial, measured again while others were busy; of all tries the one with the least of others."""
    tries: list[list[Trial]] = []
    while len(tries) < MAX_TRIES:
        tries.append(bench.run(peer, number))
        busiest = max(trial.other_cpu_percent for trial in tries[-1])
        if limit_percent is None or busiest <= limit_percent:
            return tries[-1]
        _progress(f"round {number}  {peer.name}: others used {busiest:.0f} % of a core")
    return min(tries, key=lambda trials: max(trial.other_cpu_percent for trial in trials))


def describe(trial: Trial) -> str:
    """One line on one trial, while the run goes on."""
    stream = trial.stream
    present = f"{stream.present.p50:.1f}/{stream.present.p95:.1f}" if stream.present else "-"
    receive = f"{stream.receive.p50:.1f}/{stream.receive.p95:.1f}" if stream.receive else "-"
    age = stream.age_slope
    slope = f"{age.ms_per_min:+.2f}±{age.standard_error:.2f}" if age else "-"
    if stream.floor_slope:
        slope += f" (floor {stream.floor_slope.ms_per_min:+.2f})"
    return (
        f"round {trial.round}  {trial.scene:6} {trial.peer:8} present {present} ms, "
        f"receive {receive} ms, {stream.fresh_fps:.1f} fps, host {trial.host_cpu_percent:.0f} %, "
        f"others {trial.other_cpu_percent:.0f} %, "
        f"{trial.bitrate_bps / 1e6:.1f} Mbit/s, PSNR {trial.psnr_db} dB, age {slope} ms/min"
    )


def tabulate(trials: Sequence[Trial]) -> Results:
    """The rows of the report, scene by scene."""
    results = Results()
    for trial in sorted(trials, key=lambda t: (t.scene != Scene.STATIC, t.round)):
        stream, scene, subject = trial.stream, trial.scene, trial.peer
        for label, spread in (("present", stream.present), ("receive", stream.receive)):
            for name in ("p50", "p95"):
                value = getattr(spread, name) if spread else None
                results.add(scene, Metric(f"{label} {name}", "ms"), subject, value)
        results.add(scene, Metric("presented", "fps"), subject, stream.presented_fps)
        results.add(scene, Metric("new clock values", "1/s"), subject, stream.fresh_fps)
        results.add(scene, Metric("freezes", "", ratio=False), subject, stream.freezes)
        results.add(scene, Metric("host CPU", "%"), subject, trial.host_cpu_percent)
        results.add(scene, Metric("X server CPU", "%"), subject, trial.x_server_cpu_percent)
        results.add(
            scene, Metric("CPU of others", "%", ratio=False), subject, trial.other_cpu_percent
        )
        results.add(scene, Metric("bitrate", "Mbit/s", 2), subject, trial.bitrate_bps / 1e6)
        results.add(scene, Metric("PSNR", "dB", 2, ratio=False), subject, trial.psnr_db)
        slope = stream.age_slope
        rise = Metric("age slope", "ms/min", 2, ratio=False)
        results.add(scene, rise, subject, slope.ms_per_min if slope else None)
        error = slope.standard_error if slope else None
        results.add(scene, Metric("its standard error", "ms/min", 2, ratio=False), subject, error)
        floor = stream.floor_slope
        lowest = Metric("age slope of the floor", "ms/min", 2, ratio=False)
        results.add(scene, lowest, subject, floor.ms_per_min if floor else None)
    return results


def notes_on(trials: Sequence[Trial]) -> list[str]:
    """What a reader must know to judge the figures."""
    codecs = {trial.peer: trial.codec for trial in trials}
    notes = [f"codec of {peer}: {codec}" for peer, codec in codecs.items()]
    unreadable = sum(trial.unreadable for trial in trials)
    mismatched = sum(trial.mismatched for trial in trials)
    late = sum(trial.drawer_late for trial in trials)
    notes.append(
        f"left out: {unreadable} frames with an unreadable clock, {mismatched} whose picture was "
        f"already the next one; the drawer was late {late} times"
    )
    return notes


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    """Run and report; 1 when nothing could be measured, 130 after Ctrl-C."""
    request, json_path = parse_arguments()
    ready, skipped = prepare(request.peers)
    environment = Environment.now({name: version for name, (_, version) in ready.items()})
    with tempfile.TemporaryDirectory(prefix="m3-", ignore_cleanup_errors=True) as temporary:
        folder = request.keep_logs or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with nothing_remains():
                trials = measure(request, ready, skipped, folder)
        except KeyboardInterrupt:
            _progress("interrupted: everything that was started is stopped")
            return 130
    size = request.plan.size
    report = Report(
        title=f"M3 glass to glass, {size.width}x{size.height} at {request.fps} fps, "
        f"{request.bitrate_bps / 1e6:g} Mbit/s, {request.rounds} x {request.plan.seconds:g} s",
        environment=environment,
        results=tabulate(trials),
        subjects=[name for name in ready if any(trial.peer == name for trial in trials)],
        skipped=skipped,
        notes=notes_on(trials),
    )
    print(report.text())
    if json_path is not None:
        report.write_json(json_path, [asdict(trial) for trial in trials])
    return 0 if trials else 1


if __name__ == "__main__":
    sys.exit(main())
