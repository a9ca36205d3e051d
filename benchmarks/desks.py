"""Hosts as they are used: an agent on a private desktop whose whole picture moves, and a real browser that looks.

`make chaos` and `make soak` have them beside their load. What a page has presented is counted in the page, frame by
frame (requestVideoFrameCallback, WICG video-rvfc).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.local import LocalCluster
from benchmarks.m3_scene import Scene, Size
from benchmarks.m3_trial import Plan, SceneDrawer, start_drawer
from benchmarks.processes import Nursery, Process, start_xvfb
from cluster.up import links
from tests.browser.browser import Browser, BrowserError, Page
from tests.cluster.support import SECRET

PROBE: Final = """(() => {
    const video = document.getElementById("screen");
    let shown = null, frames = 0, longest = 0, when = 0;
    const note = (gap, at) => { if (gap > longest) { longest = gap; when = performance.timeOrigin + at; } };
    const count = (now, { presentationTime: at }) => {
        if (shown !== null) note(at - shown, at);
        shown = at;
        frames += 1;
        video.requestVideoFrameCallback(count);
    };
    video.requestVideoFrameCallback(count);
    globalThis.tookFrames = () => {
        if (shown !== null) note(performance.now() - shown, performance.now());
        const took = { frames, longest, when };
        frames = longest = when = 0;
        return took;
    };
})()"""
"""`tookFrames()`: how many frames since it was last asked, the longest time between two in ms (the one that still
lasts, too), and when that ended (Unix ms)."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a page presented for a while; `longest_s` is between two frames, and ended at `when` (Unix seconds)."""

    frames: int
    longest_s: float
    when: float


@dataclass(frozen=True, slots=True)
class Picture:
    """What a desk shows: pixels, pictures a second, Mbit/s at the most."""

    size: Size
    fps: int
    bitrate_mbps: int


SMALL: Final = Picture(Size(640, 360), 30, 2)


class Viewer:
    """A page that plays a host's picture and counts what it presents."""

    def __init__(self, page: Page, room: str) -> None:
        self.room = room
        self.page = page
        page.evaluate(PROBE)

    @classmethod
    def of(cls, browser: Browser, cluster: LocalCluster, room: str) -> Viewer:
        """A new tab that came by a pairing link of its own; raises AssertionError in words when no picture comes."""
        token = links.make_pairing(cluster.valkey.client, room, "player")
        url = links.link(cluster.url, room, token)
        page = browser.open(url)
        page.connect()
        return cls(page, room)

    def shown(self) -> Shown:
        """Since this was last asked."""
        took = self.page.evaluate("tookFrames()")
        return Shown(int(took["frames"]), took["longest"] / 1000, took["when"] / 1000)

    def words(self) -> str:
        """What the page says of its state."""
        try:
            return f"{self.page.state}: {self.page.words}"
        except BrowserError as error:
            return str(error)


def desktop(nursery: Nursery, picture: Picture) -> tuple[str, SceneDrawer]:
    """An X display, and who draws on it: nothing that moves, until told otherwise."""
    size = picture.size
    display = start_xvfb(nursery, f"{size.width}x{size.height}")[1]
    plan = Plan(size, (Scene.MOTION,), 0.0, 0.0, picture.fps)
    return display, start_drawer(nursery, display, plan)


def start_agent(nursery: Nursery, url: str, room: str, display: str, picture: Picture) -> Process:
    """`tightbeam-agent run` on that display, without sound."""
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(nursery.folder),
        "DISPLAY": display,
        "TIGHTBEAM_URL": url,
        "TIGHTBEAM_ROOM": room,
        "TIGHTBEAM_HOST_TOKEN": links.host_token(SECRET, room),
        "TIGHTBEAM_FPS": str(picture.fps),
        "TIGHTBEAM_BITRATE": str(picture.bitrate_mbps),
        "TIGHTBEAM_AUDIO": "0",
    }
    return nursery.start("agent", [sys.executable, "-P", "-m", "agent.cli", "run"], env=env)


@contextmanager
def desk(folder: Path, url: str, room: str, picture: Picture = SMALL) -> Iterator[Process]:
    """A desktop of its own whose whole screen moves, and the agent that shares it; logs are in `folder`/`room`."""
    logs = folder / room
    logs.mkdir()
    with Nursery(logs) as nursery:
        display, drawer = desktop(nursery, picture)
        drawer.show(Scene.MOTION)
        yield start_agent(nursery, url, room, display, picture)
