"""One peer streamed over one scenario of the emulated link to one fresh browser."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from benchmarks.cdp import PageError
from benchmarks.congestion.link import Link
from benchmarks.congestion.scenario import FOLDER, Scenario, link_settings, load
from benchmarks.doorway import Doorway
from benchmarks.emulator import SLOT_S
from benchmarks.link_stats import LinkFigures, Window, link_figures
from benchmarks.link_wire import EmulatedLink, Passed
from benchmarks.m3_scene import Scene, Size
from benchmarks.m3_trial import Meter, Parts, SceneDrawer, playing
from benchmarks.namespaces import inside
from benchmarks.peers.base import Peer, Place, StreamSettings, start_peer
from benchmarks.processes import Nursery, Process, StartError

WARM_UP_S: Final = 3.0
MAX_SECONDS: Final = 55.0
FLOOR_BPS: Final = 500_000


@dataclass(frozen=True, slots=True)
class Route:
    """A scenario for the emulated link, scaled, and as its file has it."""

    scenario: Scenario
    raw_link: dict[str, Any]
    seconds: float
    ceiling_bps: int

    @classmethod
    def read(cls, name: str, scale: float) -> Route:
        """Of that name. A scenario about rates, which names no highest bitrate, gets `scale` times its capacity."""
        path = FOLDER / f"{name}.json"
        raw = json.loads(path.read_text())
        scenario, link = load(path), raw["link"]
        if "ceiling_mbps" in raw:
            scale = 1.0
        link["capacity_mbps"] = [[at, mbps * scale] for at, mbps in link["capacity_mbps"]]
        link["buffer_bytes"] = int(link["buffer_bytes"] * scale)
        title = scenario.title if scale == 1 else f"{scenario.title}, x {scale:g}"
        scenario = replace(scenario, title=title, link=link_settings(link))
        most_bps = max(rate_bps for _, rate_bps in scenario.link.capacity_bps)
        ceiling_bps = int(raw.get("ceiling_mbps", most_bps / 1e6) * 1e6)
        return cls(scenario, link, min(scenario.seconds, MAX_SECONDS), ceiling_bps)


@dataclass(frozen=True, slots=True)
class LinkTrial:
    """The figures of one peer over one scenario in one round."""

    peer: str
    scenario: str
    title: str
    round: int
    capacity_bps: list[tuple[float, float]]
    seconds: float
    figures: LinkFigures
    passed: Passed
    utilisation: float
    """UDP that came to the viewer over what the link could carry: parity and repetitions included."""
    beside: float
    """The same of the other flow."""
    host_cpu_percent: float
    other_cpu_percent: float
    freeze_s: float
    """By the browser's own account: totalFreezesDuration of W3C webrtc-stats."""


@dataclass(slots=True)
class LinkBench:
    """What all trials of a run share. The process is in the viewer's namespace."""

    nursery: Nursery
    x_server: Process
    drawer: SceneDrawer
    emulated: EmulatedLink
    size: Size
    stream: StreamSettings

    def run(self, peer: Peer, route: Route, number: int) -> LinkTrial:
        """Start the peer and a browser on a link without losses, then let the scenario begin; end both."""
        self.emulated.set_link(route.raw_link, route.scenario.seed + number)
        stream = replace(self.stream, bitrate_bps=route.ceiling_bps, floor_bps=FLOOR_BPS)
        with Doorway(self.emulated.viewer_path, self.emulated.host_path) as door:
            place = Place(inside(self.emulated.host_path), door.port)
            host, command = start_peer(self.nursery, peer, stream, place)
            try:
                with playing(self.nursery, self.size, command) as (page, browser):
                    parts = Parts(host, self.x_server, browser, self.drawer.process)
                    meter = Meter(page, page.time_origin_s(), parts)
                    return self._measure(meter, peer.name, route, number)
            except PageError as error:
                raise StartError(f"{error}\nlog of {peer.name}:\n{host.log_tail()}") from error
            finally:
                self.drawer.show(Scene.STATIC)
                host.stop()

    def _measure(self, meter: Meter, peer: str, route: Route, number: int) -> LinkTrial:
        self.drawer.show(Scene.MOTION)
        time.sleep(WARM_UP_S)
        before = meter.read()
        zero_s = self.emulated.begin()
        flow = self._start_flow(route)
        time.sleep(max(zero_s + route.seconds - time.monotonic(), 0.0))
        passed = self.emulated.end()
        after = meter.read()
        if flow is not None:
            flow.stop()
        window = Window(zero_s, route.scenario.measured_s, route.seconds)
        window_s = after.at_s - before.at_s
        cpu, was = after.cpu, before.cpu
        return LinkTrial(
            peer=peer,
            scenario=route.scenario.name,
            title=route.scenario.title,
            capacity_bps=list(route.scenario.link.capacity_bps),
            seconds=route.seconds,
            round=number,
            figures=link_figures(after.samples, meter.origin_s, window),
            passed=passed,
            utilisation=_share(passed.udp_bytes, route),
            beside=_share(passed.other_bytes, route),
            host_cpu_percent=round(100 * (cpu.host_s - was.host_s) / window_s, 1),
            other_cpu_percent=round(100 * (cpu.other_s - was.other_s) / window_s, 1),
            freeze_s=after.inbound["totalFreezesDuration"] - before.inbound["totalFreezesDuration"],
        )

    def _start_flow(self, route: Route) -> Process | None:
        if route.scenario.cubic is None:
            return None
        argv = [sys.executable, "-m", "benchmarks.link_flow"]
        argv += [self.emulated.host_path, self.emulated.viewer_path]
        return self.nursery.start("flow", argv + [str(at) for at in route.scenario.cubic])


def _share(slots: list[int], route: Route) -> float:
    start, end = route.scenario.measured_s, route.seconds
    counted = sum(slots[round(start / SLOT_S) : round(end / SLOT_S)])
    return 8 * counted / Link(route.scenario.link, 1).carried_bits(start, end)


def names(families: list[str]) -> list[str]:
    """The scenarios whose names begin with one of these, in order."""
    found = sorted(path.stem for path in Path(FOLDER).glob("*.json"))
    return [name for name in found if any(name.startswith(family) for family in families)]
