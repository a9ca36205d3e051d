"""S9: how long it takes from opening the page to the first picture, over loopback.

first    the first viewer of a host that was started 5 s before: it opens its capture and its encoder
again    the page loaded anew in the same browser, of the same host

The time runs from the start of the navigation to the first frame that `requestVideoFrameCallback` presents, with the
loading of the page. Selkies and aiortc's webcam example begin by themselves; our page has a button, which is clicked in
the first frame that shows it. `from the click` is without what came before it: what a user waits for; the rows below it
are its legs, one after the other, as our page sees them.

Rounds are interleaved (A B A B), the table shows medians, a ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks import command
from benchmarks.cdp import Page, PageError, open_page
from benchmarks.m3_scene import Size
from benchmarks.peers.aiortc_stock import AiortcStock
from benchmarks.peers.base import Command, Peer, PeerUnavailable, StreamSettings, start_peer
from benchmarks.peers.selkies import Selkies
from benchmarks.peers.tightbeam import Tightbeam
from benchmarks.processes import Nursery, StartError, start_xvfb
from benchmarks.report import Environment, Metric, Report, Results

SCRIPT: Final = (Path(__file__).parent / "s9.js").read_text()
SIZE: Final = Size(1280, 720)
STREAM_BPS: Final = 8_000_000
LIMIT_S: Final = 30.0
READY_S: Final = 5.0
"""Ours serves its page a second before its host is in the room, and gives memory back a while later."""
OPENED: Final = Metric("from opening the page", "ms", 0)
CLICKED: Final = Metric("from the click", "ms", 0, ratio=False)
LEGS: Final = {
    "socket": "the WebSocket is open",
    "joined": "the room is joined",
    "host": "the host is known",
    "offer": "the offer is sent",
    "answer": "the host's answer is there",
    "path": "ICE has found a path",
    "secured": "DTLS is done",
    "received": "the first picture is received",
    "presented": "it is presented",
}


@dataclass(frozen=True, slots=True)
class Opening:
    """In ms."""

    whole: float
    """From the navigation to the first picture."""
    clicked: float | None
    """From the click to it; None: there is no button."""
    legs: Mapping[str, float]
    """By the names of `LEGS`, each from the end of the one before; empty where the page is not ours."""


def opened(page: Page, peer: Command) -> Opening:
    """Load the page and wait for its first picture."""
    page.call("Page.navigate", url="about:blank")  # another document: the next one is loaded anew
    page.call("Page.navigate", url=peer.page_url)
    arguments = json.dumps([peer.video_selector, peer.click_selector])
    page.wait_for("!!window.__s9 && location.href !== 'about:blank'", LIMIT_S)
    page.evaluate(f"window.__s9.watch(...{arguments})")
    page.wait_for("window.__s9.presented !== null", LIMIT_S)
    times = page.evaluate("({ ...window.__s9, watch: null })")
    whole, clicked = times["presented"], times["clicked"]
    if clicked is None:
        return Opening(whole, None, {})
    at, legs = clicked, {}
    marks = times["marks"] | {"presented": whole}
    for leg in LEGS:
        legs[leg], at = marks[leg] - at, marks[leg]
    return Opening(whole, whole - clicked, legs)


def measure(nursery: Nursery, options: argparse.Namespace) -> Report:
    """Every peer that can be had, a fresh host and browser in each round."""
    _, display = start_xvfb(nursery, f"{SIZE.width}x{SIZE.height}")
    stream = StreamSettings(display, SIZE.width, SIZE.height, 60, STREAM_BPS)
    skipped: dict[str, str] = {}
    versions: dict[str, str] = {}
    wanted: list[Peer] = [Tightbeam()]
    if not options.only_ours:
        wanted += [Selkies(), AiortcStock()]
    peers: list[Peer] = []
    for peer in wanted:
        try:
            versions[peer.name] = peer.prepare()
            peers.append(peer)
        except PeerUnavailable as problem:
            skipped[peer.name] = str(problem)
    results = Results()
    for _ in range(options.rounds):
        for peer in tuple(peers):
            try:
                _round(nursery, peer, stream, results)
            except (PageError, StartError) as error:
                skipped[peer.name] = str(error)
                peers.remove(peer)
    notes = [f"{SIZE.width}x{SIZE.height}, {options.rounds} rounds, a screen that stands still"]
    names: Sequence[str] = [peer.name for peer in peers]
    return Report(
        "S9: to the first picture", Environment.now(versions), results, names, skipped, notes
    )


def _round(nursery: Nursery, peer: Peer, stream: StreamSettings, results: Results) -> None:
    host, started = start_peer(nursery, peer, stream)
    time.sleep(READY_S)
    try:
        with open_page(nursery, size=(SIZE.width, SIZE.height), script=SCRIPT) as (page, _):
            for scenario in ("first", "again"):
                opening = opened(page, started)
                results.add(scenario, OPENED, peer.name, opening.whole)
                results.add(scenario, CLICKED, peer.name, opening.clicked)
                for leg, value in opening.legs.items():
                    metric = Metric(f"until {LEGS[leg]}", "ms", 1, ratio=False)
                    results.add(scenario, metric, peer.name, value)
    finally:
        host.stop()


def main() -> int:
    """0 when ours was measured."""
    options = command.make_parser("s9", __doc__).parse_args()
    return command.run("S9", lambda nursery: measure(nursery, options), options.json)


if __name__ == "__main__":
    sys.exit(main())
