"""I1: from a key in the browser to the same key in a program on the host.

loopback   host and browser in one network namespace
lossy      over the emulated link (benchmarks/emulator.py): 10 ms each way, and 0, 1 or 5 % of the packets lost

The time runs from the page's `keydown` (its event's time stamp) to a KeyPress in an X client on the host, both on
CLOCK_MONOTONIC. The screen answers each key with a new picture, so video flows in the opposite direction. Ours says
each event again until it is acknowledged, on a channel that repeats nothing; Selkies has a reliable, ordered
data channel: what a lost datagram costs there is a timer of SCTP.

Rounds are interleaved (A B A B). Percentiles are over all keys of a round; a ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import json
import queue
import random
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks import command
from benchmarks.cdp import Page, PageError, open_page
from benchmarks.doorway import Doorway
from benchmarks.link_wire import EmulatedLink
from benchmarks.m3_legs import start_clicker
from benchmarks.m3_scene import Size
from benchmarks.m3_stats import Spread
from benchmarks.namespaces import enter, inside, why_not
from benchmarks.peers.base import (
    Command,
    Peer,
    PeerUnavailable,
    Place,
    StreamSettings,
    start_peer,
)
from benchmarks.peers.selkies import Selkies
from benchmarks.peers.tightbeam import Tightbeam
from benchmarks.processes import Nursery, Process, StartError, start_xvfb
from benchmarks.report import Environment, Metric, Report, Results
from benchmarks.s9 import SCRIPT as FIRST_PICTURE
from tests.ports import free_port

SIZE: Final = Size(1280, 720)
STREAM_BPS: Final = 4_000_000
LINK: Final[Mapping[str, Any]] = {
    "capacity_mbps": [[0, 50]],
    "buffer_bytes": 250_000,
    "delay_ms": 10,
}
LOSSES: Final = (0.0, 0.01, 0.05)
KEYS: Final = 120
PRESS_S: Final = 0.02
GAP_S: Final = 0.1
LIMIT_S: Final = 30.0
COME_LIMIT_S: Final = 10.0
"""For the last keys; SCTP's timer doubles from a second."""
SCRIPT: Final = """
window.__keys = [];
addEventListener("keydown", (event) => event.repeat || window.__keys.push(event.timeStamp), true);
"""
SETTLE_S: Final = 1.0
P50, P99 = Metric("p50", "ms", 2), Metric("p99", "ms", 2)


def press(page: Page) -> None:
    """A key, held for as long as a finger does at least."""
    key = {"code": "KeyA", "key": "a", "windowsVirtualKeyCode": 65}
    page.call("Input.dispatchKeyEvent", type="rawKeyDown", **key)
    time.sleep(PRESS_S)
    page.call("Input.dispatchKeyEvent", type="keyUp", **key)


class Heard:
    """When the X client saw presses, in seconds of CLOCK_MONOTONIC, as it tells them."""

    def __init__(self, clicker: Process) -> None:
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=self._read, args=(clicker,), daemon=True).start()

    def _read(self, clicker: Process) -> None:
        if clicker.stdout is not None:
            for line in clicker.stdout:
                if line.strip() != b"ready":  # drawn anew
                    self._lines.put(line)

    def next_s(self) -> float | None:
        """The next one; None when none comes in time."""
        try:
            return float(self._lines.get(timeout=COME_LIMIT_S))
        except queue.Empty:
            return None


def ways_ms(page: Page, heard: Heard, keys: int) -> list[float]:
    """The ways of so many keys, none in step with anything. Raises StartError when one does not arrive."""
    origin_s = page.time_origin_s()
    chance = random.Random(keys)
    page.evaluate("window.__keys.splice(0)")
    for _ in range(keys):
        press(page)
        time.sleep(GAP_S * (0.5 + chance.random()))
    pressed = page.evaluate("window.__keys")
    came = [heard.next_s() for _ in pressed]
    if None in came:
        raise StartError(f"{came.index(None)} of {len(pressed)} keys arrived")
    return [(at_s - origin_s) * 1000 - at for at_s, at in zip(came, pressed, strict=True) if at_s]


def focus(page: Page, peer: Command, heard: Heard) -> None:
    """Wait for the picture and give it the keyboard; the first press opens the host's display."""
    arguments = json.dumps([peer.video_selector, peer.click_selector])
    page.evaluate(f"window.__s9.watch(...{arguments})")
    page.wait_for("window.__s9.presented !== null", LIMIT_S)
    time.sleep(SETTLE_S)
    for kind in ("mousePressed", "mouseReleased"):
        page.call("Input.dispatchMouseEvent", type=kind, x=640, y=400, button="left", clickCount=1)
    if heard.next_s() is None:
        raise StartError("a click does not arrive")
    time.sleep(SETTLE_S)


def measure(nursery: Nursery, options: argparse.Namespace) -> Report:
    """Every scenario with both peers in turn; this process is in the viewer's namespace from here on."""
    _, display = start_xvfb(nursery, f"{SIZE.width}x{SIZE.height}")
    bench = Bench(nursery, start_clicker(nursery, display), display, EmulatedLink(nursery))
    enter(bench.emulated.viewer_path)
    skipped: dict[str, str] = {}
    versions: dict[str, str] = {}
    peers: list[Peer] = [Tightbeam()] if options.only_ours else [Tightbeam(), Selkies()]
    for peer in tuple(peers):
        try:
            versions[peer.name] = peer.prepare()
        except PeerUnavailable as problem:
            skipped[peer.name] = str(problem)
            peers.remove(peer)
    results = Results()
    for number in range(options.rounds):
        for peer in peers:
            try:
                bench.run(peer, number, results)
            except (PageError, StartError) as error:
                skipped[f"{peer.name}, round {number + 1}"] = str(error).splitlines()[0]
    notes = [f"{KEYS} keys a scenario and round, {options.rounds} rounds"]
    names = [peer.name for peer in peers]
    return Report("I1: key to injection", Environment.now(versions), results, names, skipped, notes)


@dataclass(slots=True)
class Bench:
    """What all trials of a run share."""

    nursery: Nursery
    clicker: Process
    display: str
    emulated: EmulatedLink
    heard: Heard = field(init=False)

    def __post_init__(self) -> None:
        self.heard = Heard(self.clicker)

    def run(self, peer: Peer, number: int, results: Results) -> None:
        """One peer in all scenarios, each with a fresh host and browser."""
        near = Place(inside(self.emulated.viewer_path), free_port())
        self._trial(peer, near, "loopback", results)
        for loss in LOSSES:
            self.emulated.set_link({**LINK, "loss": {"rate": loss}}, seed=number)
            with Doorway(self.emulated.viewer_path, self.emulated.host_path) as door:
                far = Place(inside(self.emulated.host_path), door.port)
                self._trial(peer, far, f"{100 * loss:g} % loss", results)

    def _trial(self, peer: Peer, place: Place, scenario: str, results: Results) -> None:
        stream = StreamSettings(self.display, SIZE.width, SIZE.height, 60, STREAM_BPS)
        host, started = start_peer(self.nursery, peer, stream, place)
        try:
            shape = (SIZE.width, SIZE.height)
            with open_page(self.nursery, size=shape, script=FIRST_PICTURE + SCRIPT) as (page, _):
                page.call("Page.navigate", url=started.page_url)
                page.wait_for("document.readyState === 'complete' && !!window.__s9", LIMIT_S)
                focus(page, started, self.heard)
                if scenario != "loopback":
                    self.emulated.begin()
                spread = Spread.of(ways_ms(page, self.heard, KEYS))
                if scenario != "loopback":
                    self.emulated.end()
        finally:
            host.stop()
        if spread is not None:
            results.add(scenario, P50, peer.name, spread.p50)
            results.add(scenario, P99, peer.name, spread.p99)


def main() -> int:
    """0 when ours was measured, or when no emulated link can be made here."""
    options = command.make_parser("i1", __doc__, rounds=3).parse_args()
    if (reason := why_not()) is not None:
        print(f"skipped, no emulated link here: {reason}")
        return 0
    return command.run("I1", lambda nursery: measure(nursery, options), options.json)


if __name__ == "__main__":
    sys.exit(main())
