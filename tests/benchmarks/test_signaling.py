"""The signaling benchmarks: what they compute, and that each still runs from its start to its table."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import pytest

from benchmarks import command, s3, windows
from benchmarks.__main__ import NAMES
from benchmarks.processes import Nursery, Process, StartError
from benchmarks.report import OURS, Results
from benchmarks.servers import NPM, Load

ROOT = Path(__file__).resolve().parents[2]
TINY = {
    "s1": ["--connections", "3"],
    "s2": ["--pairs", "2"],
    "s3": ["--pairs", "2", "--nodes", "2"],
    "s4": ["--nodes", "3,5"],
    "s5": [],
    "s6": ["--connections", "40"],
    "s7": ["--sessions", "4", "--nodes", "1,2"],
}


class Clock:
    """A process that has been busy for these many seconds, one more at each look."""

    log_tail = staticmethod(lambda: "")

    def __init__(self, *busy_s: float) -> None:
        self._busy_s = list(busy_s)

    def busy_s(self) -> float:
        """See Process."""
        return self._busy_s.pop(0)


class Figures:
    """A load that has measured already."""

    def __init__(self, **figures: float) -> None:
        self._figures = figures

    def run(self, *_numbers: float) -> Mapping[str, float]:
        """See Load."""
        return self._figures


def lane(load: Figures, servers: list[Clock], redis: Clock | None = None) -> windows.Lane:
    """A lane of these."""
    processes = cast(list[Process], servers)
    return windows.Lane(OURS, cast(Load, load), processes, cast(Process | None, redis), "4 nodes")


def test_the_cpu_time_of_all_nodes_is_divided_by_the_messages() -> None:
    load = Figures(messages=1000, seconds=0.5)
    values = lane(load, [Clock(1.0, 1.01), Clock(5.0, 5.02)], Clock(2.0, 2.005)).window(1, 0)
    assert values == pytest.approx(
        {windows.CPU: 30, windows.REDIS_CPU: 5, windows.TOGETHER: 35, windows.RATE: 2000}
    )


def test_at_a_rate_the_way_is_told_in_place_of_the_rate() -> None:
    load = Figures(messages=10, seconds=1, p50_us=100, p99_us=300)
    values = lane(load, [Clock(0.0, 0.001)]).window(1, 2000)
    assert values == pytest.approx({windows.CPU: 100, windows.P50: 100, windows.P99: 300})


def test_a_window_without_messages_is_an_error() -> None:
    with pytest.raises(StartError, match="no message"):
        lane(Figures(messages=0, seconds=1), [Clock(0.0, 0.0)]).window(1, 0)


def test_a_scenario_is_named_for_its_size_and_rate() -> None:
    assert windows.label("4 nodes", 2000) == "4 nodes, 2,000/s"
    assert windows.label("", windows.SATURATED) == "saturated"


def test_growth_compares_the_largest_cluster_with_the_smallest() -> None:
    results = Results()
    for nodes, cost in ((2, 30.0), (4, 32.0), (16, 33.0)):
        label = windows.label(s3.scenario(nodes), windows.SATURATED)
        results.add(label, windows.TOGETHER, OURS, cost)
    text = s3.growth(results, OURS, [2, 4, 16])
    assert text is not None
    assert text.startswith("ours: cost(16 nodes) / cost(2) = 1.10")
    assert s3.growth(results, OURS, [2]) is None
    assert s3.growth(results, "predecessor", [2, 16]) is None


def test_numbers_are_read_by_comma_and_sorted() -> None:
    assert command.numbers("16,2,4,4") == [2, 4, 16]


def test_busy_time_and_memory_of_a_process_grow_with_what_it_does(tmp_path: Path) -> None:
    code = (
        "import sys, time\n"
        "print('up', flush=True); sys.stdin.readline()\n"
        "end = time.process_time() + 0.1; block = b'x' * (32 << 20)\n"
        "while time.process_time() < end: pass\n"
        "print('done', flush=True); sys.stdin.readline()"
    )
    with Nursery(tmp_path) as nursery:
        process = nursery.start("busy", [sys.executable, "-c", code], pipes=True)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        busy_s, memory = process.busy_s(), process.resident_bytes()
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.stdout.readline()
        assert process.busy_s() - busy_s >= 0.09
        assert process.resident_bytes() - memory >= 30 << 20


def test_all_of_them_are_run_by_default() -> None:
    assert TINY.keys() <= set(NAMES)


@pytest.mark.parametrize("name", TINY)
def test_a_tiny_run_measures_ours(name: str, tmp_path: Path) -> None:
    """With the peers when they are installed already: a test does not fetch packages."""
    output = tmp_path / "run.json"
    argv = [sys.executable, "-m", f"benchmarks.{name}", "--rounds", "1", "--seconds", "0.3"]
    argv += ["--json", str(output), *TINY[name]]
    if not (NPM / "node_modules").exists():
        argv.append("--only-ours")
    result = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    rows = json.loads(output.read_text())["rows"]
    assert rows
    assert all(len(row["rounds"][OURS]) == 1 for row in rows)


@pytest.mark.parametrize("name", TINY)
def test_help_says_what_is_measured(name: str) -> None:
    argv = [sys.executable, "-m", f"benchmarks.{name}", "--help"]
    text = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert f"{name.upper()}, " in text
    assert "--rounds" in text
