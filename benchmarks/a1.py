"""A1: from a sound on the host to the same sound in the page.

Over the emulated link (benchmarks/emulator.py): 10 ms each way, and 0, 1 or 5 % of the packets to the viewer lost. A
player plays chirps over a quiet noise into a PulseAudio null sink, which both peers record; the page's own sound is
read where it is played, behind the browser's jitter buffer, and searched for the chirps. The screen stands still.

delay      from when the sink has a chirp sound, by the server's own account, to when the page's playout takes it, both
           on CLOCK_MONOTONIC; the path's own 10 ms are in it, buffers of player and sound card are not.
heard      chirps that were found again: what a loss left of the others is not like them any more.
concealed  samples that the browser made up over all that it played (concealedSamples of W3C webrtc-stats).
jitter buffer  how long a sample waited in it, mean (jitterBufferDelay / jitterBufferEmittedCount).

Rounds are interleaved (A B A B). Percentiles are over all chirps of a round; a ratio is the median of the rounds'
ratios.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import queue
import shutil
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks import command
from benchmarks.a1_sound import KINDS, LONGEST_S, Block, Played, delays_ms, find, times_s
from benchmarks.cdp import Page, PageError
from benchmarks.doorway import Doorway
from benchmarks.i1 import LINK, LOSSES
from benchmarks.link_wire import EmulatedLink
from benchmarks.m3 import prepare
from benchmarks.m3_scene import Size
from benchmarks.m3_stats import Spread
from benchmarks.m3_trial import playing
from benchmarks.namespaces import enter, inside, why_not
from benchmarks.peers.base import Peer, Place, Sound, StreamSettings, start_peer
from benchmarks.processes import Nursery, Process, StartError, start_xvfb
from benchmarks.report import OURS, Environment, Metric, Report, Results
from tests.pulse import SINK, pulse_server

SIZE: Final = Size(1280, 720)
STREAM_BPS: Final = 4_000_000
LIMIT_S: Final = 20.0
SETTLE_S: Final = 6.0
"""With the losses, before what counts: rates and repetition adapt in three seconds, a jitter buffer in five."""
SCRIPT: Final = (Path(__file__).parent / "a1_probe.js").read_text()
PERCENTILES: Final = ("p50", "p95", "p99")


class Player:
    """The player's process, and what it says of the chirps."""

    def __init__(self, nursery: Nursery, pulse: Mapping[str, str]) -> None:
        argv = [sys.executable, "-m", "benchmarks.a1_player"]
        process = nursery.start("player", argv, env={**os.environ, **pulse}, pipes=True)
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=self._read, args=(process,), daemon=True).start()
        try:
            self._lines.get(timeout=LIMIT_S)
        except queue.Empty:
            raise StartError(f"the player plays nothing: {process.log_tail()}") from None

    def _read(self, process: Process) -> None:
        if process.stdout is not None:
            for line in process.stdout:
                self._lines.put(line)

    def take(self) -> list[Played]:
        """The chirps since the last call."""
        lines = [self._lines.get() for _ in range(self._lines.qsize())]
        return [Played(*json.loads(line)) for line in lines]


@dataclass(frozen=True, slots=True)
class Heard:
    """What one window found."""

    delays_ms: list[float | None]
    before: dict[str, Any]
    after: dict[str, Any]
    host_cpu_percent: float

    def rows(self) -> list[tuple[Metric, float | None]]:
        """As the table shows it."""
        came = [delay for delay in self.delays_ms if delay is not None]
        spread = Spread.of(came)
        waited_s = self._rise("jitterBufferDelay")
        rows: list[tuple[Metric, float | None]] = [
            (Metric(f"delay {name}", "ms"), getattr(spread, name) if spread else None)
            for name in PERCENTILES
        ]
        return [
            *rows,
            (Metric("heard", "%", ratio=False), _percent(len(came), len(self.delays_ms))),
            (
                Metric("concealed", "%", 2),
                _percent(self._rise("concealedSamples"), self._rise("totalSamplesReceived")),
            ),
            (
                Metric("jitter buffer", "ms"),
                1000 * waited_s / max(self._rise("jitterBufferEmittedCount"), 1.0),
            ),
            (Metric("packets", "1/s", 0, ratio=False), self._rise("packetsReceived") / self._s),
            (Metric("sound", "kbit/s", 0), self._rise("bytesReceived") * 8e-3 / self._s),
            (Metric("host CPU", "%"), self.host_cpu_percent),
        ]

    @property
    def _s(self) -> float:
        return self._rise("timestamp") / 1000

    def _rise(self, name: str) -> float:
        return float(self.after.get(name, 0.0)) - float(self.before.get(name, 0.0))


def _percent(part: float, whole: float) -> float | None:
    return 100 * part / whole if whole else None


@dataclass(frozen=True, slots=True)
class Recording:
    """When the page heard chirps, by kind, and from when to when it was heard; seconds of CLOCK_MONOTONIC."""

    heard_s: dict[int, list[float]]
    begins_s: float
    ends_s: float

    def covers(self, one: Played) -> bool:
        """Whether a chirp that was not heard is none that was not kept."""
        return self.begins_s < one.at_s < self.ends_s - LONGEST_S


def recording(taken: Mapping[str, Any], origin_s: float) -> Recording:
    """From what the page's probe kept. Raises StartError when it kept nothing.

    Chromium stamps the sound of a remote track when playout takes it, from the track's beginning on. The block that
    was read quickest after its stamp puts that clock on CLOCK_MONOTONIC: too late by what that read took.
    """
    rows = taken["blocks"]
    if not rows:
        raise StartError("the page heard nothing: did it play the sound?")
    zero_s = min(origin_s + read / 1000 - at_us / 1e6 for at_us, read, _ in rows)
    blocks = [Block(zero_s + at_us / 1e6, count) for at_us, _, count in rows]
    samples = np.frombuffer(base64.b64decode(taken["samples"]), "<i2").astype(np.float32) / 32768
    rate = taken["rate"]
    found = {kind: times_s(blocks, find(samples, kind, rate), rate) for kind in range(KINDS)}
    return Recording(found, blocks[0].at_s, blocks[-1].at_s)


@dataclass(slots=True)
class Bench:
    """What all trials of a run share. The process is in the viewer's namespace."""

    nursery: Nursery
    player: Player
    stream: StreamSettings
    emulated: EmulatedLink
    seconds: float
    results: Results = field(default_factory=Results)

    def run(self, peer: Peer, loss: float, number: int) -> None:
        """A fresh host and browser on a link without losses, then with them."""
        self.emulated.set_link({**LINK, "loss": {"rate": loss}}, seed=number)
        with Doorway(self.emulated.viewer_path, self.emulated.host_path) as door:
            place = Place(inside(self.emulated.host_path), door.port)
            host, started = start_peer(self.nursery, peer, self.stream, place)
            try:
                with playing(self.nursery, SIZE, started, SCRIPT) as (page, _):
                    page.wait_for("window.__a1.listen()", LIMIT_S)
                    self.emulated.begin()
                    time.sleep(SETTLE_S)
                    heard = self._measure(page, host)
                    self.emulated.end()
            except PageError as error:
                raise StartError(f"{error}\nlog of {peer.name}:\n{host.log_tail()}") from error
            finally:
                host.stop()
        scenario = f"{100 * loss:g} % loss"
        words = []
        for metric, value in heard.rows():
            self.results.add(scenario, metric, peer.name, value)
            words.append(f"{metric.name} {metric.show(value)}")
        line = f"round {number}  {scenario:8} {peer.name:8} {', '.join(words)}"
        print(line, file=sys.stderr, flush=True)

    def _measure(self, page: Page, host: Process) -> Heard:
        origin_s = page.time_origin_s()
        page.evaluate("window.__a1.take()")
        self.player.take()
        before, cpu_s, began_s = _stats(page), host.cpu_s(), time.monotonic()
        time.sleep(self.seconds)
        after, took_s = _stats(page), time.monotonic() - began_s
        cpu_percent = 100 * (host.cpu_s() - cpu_s) / took_s
        time.sleep(LONGEST_S)
        kept = recording(page.evaluate("window.__a1.take()"), origin_s)
        played = [one for one in self.player.take() if kept.covers(one)]
        return Heard(delays_ms(played, kept.heard_s), before, after, cpu_percent)


def _stats(page: Page) -> dict[str, Any]:
    stats: dict[str, Any] | None = page.evaluate("window.__m3.stats('audio')")
    if stats is None:
        raise PageError("the page has no inbound sound any more")
    return stats


def measure(nursery: Nursery, options: argparse.Namespace) -> Report:
    """All losses with both peers in turn; this process is in the viewer's namespace from here on."""
    peers, skipped = prepare((OURS,) if options.only_ours else (OURS, "selkies"))
    environment = Environment.now({name: version for name, (_, version) in peers.items()})
    _, display = start_xvfb(nursery, f"{SIZE.width}x{SIZE.height}")
    with pulse_server(nursery.folder) as pulse:
        sound = Sound(pulse.environment["PULSE_SERVER"], SINK)
        player = Player(nursery, pulse.environment)
        emulated = EmulatedLink(nursery)
        enter(emulated.viewer_path)
        stream = StreamSettings(display, SIZE.width, SIZE.height, 60, STREAM_BPS, sound=sound)
        bench = Bench(nursery, player, stream, emulated, options.seconds)
        for number in range(1, options.rounds + 1):
            for loss in LOSSES:
                for name, (peer, _) in peers.items():
                    try:
                        bench.run(peer, loss, number)
                    except StartError as error:
                        skipped[f"{name}, {100 * loss:g} %, round {number}"] = str(
                            error
                        ).splitlines()[0]
                        print(f"round {number}  {name}: {error}", file=sys.stderr, flush=True)
    notes = [
        f"{options.seconds:g} s a row, about four chirps a second; the link's own 10 ms are in"
    ]
    names = [name for name in peers if any(name in row for row in bench.results.rows.values())]
    return Report("A1: sound to sound", environment, bench.results, names, skipped, notes)


def main() -> int:
    """0 when ours was measured, or when no emulated link or no sound server can be had here."""
    options = command.make_parser("a1", __doc__, rounds=3, seconds=15).parse_args()
    if (reason := why_not()) is not None:
        print(f"skipped, no emulated link here: {reason}")
        return 0
    for program in ("pulseaudio", "pactl"):
        if shutil.which(program) is None:
            print(
                f"skipped, no command {program}: install the packages pulseaudio-utils, pulseaudio"
            )
            return 0
    return command.run("A1", lambda nursery: measure(nursery, options), options.json)


if __name__ == "__main__":
    sys.exit(main())
