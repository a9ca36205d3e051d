"""One peer streamed to one fresh browser, measured in each scene in turn."""

from __future__ import annotations

import base64
import contextlib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cdp import Page, PageError, open_page
from benchmarks.m3_scene import Scene, Size, psnr_db
from benchmarks.m3_stats import Sample, StreamFigures, figures
from benchmarks.peers.base import Command, Peer, StreamSettings, start_peer
from benchmarks.processes import Nursery, Process, StartError, machine_cpu_s

PROBE = (Path(__file__).parent / "m3_probe.js").read_text()
FIRST_FRAME_TIMEOUT_S = 30.0
PICTURES = 5  # decoded frames compared with the drawn picture, after the timed window
PICTURE_GAP_S = 0.2


@dataclass(frozen=True, slots=True)
class Plan:
    """How long a trial settles and measures, and what it draws."""

    size: Size
    scenes: tuple[Scene, ...]
    seconds: float
    warm_up_s: float
    drawer_hz: float


@dataclass(frozen=True, slots=True)
class Trial:
    """The figures of one peer in one scene in one round; CPU in per cent of one core."""

    peer: str
    scene: str
    round: int
    stream: StreamFigures
    host_cpu_percent: float
    x_server_cpu_percent: float
    browser_cpu_percent: float
    other_cpu_percent: (
        float  # whatever else ran on the machine: what a reader must know to trust a round
    )
    bitrate_bps: float
    decoded_fps: float
    packets_lost: int
    codec: str
    psnr_db: float | None
    unreadable: int
    mismatched: int
    drawer_late: int


class SceneDrawer:
    """The drawer's process, as the trial talks to it."""

    def __init__(self, process: Process) -> None:
        if process.stdin is None or process.stdout is None:
            raise ValueError("the drawer needs pipes")
        self.process, self._stdin, self._stdout = process, process.stdin, process.stdout
        if self._stdout.readline().strip() != b"ready":
            raise StartError(f"the drawer did not start: {process.log_tail()}")

    def show(self, scene: Scene) -> int:
        """Switch the scene; returns how many frames came late in the one before."""
        self._stdin.write(scene.encode() + b"\n")
        self._stdin.flush()
        answer = self._stdout.readline()
        if not answer:
            raise StartError(f"the drawer ended: {self.process.log_tail()}")
        return int(json.loads(answer)["late"])


def start_drawer(nursery: Nursery, display: str, plan: Plan) -> SceneDrawer:
    """The clock on the display, in the static scene."""
    size = f"{plan.size.width}x{plan.size.height}"
    argv = [sys.executable, "-m", "benchmarks.m3_drawer", "--display", display, "--size", size]
    argv += ["--rate", str(plan.drawer_hz)]
    return SceneDrawer(nursery.start("drawer", argv, pipes=True))


@contextlib.contextmanager
def playing(
    nursery: Nursery, size: Size, command: Command, script: str = ""
) -> Iterator[tuple[Page, Process]]:
    """A fresh browser whose page plays the peer's video; before its own the probe runs, and `script`."""
    shape = (size.width, size.height)
    with open_page(nursery, size=shape, script=PROBE + script) as (page, browser):
        page.call("Page.navigate", url=command.page_url)
        page.wait_for("document.readyState === 'complete' && !!window.__m3", 20)
        arguments = json.dumps([command.video_selector, size.width, command.click_selector])
        try:
            page.wait_for(f"window.__m3.attach(...{arguments})", FIRST_FRAME_TIMEOUT_S)
        except PageError:
            words = " ".join(page.evaluate("document.body.innerText.slice(0, 300)").split())
            raise PageError(
                f"no video in {command.video_selector} within {FIRST_FRAME_TIMEOUT_S:.0f} s; "
                f"the page says: {words!r}"
            ) from None
        yield page, browser


@dataclass(slots=True)
class Bench:
    """What all trials of a run share."""

    nursery: Nursery
    x_server: Process
    drawer: SceneDrawer
    plan: Plan
    stream: StreamSettings

    def run(self, peer: Peer, round_number: int) -> list[Trial]:
        """Start the peer and a browser, measure every scene, end both."""
        host, command = start_peer(self.nursery, peer, self.stream)
        try:
            with playing(self.nursery, self.plan.size, command) as (page, browser):
                origin_s = page.time_origin_s()
                parts = Parts(host, self.x_server, browser, self.drawer.process)
                meter = Meter(page, origin_s, parts)
                return [
                    self._measure(meter, peer.name, scene, round_number)
                    for scene in self.plan.scenes
                ]
        except PageError as error:
            raise StartError(f"{error}\nlog of {peer.name}:\n{host.log_tail()}") from error
        finally:
            host.stop()

    def _measure(self, meter: Meter, peer: str, scene: Scene, round_number: int) -> Trial:
        self.drawer.show(scene)
        time.sleep(self.plan.warm_up_s)
        before = meter.read()
        time.sleep(self.plan.seconds)
        after = meter.read()
        psnr = meter.psnr_db(self.plan.size, scene)
        late = self.drawer.show(Scene.STATIC)
        window_s = after.at_s - before.at_s
        received = after.inbound["bytesReceived"] - before.inbound["bytesReceived"]
        decoded = after.inbound["framesDecoded"] - before.inbound["framesDecoded"]
        lost = after.inbound.get("packetsLost", 0) - before.inbound.get("packetsLost", 0)
        return Trial(
            peer=peer,
            scene=scene.value,
            round=round_number,
            stream=figures(after.samples, meter.origin_s, window_s),
            host_cpu_percent=_percent(after.cpu.host_s - before.cpu.host_s, window_s),
            x_server_cpu_percent=_percent(after.cpu.x_server_s - before.cpu.x_server_s, window_s),
            browser_cpu_percent=_percent(after.cpu.browser_s - before.cpu.browser_s, window_s),
            other_cpu_percent=_percent(after.cpu.other_s - before.cpu.other_s, window_s),
            bitrate_bps=round(8 * received / window_s),
            decoded_fps=round(decoded / window_s, 2),
            packets_lost=lost,
            codec=f"{after.inbound.get('codec')} {after.inbound.get('profile') or ''}".strip(),
            psnr_db=psnr,
            unreadable=after.unreadable,
            mismatched=after.mismatched,
            drawer_late=late,
        )


@dataclass(frozen=True, slots=True)
class Cpu:
    host_s: float
    x_server_s: float
    browser_s: float
    other_s: float


@dataclass(frozen=True, slots=True)
class Parts:
    """The processes of a trial, apart in the account of CPU time."""

    host: Process
    x_server: Process
    browser: Process
    drawer: Process

    def cpu(self) -> Cpu:
        host_s, x_server_s = self.host.cpu_s(), self.x_server.cpu_s()
        browser_s, drawer_s = self.browser.cpu_s(), self.drawer.cpu_s()
        known_s = host_s + x_server_s + browser_s + drawer_s + time.process_time()
        return Cpu(host_s, x_server_s, browser_s, machine_cpu_s() - known_s)


@dataclass(frozen=True, slots=True)
class Reading:
    at_s: float
    cpu: Cpu
    inbound: dict[str, Any]
    samples: Sequence[Sample]
    unreadable: int
    mismatched: int


@dataclass(frozen=True, slots=True)
class Meter:
    page: Page
    origin_s: float
    parts: Parts

    def read(self) -> Reading:
        """Counters now, and the samples since the last reading."""
        inbound = self.page.evaluate("window.__m3.stats()")
        if inbound is None:
            raise PageError("the page has no inbound video stream any more")
        taken = self.page.evaluate("window.__m3.take()")
        if taken["failed"]:
            raise PageError(f"the probe could not read the video: {taken['lastError']}")
        return Reading(
            at_s=time.monotonic(),
            cpu=self.parts.cpu(),
            inbound=inbound,
            samples=[Sample.of(row) for row in taken["samples"]],
            unreadable=taken["unreadable"],
            mismatched=taken["mismatched"],
        )

    def psnr_db(self, size: Size, scene: Scene) -> float | None:
        """Mean PSNR of some decoded frames; None when none has the drawn size and a readable clock."""
        values = []
        for _ in range(PICTURES):
            time.sleep(PICTURE_GAP_S)
            grabbed = self.page.evaluate("window.__m3.grab()")
            fits = (grabbed["width"], grabbed["height"]) == (size.width, size.height)
            if grabbed["clock"] is None or not fits or grabbed["fullRange"]:
                continue
            luma = np.frombuffer(base64.b64decode(grabbed["luma"]), dtype=np.uint8)
            plane = luma.reshape(size.height, size.width)
            values.append(psnr_db(plane, size, scene, grabbed["clock"]))
        return round(float(np.mean(values)), 2) if values else None


def _percent(cpu_s: float, window_s: float) -> float:
    return round(100 * cpu_s / window_s, 1)
