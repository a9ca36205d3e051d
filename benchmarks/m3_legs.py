"""M3 legs: what the page's own overlay says from click and capture to photon, against measures from outside.

static, motion   M3's clock drawn as a barcode: its age when it is shown, against the overlay's "Captured to
                 photon". That begins a little later than the drawing, which no page can know; the host's own word of
                 when it captured a frame, on the clock that the barcode carries too, says how much later.
click            DevTools clicks into the page; an X client answers each press that XTest brings with another barcode,
                 and the first frame that shows it ends the click. Against the overlay's "Click to photon"; and the
                 time from the page's event to the X client's against its "Up to the host", which ends at XTest.

`ours` is what the overlay shows, `outside` the other measure; the ratio should be 1. The zero of the page's clock on
CLOCK_MONOTONIC is read over DevTools, which the page itself cannot do.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import re
import struct
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.cdp import Page
from benchmarks.m3_scene import Scene, Size
from benchmarks.m3_stats import Sample, Spread, age_ms
from benchmarks.m3_trial import Plan, playing, start_drawer
from benchmarks.peers.base import StreamSettings, start_peer
from benchmarks.peers.tightbeam import Tightbeam
from benchmarks.processes import Nursery, Process, StartError, nothing_remains, start_xvfb
from benchmarks.report import OURS, Environment, Metric, Report, Results

SCRIPT: Final = (Path(__file__).parent / "m3_legs.js").read_text()
OUTSIDE: Final = "outside"
SIZE: Final = Size(1280, 720)
WINDOW_S: Final = 10.0
"""What the overlay looks back on."""
SETTLE_S: Final = 1.6
"""The host tells five times a second, the overlay shows once a second."""
CLICKS: Final = 31
"""All within the overlay's window; an odd number has one median."""
CLICK_S: Final = 0.2
HOLD_S: Final = 0.05
PAIR: Final = re.compile(r"([\d.]+) ms(?: · ([\d.]+) ms)?")
FRAMES: Final = struct.Struct("!BBQB")
FRAME: Final = struct.Struct("!9I")


@dataclass(slots=True)
class Compared:
    """One figure by both measures: median and 95th percentile in milliseconds."""

    ours: tuple[float, float]
    outside: Spread


@dataclass(slots=True)
class Photons:
    """What one window found; `waited_ms` from drawing to capture, which no page can know."""

    whole: Compared
    leg: Compared | None = None
    waited_ms: list[float] = field(default_factory=list)
    clocks_ms: float = 0.0


def captured_s(messages: Sequence[str]) -> dict[int, float]:
    """When frames were captured, in seconds of CLOCK_MONOTONIC by RTP timestamp, from FRAMES messages in base64."""
    found: dict[int, float] = {}
    for message in messages:
        raw = base64.b64decode(message)
        _, _, base_us, count = FRAMES.unpack_from(raw)
        for index in range(count):
            row = FRAME.unpack_from(raw, FRAMES.size + index * FRAME.size)
            found[row[0]] = (base_us + row[1]) / 1e6
    return found


def shown(page: Page, label: str) -> tuple[float, float]:
    """Median and 95th percentile of a row of the overlay, in milliseconds."""
    text = page.evaluate("window.__legs.overlay()")[label]
    match = PAIR.search(text)
    if match is None:
        raise StartError(f"the overlay shows {text!r} for {label!r}: was anything measured?")
    return float(match[1]), float(match[2] or match[1])


def _spread(values: Sequence[float]) -> Spread:
    spread = Spread.of(values)
    if spread is None:
        raise StartError("nothing was measured from outside: did the picture stand still?")
    return spread


def _samples(page: Page) -> list[Sample]:
    """Of the first frame that showed a value each."""
    first: dict[int, Sample] = {}
    for row in page.evaluate("window.__m3.take()")["samples"]:
        sample = Sample.of(row)
        first.setdefault(sample.clock_ticks, sample)
    return list(first.values())


def measure_pictures(page: Page) -> Photons:
    """One window of a running clock."""
    origin_s = page.time_origin_s()
    page.evaluate("window.__m3.take()")
    page.evaluate("window.__legs.take()")
    page.evaluate("window.__legs.overlay()")
    time.sleep(WINDOW_S + SETTLE_S)
    ours = shown(page, "Captured to photon*")
    now_ms = page.evaluate("performance.now()")
    captured = captured_s(page.evaluate("window.__legs.take()")["told"])
    samples = [s for s in _samples(page) if s.display_ms > now_ms - 1000 * WINDOW_S]
    ages = [age_ms(s.clock_ticks, s.display_ms, origin_s) for s in samples]
    waited = [
        age_ms(s.clock_ticks, 0, captured[s.rtp_timestamp])
        for s in samples
        if s.rtp_timestamp in captured
    ]
    whole = Compared(ours, _spread(ages))
    clocks_ms = shown(page, "* by two clocks that agree to")[0]
    return Photons(whole, waited_ms=waited, clocks_ms=clocks_ms)


def _click(page: Page) -> None:
    for kind in ("mousePressed", "mouseReleased"):
        page.call("Input.dispatchMouseEvent", type=kind, x=900, y=500, button="left", clickCount=1)
        time.sleep(HOLD_S)


def measure_clicks(page: Page, clicker: Process, clicks: int = CLICKS) -> Photons:
    """Some clicks, none in step with anything."""
    if clicker.stdout is None:
        raise ValueError("the clicker needs pipes")
    origin_s = page.time_origin_s()
    page.call("Input.dispatchMouseEvent", type="mouseMoved", x=900, y=500)
    _click(page)  # the display is opened for the first
    clicker.stdout.readline()
    time.sleep(SETTLE_S)
    last = max(sample.clock_ticks for sample in _samples(page))
    page.evaluate("window.__legs.take()")
    page.evaluate("window.__legs.overlay()")
    chance = random.Random(clicks)
    for _ in range(clicks):
        _click(page)
        time.sleep(CLICK_S * chance.random())
    time.sleep(SETTLE_S)
    presses = page.evaluate("window.__legs.take()")["presses"]
    heard = [json.loads(clicker.stdout.readline()) for _ in presses]
    seen = {s.clock_ticks - last: s.display_ms for s in _samples(page)}
    photons = [seen[n] - at for n, at in enumerate(presses, 1) if n in seen]
    ways = [(at - origin_s) * 1000 - press for at, press in zip(heard, presses, strict=True)]
    return Photons(
        Compared(shown(page, "Click to photon"), _spread(photons)),
        Compared(shown(page, "Up to the host*"), _spread(ways)),
        clocks_ms=shown(page, "* by two clocks that agree to")[0],
    )


def start_clicker(nursery: Nursery, display: str) -> Process:
    """The X client on the display, when its window is drawn."""
    argv = [sys.executable, "-m", "benchmarks.m3_clicker", "--display", display]
    clicker = nursery.start("clicker", argv, pipes=True)
    if clicker.stdout is None or clicker.stdout.readline().strip() != b"ready":
        raise StartError(f"the clicker did not start: {clicker.log_tail()}")
    return clicker


def pictures(folder: Path, scenes: Sequence[Scene], rounds: int) -> Iterator[tuple[str, Photons]]:
    """The clock's scenes in turn."""
    plan = Plan(SIZE, tuple(scenes), WINDOW_S, SETTLE_S, 59)
    with Nursery(folder) as nursery:
        _, display = start_xvfb(nursery, f"{SIZE.width}x{SIZE.height}")
        drawer = start_drawer(nursery, display, plan)
        stream = StreamSettings(display, SIZE.width, SIZE.height, 60, 8_000_000)
        _, command = start_peer(nursery, Tightbeam(), stream)
        with playing(nursery, SIZE, command, SCRIPT) as (page, _):
            for _ in range(rounds):
                for scene in scenes:
                    drawer.show(scene)
                    time.sleep(plan.warm_up_s)
                    yield scene.value, measure_pictures(page)


def clicked(folder: Path, rounds: int, clicks: int = CLICKS) -> Iterator[tuple[str, Photons]]:
    """Clicks on a static screen."""
    with Nursery(folder) as nursery:
        _, display = start_xvfb(nursery, f"{SIZE.width}x{SIZE.height}")
        clicker = start_clicker(nursery, display)
        stream = StreamSettings(display, SIZE.width, SIZE.height, 60, 8_000_000)
        _, command = start_peer(nursery, Tightbeam(), stream)
        with playing(nursery, SIZE, command, SCRIPT) as (page, _):
            for number in range(rounds):
                if number:
                    time.sleep(WINDOW_S)  # the overlay forgets the clicks before
                yield "click", measure_clicks(page, clicker, clicks)


def add(results: Results, scenario: str, found: Photons) -> None:
    """One window's rows."""
    name = "click to photon" if scenario == "click" else "to photon"
    for index, share in enumerate(("p50", "p95")):
        metric = Metric(f"{name} {share}", "ms")
        results.add(scenario, metric, OURS, found.whole.ours[index])
        results.add(scenario, metric, OUTSIDE, getattr(found.whole.outside, share))
    if found.waited_ms:
        waited = _spread(found.waited_ms).p50
        results.add(scenario, Metric("drawn to captured p50", "ms"), OUTSIDE, waited)
        metric = Metric("to photon p50, with that", "ms")
        results.add(scenario, metric, OURS, found.whole.ours[0] + waited)
        results.add(scenario, metric, OUTSIDE, found.whole.outside.p50)
    if found.leg is not None:
        metric = Metric("page to X client p50", "ms")
        results.add(scenario, metric, OURS, found.leg.ours[0])
        results.add(scenario, metric, OUTSIDE, found.leg.outside.p50)
    results.add(scenario, Metric("clocks agree to ±", "ms", 2), OURS, found.clocks_ms)


def main() -> int:
    """Run and report."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.m3_legs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=5, help="of each scene (default 5)")
    options = parser.parse_args()
    environment = Environment.now({OURS: Tightbeam().prepare()})
    results = Results()
    temporary = tempfile.TemporaryDirectory(prefix="m3-", ignore_cleanup_errors=True)
    with temporary as folder, nothing_remains():
        for run in (
            pictures(Path(folder), tuple(Scene), options.rounds),
            clicked(Path(folder), options.rounds),
        ):
            for scenario, found in run:
                print(f"{scenario}: {_words(found)}", file=sys.stderr, flush=True)
                add(results, scenario, found)
    title = f"M3 legs, {SIZE.width}x{SIZE.height} at 60 fps, {options.rounds} rounds"
    print(Report(title, environment, results, (OURS, OUTSIDE), {}).text())
    return 0


def _words(found: Photons) -> str:
    fields: dict[str, Any] = {"ours": found.whole.ours, "outside": found.whole.outside}
    return ", ".join(f"{name} {value}" for name, value in fields.items())


if __name__ == "__main__":
    sys.exit(main())
