"""A backend of another package: the documented example, really installed, and one that is broken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.browser.browser import Browser
from tests.browser.system import System
from tests.eventually import eventually

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs/plug-in"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH in which the example is installed."""
    folder = tmp_path_factory.mktemp("site")
    source = tmp_path_factory.mktemp("source")
    for file in EXAMPLE.iterdir():
        if file.is_file():
            (source / file.name).write_bytes(file.read_bytes())
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    command = [*pip, "--no-build-isolation", "--target", str(folder), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    return folder


def captures(folder: Path) -> dict[str, tuple[str, str]]:
    """State and words of every capture that `doctor` lists, by name."""
    command = [sys.executable, "-m", "agent.cli", "doctor", "--only", "capture", "--json"]
    env = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(
        [*command, "--source", "testpattern"], env=env, cwd=ROOT, capture_output=True, check=False
    )
    checks: list[dict[str, Any]] = json.loads(done.stdout)["checks"]
    return {check["name"]: (check["state"], check["words"]) for check in checks}


def test_the_example_is_as_short_as_promised() -> None:
    assert len((EXAMPLE / "tightbeam_plasma.py").read_text().splitlines()) <= 60


def test_doctor_tries_the_capture_of_another_package(installed: Path) -> None:
    found = captures(installed)
    assert found["plasma"][0] == "works"
    assert "640x360" in found["plasma"][1]


def test_a_package_that_does_not_load_is_named_and_left_out(tmp_path: Path) -> None:
    information = tmp_path / "broken_backend-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[tightbeam.capture]\nbroken = broken:Capture\n")
    (tmp_path / "broken.py").write_text("1 / 0\n")
    found = captures(tmp_path)
    state, words = found["broken"]
    assert state == "absent"
    assert "the package broken does not load (ZeroDivisionError" in words
    assert found["testpattern"][0] == "works"


@pytest.mark.browser
def test_the_capture_of_another_package_is_seen_in_a_browser(installed: Path) -> None:
    environment = {"PYTHONPATH": str(installed)}
    with (
        System("--no-pairing", "--source", "plasma", env=environment) as system,
        Browser("chromium") as browser,
    ):
        page = browser.open(system.link)
        page.connect()

        def blue() -> bool:
            red, green, blue = page.pixel(0.5, 0.5)
            return blue > 120 and red < 60 and 0 < green < 160

        eventually(blue, "the blue of the example")
        page.close()
