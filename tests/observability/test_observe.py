"""`make observe` as its user runs it, with a real browser and real clients: what Prometheus then knows.

Every expression of every dashboard is asked of the real Prometheus, and each must have something to show.
"""

from __future__ import annotations

import asyncio
import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from deploy.observability import ask, picture
from deploy.observability.build import DASHBOARDS
from tests.browser.browser import Browser
from tests.browser.system import descendants, kill
from tests.cluster import support
from tests.eventually import eventually
from tests.observability.load import load

pytestmark = pytest.mark.browser
RATE = "12s"
"""Six scrapes."""
LIMIT_S = 60.0
RUNBOOK = Path(__file__).parents[2] / "docs" / "runbook.md"


class Observe:
    """The command, what it printed, and where its parts are."""

    def __init__(self, folder: Path, *flags: str) -> None:
        env = {
            "TMPDIR": str(folder),
            "TIGHTBEAM_SECRET": support.SECRET,
            "RATE_LIMIT_CONN_PER_10S": "1000000",  # all come from one address
            "RATE_LIMIT_IP_MSGS_PER_10S": "1000000",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "deploy.observability.observe", "--size", "320x180", *flags],
            env={**os.environ, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()
        eventually(
            lambda: any("Ctrl-C" in line for line in self.lines) or self._ended(), "links", 60
        )
        self.pages = self._all(r"(http://\S+)/#room=desk$")
        (self.prometheus,) = set(self._all(r"(http://\S+)/targets"))

    def _ended(self) -> bool:
        assert self.process.poll() is None, "\n".join(self.lines)
        return False

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(line.rstrip() for line in self.process.stdout)

    def _all(self, pattern: str) -> list[str]:
        return [found[1] for line in self.lines if (found := re.search(pattern, line))]

    def parts(self) -> dict[int, str]:
        return descendants(self.process.pid)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("observe")


@pytest.fixture(scope="module")
def observe(folder: Path) -> Iterator[Observe]:
    running = Observe(folder)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait()


def unanswered(observe: Observe) -> list[str]:
    """The expressions that have nothing to show yet, by their panel."""
    return [
        f"{board.name}: {panel.title}: {query.expr}"
        for board in DASHBOARDS
        for panel in board.panels()
        for query in panel.queries
        if not any(
            math.isfinite(series.points[-1][1])
            for series in ask.now(observe.prometheus, ask.filled(query.expr, RATE))
        )
    ]


@pytest.mark.timeout(180)
async def test_every_expression_of_every_dashboard_has_something_to_show(observe: Observe) -> None:
    with Browser("chromium") as browser:
        pages = [browser.open(f"{url}/#room=desk") for url in observe.pages]
        for page in pages:
            await asyncio.to_thread(page.connect)
        one, two = (url.replace("http", "ws") for url in observe.pages)
        async with load(one, two):
            deadline = time.monotonic() + LIMIT_S
            while missing := await asyncio.to_thread(unanswered, observe):
                assert time.monotonic() < deadline, "\n".join(missing)
                await asyncio.sleep(1.0)
        sessions = ask.now(observe.prometheus, 'tightbeam_fleet_host_sessions{host="desk"}')
        assert [(entry.labels["host"], entry.points[0][1]) for entry in sessions] == [("desk", 2)]
        assert ask.now(observe.prometheus, 'tightbeam_fleet_host_freezes{host="desk"} >= 0')
        quick = 'tightbeam_fleet_host_stage_seconds{stage="encode"} > 0'
        assert ask.now(observe.prometheus, quick)
        remote = 'sum(rate(tightbeam_messages_total{path="remote"}[12s])) > 1'
        assert ask.now(observe.prometheus, remote)


def test_prometheus_takes_every_query_of_the_runbook(observe: Observe) -> None:
    quoted = re.findall(r"`([^`]+)`", RUNBOOK.read_text("utf-8"))
    queries = [words for words in quoted if re.search(r"tightbeam_\w+|^up\{", words)]
    assert len(queries) > 15
    for query in queries:
        ask.now(observe.prometheus, query)  # raises what is wrong with it
    assert ask.now(observe.prometheus, 'up{job="tightbeam-fleet-exporter"}')
    for query in ("sum by (path) (tightbeam_fleet_sessions)", "tightbeam_fleet_host_info"):
        assert query in queries
        assert ask.now(observe.prometheus, query)


def test_a_dashboard_is_drawn_from_what_prometheus_has(observe: Observe) -> None:
    end = time.time()
    source = picture.Source(observe.prometheus, (end - 60, end), RATE)
    for board in DASHBOARDS:
        drawn = picture.svg(board.name, source)
        ElementTree.fromstring(drawn)
        for panel in board.panels():
            assert f">{panel.title}</text>" in drawn
        assert "no value" not in drawn
        assert "polyline" in drawn


def test_the_rules_are_loaded_and_nothing_fires(observe: Observe) -> None:
    assert ask.now(observe.prometheus, "tightbeam:hosts_online:sum")
    assert not ask.now(observe.prometheus, 'ALERTS{alertstate="firing"}')


def test_ctrl_c_leaves_nothing_behind(observe: Observe, folder: Path) -> None:
    parts = observe.parts()
    assert len([words for words in parts.values() if "guard.py" in words]) >= 6
    observe.process.send_signal(signal.SIGINT)
    assert observe.process.wait(20) == 0
    assert not [pid for pid in parts if Path(f"/proc/{pid}/cmdline").exists()]
    assert list(folder.iterdir()) == []


def test_a_kill_leaves_nothing_behind_either(folder: Path) -> None:
    running = Observe(folder)
    parts = running.parts()
    kill(running.process.pid)
    running.process.wait()
    eventually(lambda: not [p for p in parts if Path(f"/proc/{p}").exists()], "all gone", 20)
    eventually(lambda: not list(folder.iterdir()), "the folders gone")
