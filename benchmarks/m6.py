"""M6, repair: how long pictures freeze and how late they come on a path that loses packets, with and without FEC.

A sender of ours in this process and a real Chromium, with a UDP relay on loopback between them: it delays both ways
by half the round trip and loses RTP to the browser by a seeded pattern. Sent are encoded pictures of about 8 packets,
60 a second, at a fixed rate: what differs is the repair alone, neither encoder nor congestion control.

ours      parity packets when the rule of agent/congestion/protection.py says so, and retransmissions
no FEC    retransmissions alone

frozen    seconds a minute that Chromium counts as freezes (totalFreezesDuration of W3C webrtc-stats).
late      how much later a picture is presented than the fastest one, by its RTP timestamp: p50, p95 and p99.
parity    share of parity packets in what is sent.

Rounds are interleaved (A B A B), the table shows medians, a ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from agent.congestion.flight import Packet
from agent.congestion.protection import PathState, Protection
from agent.encode.base import AccessUnit
from agent.transport.peer import Peer
from benchmarks.report import OURS, THIS_TREE, Environment, Metric, Report, Results
from tests.browser.receiver import Receiver, receiving
from tests.lossy_relay import LossyRelay, losses
from tests.transport.viewer import Feeder, Listener, access_units

FPS: Final = 60
RETRANSMIT: Final = "no FEC"
WATCH: Final = """(() => {
  const video = document.querySelector("video");
  globalThis.seen = [];
  const note = (now, { presentationTime, rtpTimestamp }) => {
    seen.push([presentationTime, rtpTimestamp]);
    video.requestVideoFrameCallback(note);
  };
  video.requestVideoFrameCallback(note);
})()"""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One path."""

    loss: float
    burst: float
    rtt_s: float

    @property
    def name(self) -> str:
        """As the table shows it."""
        runs = f" in runs of {self.burst:g}" if self.burst > 1 else ""
        return f"{self.loss:.0%}{runs}, RTT {self.rtt_s * 1000:.0f} ms"


@dataclass(frozen=True, slots=True)
class Window:
    """When is measured, and which packets get lost."""

    warm_up_s: float
    seconds: float
    seed: int


LOSSES: Final = ((0.01, 1.0), (0.03, 1.0), (0.05, 1.0), (0.03, 4.0))
SCENARIOS: Final = tuple(
    Scenario(loss, burst, rtt_s) for rtt_s in (0.02, 0.1) for loss, burst in LOSSES
)


class Protected(Listener):
    """Lets the rule decide on each feedback, as a session does."""

    peer: Peer | None = None

    def __init__(self) -> None:
        super().__init__()
        self._protection = Protection()

    def on_feedback(self, packets: Sequence[Packet]) -> None:
        """As `Session.on_feedback`, on a path without a queue."""
        rtt_s = self.reports[-1].rtt_s if self.reports else None
        state = PathState(rtt_s, queue_stands=False)
        loss = self._protection.on_feedback(packets, state, time.monotonic())
        if self.peer is not None:
            self.peer.protect(loss)


async def measure(
    scenario: Scenario, units: list[AccessUnit], window: Window, *, parity: bool
) -> dict[str, float]:
    """One connection: the figures of its window."""
    with LossyRelay(delay_s=scenario.rtt_s / 2) as relay:
        listener = Protected() if parity else Listener()
        async with receiving(relay, listener) as receiver:
            if isinstance(listener, Protected):
                listener.peer = receiver.peer
            relay.drop = losses(scenario.loss, scenario.burst, window.seed)
            with Feeder(receiver.peer, units, listener, FPS):
                await asyncio.sleep(window.warm_up_s)
                await receiver.evaluate(WATCH)
                before, sent = await receiver.stats("video"), receiver.peer.stats()
                await asyncio.sleep(window.seconds)
                after, now = await receiver.stats("video"), receiver.peer.stats()
            late_ms = await lateness_ms(receiver)
    frozen_s = after["totalFreezesDuration"] - before["totalFreezesDuration"]
    p50, p95, p99 = (float(value) for value in np.percentile(late_ms, (50, 95, 99)))
    return {
        "frozen": frozen_s * 60 / window.seconds,
        "late p50": p50,
        "late p95": p95,
        "late p99": p99,
        "presented": len(late_ms) / window.seconds,
        "key frames": (after["keyFramesDecoded"] - before["keyFramesDecoded"])
        * (60 / window.seconds),
        "parity": 100 * (now.parity - sent.parity) / (now.packets - sent.packets),
    }


METRICS: Final = (
    Metric("frozen", "s/min", 2, ratio=False),
    Metric("late p50", "ms"),
    Metric("late p95", "ms"),
    Metric("late p99", "ms"),
    Metric("presented", "fps", ratio=False),
    Metric("key frames", "1/min", ratio=False),
    Metric("parity", "%", ratio=False),
)


async def lateness_ms(receiver: Receiver) -> Any:
    """Of every presented picture; RTP timestamps are unwrapped."""
    seen = np.asarray(await receiver.evaluate("seen"), dtype=np.float64)
    ticks = np.cumsum(np.concatenate([[0.0], (np.diff(seen[:, 1]) + 2**31) % 2**32 - 2**31]))
    delays = seen[:, 0] - ticks / 90
    return delays - delays.min()


async def run(options: argparse.Namespace) -> Results:
    """All rounds."""
    results = Results()
    units = access_units("H264", 600)
    for number in range(1, options.rounds + 1):
        window = Window(options.warm_up, options.seconds, seed=number)
        for scenario in SCENARIOS:
            if options.only and options.only not in scenario.name:
                continue
            for subject in (OURS, RETRANSMIT):
                figures = await measure(scenario, units, window, parity=subject == OURS)
                for metric in METRICS:
                    results.add(scenario.name, metric, subject, figures[metric.name])
                words = ", ".join(f"{name} {value:.1f}" for name, value in figures.items())
                line = f"round {number}  {scenario.name:32} {subject:8} {words}"
                print(line, file=sys.stderr, flush=True)
    return results


def main() -> int:
    """Run and report."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.m6",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", metavar="WORDS", help="scenarios whose name has these words")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default 5)")
    parser.add_argument("--seconds", type=float, default=10, help="measured each (default 10)")
    parser.add_argument("--warm-up", type=float, default=4, help="before each window (default 4)")
    parser.add_argument("--json", type=Path, help="also write every figure to this file")
    options = parser.parse_args()
    environment = Environment.now({OURS: THIS_TREE})
    report = Report(
        title=f"M6 repair, {FPS} fps, {options.rounds} x {options.seconds:g} s",
        environment=environment,
        results=asyncio.run(run(options)),
        subjects=[OURS, RETRANSMIT],
        skipped={},
        notes=[],
    )
    print(report.text())
    if options.json is not None:
        report.write_json(options.json, [])
    return 0


if __name__ == "__main__":
    sys.exit(main())
