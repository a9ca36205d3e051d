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


def shape(there: Namespace, mbps: int, action: str = "change") -> None:
    """Let the loopback of a namespace carry so much; the queue before it holds 300 ms."""
    limit = mbps * 1_000_000 // 8 * BUFFER_MS // 1000
    rate = ["rate", f"{mbps}mbit", "burst", "5000", "limit", str(limit)]
    command = [*there.prefix, "tc", "qdisc", action, "dev", "lo", "root", "tbf", *rate]
    subprocess.run(command, check=True, capture_output=True)


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
        x_server("640x480") as server,
        Noise(server.name),
        System(
            *("--no-pairing", "--source", "x11", "--fps", "30", "--bitrate", "8"),
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
        eventually(lambda: target_mbps(page) == 8.0, "the highest rate again", 30)
        page.close()
