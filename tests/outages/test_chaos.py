"""`make chaos` as its user runs it, with the shortest of its faults."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.long
@pytest.mark.browser
def test_a_killed_node_under_load_with_browsers(tmp_path: Path) -> None:
    file = tmp_path / "chaos.json"
    command = [sys.executable, "-m", "benchmarks.chaos", "--faults", "kill-node"]
    command += ["--users", "40", "--results", str(tmp_path), "--json", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (outcome,) = json.loads(file.read_text())["faults"]
    assert outcome["delivered"] > 100
    assert "NodeDown" in outcome["fired"]  # on a busy machine messages between nodes are late, too
    assert min(shown["frames"] for shown in outcome["shown"].values()) > 100
    assert "| kill-node |" in done.stdout
