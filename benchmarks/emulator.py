"""A network link in user space: two network namespaces, and this one process between their TUN devices.

What passes from the host's to the viewer's namespace is treated as benchmarks/congestion/link.py says, by the same
scenario files as in simulated time: a rate over time, a queue bounded in bytes that drops at its tail, delay, jitter
that keeps the order, random loss or loss in bursts. The way back has the delay alone.

Two ways to use it:
  python -m benchmarks.emulator c3            the link of a scenario until Ctrl-C; says how to enter both ends
  python -m benchmarks.emulator --null        no link at all: what the emulator itself adds, and what it costs

For a program (benchmarks/link_wire.py) there is `--control`: a line of standard input is an order, and one line of
JSON the answer. `link {...}`: the `link` of a scenario file, up to its first change of rate and without losses;
`begin`: its time 0 is now; `end`: what passed since then. It ends with its standard input, and with it both
namespaces.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import subprocess
import sys
import time
from array import array
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from benchmarks.congestion.link import Link, LinkSettings, Loss
from benchmarks.congestion.scenario import FOLDER, link_settings, load
from benchmarks.namespaces import HOST, MTU_BYTES, VIEWER, End, inside, make_end, why_not

SLOT_S: Final = 0.1
"""Of what is counted over time."""
PRIORITY: Final = 20
LOOK_S: Final = 0.5
NULL_MBPS: Final = (5, 20, 40, 80)
BATCH: Final = 64
"""Packets that are read at once, so that none waits for long to be written."""
UDP: Final = 17
FREE: Final = LinkSettings([(0.0, 1e10)], buffer_bytes=1 << 24, delay_s=0.0)


class Way:
    """One direction: packets on their way, and what passed in each tenth of a second since `begin`."""

    def __init__(self, source: int, sink: int) -> None:
        self.source, self._sink = source, sink
        self._flying: deque[tuple[float, bytes]] = deque()
        self._settings, self._seed = FREE, 1
        self._start_s = time.monotonic()
        self._link = Link(FREE, 1)
        self.begin()

    def set_link(self, settings: LinkSettings, seed: int) -> None:
        """As it is at its time 0 and without losses, until `begin`."""
        first = [(0.0, settings.capacity_bps[0][1])]
        self._settings, self._seed = settings, seed
        self._start_s = time.monotonic()
        self._link = Link(replace(settings, capacity_bps=first, loss=Loss()), seed)

    def begin(self) -> None:
        """Time 0, with nothing in the queue but what is on its way already."""
        self._start_s = time.monotonic()
        self._link = Link(self._settings, self._seed)
        self._slots: list[list[int]] = []
        self.late_s = array("d")

    def take(self, now: float) -> None:
        """Read what waits, as having come now."""
        since_s = now - self._start_s
        link, flying = self._link, self._flying
        for _ in range(BATCH):
            try:
                packet = os.read(self.source, MTU_BYTES)
            except BlockingIOError:
                return
            arrives = link.send(since_s, len(packet))
            if arrives is not None:
                due = self._start_s + arrives
                if flying and flying[-1][0] > due:  # from before `begin`
                    due = flying[-1][0]
                flying.append((due, packet))

    def due(self) -> float | None:
        """When the next packet is to be written."""
        return self._flying[0][0] if self._flying else None

    def give(self, now: float) -> None:
        """Write what is due."""
        flying = self._flying
        while flying and flying[0][0] <= now:
            due, packet = flying.popleft()
            os.write(self._sink, packet)
            self.late_s.append(now - due)
            slot = self._slot(due)
            slot[packet[9] != UDP] += len(packet)

    def _slot(self, at: float) -> list[int]:
        index = max(int((at - self._start_s) / SLOT_S), 0)
        while len(self._slots) <= index:
            self._slots.append([0, 0])
        return self._slots[index]

    def report(self) -> dict[str, Any]:
        """What passed since `begin`, IP headers included; `late_us`: how late it was written."""
        late = sorted(self.late_s)
        return {
            "udp_bytes": [slot[0] for slot in self._slots],
            "other_bytes": [slot[1] for slot in self._slots],
            "packets": len(late),
            "lost": self._link.lost,
            "overflowed": self._link.overflowed,
            "late_us": [round(1e6 * late[int(len(late) * q)], 1) for q in (0.5, 0.95, 0.99, 0.999)]
            if late
            else [],
        }


class Emulator:
    """Both ways, and the orders of who started it."""

    def __init__(self, host: End, viewer: End) -> None:
        self._host, self._viewer = host, viewer
        self.down = Way(host.tun_fd, viewer.tun_fd)
        self.up = Way(viewer.tun_fd, host.tun_fd)
        self._cpu_s = 0.0

    def set_link(self, link: dict[str, Any], seed: int) -> None:
        """The `link` of a scenario file."""
        settings = link_settings(link)
        self.down.set_link(settings, seed)
        self.up.set_link(replace(FREE, delay_s=settings.delay_s), seed)

    def begin(self) -> float:
        """Its time 0 is now; returned on CLOCK_MONOTONIC."""
        self.down.begin()
        self.up.begin()
        self._cpu_s = time.process_time()
        return time.monotonic()

    def report(self) -> dict[str, Any]:
        """Of both ways."""
        cpu_s = time.process_time() - self._cpu_s
        return {"cpu_s": cpu_s, "down": self.down.report(), "up": self.up.report()}

    @property
    def host_path(self) -> str:
        """Of the host's namespace."""
        return self._host.path

    @property
    def viewer_path(self) -> str:
        """Of the viewer's namespace."""
        return self._viewer.path

    def run(self, is_over: Callable[[], bool] = lambda: False, orders_fd: int = -1) -> None:
        """Until it is over, which is looked for once in a while, or until the orders end."""
        ways = (self.down, self.up)
        files = [way.source for way in ways] + ([orders_fd] if orders_fd >= 0 else [])
        while not is_over():
            dues = [due for way in ways if (due := way.due()) is not None]
            now = time.monotonic()
            wait_s = max(min(dues) - now, 0.0) if dues else LOOK_S
            ready, _, _ = select.select(files, (), (), wait_s)
            now = time.monotonic()
            for way in ways:
                way.give(now)
                if way.source in ready:
                    way.take(now)
                    way.give(time.monotonic())
            if orders_fd in ready and not self._obey():
                return

    def _obey(self) -> bool:
        line = sys.stdin.readline()
        if not line:
            return False
        order, _, rest = line.strip().partition(" ")
        match order:
            case "link":
                wanted = json.loads(rest)
                self.set_link(wanted["link"], wanted["seed"])
                _say({})
            case "begin":
                _say({"at_s": self.begin()})
            case "end":
                _say(self.report())
            case _:
                raise ValueError(f"expected link, begin or end, got {order!r}")
        return True


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


def be_prompt() -> bool:
    """Ask to be run before others, as a network card is; False where that is not allowed."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(PRIORITY))
    except PermissionError:
        return False
    return True


def serve(orders_fd: int) -> None:
    """For a program: first say where the ends are, then obey."""
    emulator = Emulator(*make_ends())
    _say({"host": emulator.host_path, "viewer": emulator.viewer_path, "prompt": be_prompt()})
    emulator.run(orders_fd=orders_fd)


def make_ends() -> tuple[End, End]:
    """The host's and the viewer's."""
    return make_end(HOST, VIEWER), make_end(VIEWER, HOST)


def show(name: str) -> None:
    """For a person: the link of a scenario, until Ctrl-C."""
    scenario = load(FOLDER / f"{name}.json")
    emulator = Emulator(*make_ends())
    emulator.down.set_link(scenario.link, scenario.seed)
    emulator.up.set_link(replace(FREE, delay_s=scenario.link.delay_s), scenario.seed)
    be_prompt()
    emulator.begin()
    print(f"{scenario.title}; it ends with Ctrl-C. In other terminals:")
    print(f"  {' '.join(inside(emulator.host_path))} bash     the host, {HOST}")
    print(f"  {' '.join(inside(emulator.viewer_path))} bash   the viewer, {VIEWER}", flush=True)
    try:
        emulator.run()
    except KeyboardInterrupt:
        _say(emulator.report())


def measure_null(seconds: float) -> None:
    """What is added to packets where nothing is to be added, at some rates: a table."""
    emulator = Emulator(*make_ends())
    prompt = be_prompt()
    print(f"ahead of other processes: {'yes' if prompt else 'no, not allowed'}")
    print("Mbit/s  packets  added p50, us   p95    p99   p99.9  CPU, % of a core")
    for mbps in NULL_MBPS:
        argv = [sys.executable, "-m", "benchmarks.link_probe", "--mbps", str(mbps)]
        argv += ["--seconds", str(seconds), emulator.host_path, emulator.viewer_path]
        emulator.begin()
        began_s = time.monotonic()
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as probe:
            emulator.run(lambda: probe.poll() is not None)
            answer = json.loads(probe.stdout.read()) if probe.stdout else {}
        cpu = 100 * emulator.report()["cpu_s"] / (time.monotonic() - began_s)
        added = "  ".join(f"{value:5.0f}" for value in answer["added_us"])
        print(f"{mbps:6}  {answer['arrived']:7}  {added:>30}  {cpu:10.1f}", flush=True)


def main() -> int:
    """1 when no namespaces can be made, with the reason."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.emulator",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = sorted(path.stem for path in FOLDER.glob("*.json"))
    parser.add_argument("scenario", nargs="?", help=f"one of {', '.join(names)}")
    parser.add_argument("--null", action="store_true", help="measure the emulator itself")
    parser.add_argument("--seconds", type=float, default=5, help="of each null run (default 5)")
    parser.add_argument("--control", action="store_true", help="orders on standard input")
    options = parser.parse_args()
    if (options.scenario is not None) + options.null + options.control != 1:
        parser.error("expected a scenario, --null or --control")
    if options.scenario is not None and options.scenario not in names:
        parser.error(f"expected one of {', '.join(names)}, got {options.scenario!r}")
    if (reason := why_not()) is not None:
        print(f"no emulated link here: {reason}", file=sys.stderr)
        return 1
    if options.control:
        serve(sys.stdin.fileno())
    elif options.null:
        measure_null(options.seconds)
    else:
        show(options.scenario)
    return 0


if __name__ == "__main__":
    sys.exit(main())
