"""The fleet exporter's benchmark runs from its start to its table."""

import subprocess
import sys


def test_the_exporter_is_measured() -> None:
    argv = [sys.executable, "-m", "benchmarks.fleet", "--rounds", "1", "--count", "20"]
    result = subprocess.run(argv, capture_output=True, text=True, timeout=100, check=True)
    assert "look" in result.stdout
    assert "memory" in result.stdout
