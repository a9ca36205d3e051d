"""Sound of a Windows host: WASAPI under Wine, whose default input is the monitor of a private PulseAudio."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.browser import Browser
from tests.browser.sound import hears, listen
from tests.cluster.processes import NodeProcess
from tests.eventually import eventually
from tests.pulse import pulse_server
from tests.windows.test_session import agent, opened
from tests.windows.wine import DIRECTORY, START_LIMIT_S, Desktop

pytestmark = [pytest.mark.windows, pytest.mark.timeout(600)]
PLAYED_HZ = 523
ENTRY_POINTS = "[tightbeam.audio]\nmonitor = tests.windows.inside.monitor:MonitorSource\n"


@pytest.fixture
def played(windows: Desktop, tmp_path: Path) -> Iterator[None]:
    """Windows programs that start now have a sound server that plays a tone."""
    with pulse_server(tmp_path) as server:
        environment = windows.environment | server.environment
        play = ["pactl", "load-module", "module-sine", f"frequency={PLAYED_HZ}"]
        subprocess.run(play, env=environment, check=True, timeout=10)
        # While somebody wants it soon, a null sink does not work two seconds ahead.
        hurry = subprocess.Popen(
            ["parec", "--latency-msec=10"], env=environment, stdout=subprocess.DEVNULL
        )
        windows.environment["PULSE_SERVER"] = server.environment["PULSE_SERVER"]
        try:
            yield
        finally:
            del windows.environment["PULSE_SERVER"]
            hurry.kill()
            hurry.wait(timeout=10)


@pytest.fixture
def monitor_backend() -> Iterator[None]:
    """Another distribution in Windows's Python, with an audio backend."""
    folder = DIRECTORY / "python" / "Lib" / "site-packages" / "monitor_backend-1.0.dist-info"
    folder.mkdir(exist_ok=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: monitor-backend\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(ENTRY_POINTS)
    try:
        yield
    finally:
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()


@pytest.mark.usefixtures("played")
def test_wasapi_passes_its_tests(windows: Desktop) -> None:
    windows.python(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/windows/inside/test_wasapi.py",
        limit_s=240,
    )  # fmt: skip


@pytest.mark.usefixtures("played", "monitor_backend")
def test_what_windows_plays_is_heard_in_the_browser(
    windows: Desktop, node: NodeProcess, browser: Browser
) -> None:
    with agent(windows, node, "--audio") as host:
        page = opened(browser, node)
        listen(page)
        eventually(lambda: hears(page, PLAYED_HZ), "the tone", START_LIMIT_S)
        page.close()
    assert not host.said("no sound")
