"""The rate follows a real queue: agent and Chromium on a loopback of their own that the kernel slows down."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from tests.browser.browser import Browser, Page
from tests.browser.desktop import Noise
from tests.browser.system import System
from tests.eventually import eventually
from tests.outages.network import NAMESPACES_NEED, Namespace, namespaces_work
from tests.xserver import x_server

BUFFER_MS = 300
MBPS = re.compile(r"of ([\d.]+) Mbit/s")


def shape(there: Namespace, mbps: float, action: str = "change") -> None:
    """Let the loopback of a namespace carry so much; the queue before it holds 300 ms."""
    limit = int(mbps * 1e6) // 8 * BUFFER_MS // 1000
    rate = ["rate", f"{int(mbps * 1000)}kbit", "burst", "5000", "limit", str(limit)]
    command = [*there.prefix, "tc", "qdisc", action, "dev", "lo", "root", "tbf", *rate]
    subprocess.run(command, check=True, capture_output=True)


def picture_width(page: Page) -> int:
    """Of the video that the page shows."""
    return int(str(page.evaluate("document.querySelector('video').videoWidth")))


def target_mbps(page: Page) -> float:
    """What the statistics overlay says that the host aims at; 0 before it does."""
    found = MBPS.search(str(page.evaluate("document.getElementById('stats').textContent")))
    return float(found[1]) if found else 0.0


@pytest.mark.browser
@pytest.mark.timeout(180)
@pytest.mark.skipif(not namespaces_work() or not shutil.which("tc"), reason=NAMESPACES_NEED)
def test_the_rate_follows_the_link_down_and_up_again() -> None:
    with (
        Namespace() as there,
        x_server("1280x720") as server,
        Noise(server.name),
        System(
            *("--no-pairing", "--source", "x11", "--fps", "60", "--bitrate", "8"),
            env={"DISPLAY": server.name},
            prefix=there.prefix,
        ) as system,
        Browser("chromium", prefix=there.prefix) as browser,
    ):
        page = browser.open(system.link, 1280, 720)
        page.connect()
        for key in ("ControlLeft", "AltLeft", "ShiftLeft", "KeyS"):
            page.call("key", key=key, down=True)
        eventually(lambda: target_mbps(page) == 8.0, "the highest rate on a free path", 30)
        shape(there, 4, "add")
        eventually(lambda: 2.0 < target_mbps(page) < 4.0, "less than the link carries", 30)
        frames = page.frames()
        eventually(lambda: page.frames() > frames + 20, "pictures on the slow link", 30)
        shape(there, 40)
        eventually(lambda: target_mbps(page) == 8.0, "the highest rate again", 90)
        assert picture_width(page) == 1280
        shape(there, 0.8)
        eventually(lambda: picture_width(page) == 640, "smaller pictures on a very slow link", 40)
        frames = page.frames()
        eventually(lambda: page.frames() > frames + 20, "pictures on the very slow link", 30)
        shape(there, 40)
        eventually(lambda: picture_width(page) == 1280, "the whole picture again", 60)
        eventually(lambda: target_mbps(page) == 8.0, "the highest rate once more", 30)
        page.close()
