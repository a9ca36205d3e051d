"""Processes of a benchmark: counted with their children, and gone afterwards."""

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.processes import Nursery
from tests.eventually import eventually

CHILD_IGNORES_TERM = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); "
    "time.sleep(60)"
)


def gone(pid: int) -> bool:
    """True when no such process runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_grandchild_in_a_session_of_its_own_is_stopped_too(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time; "
        f"p = subprocess.Popen([sys.executable, '-c', {CHILD_IGNORES_TERM!r}], "
        "start_new_session=True); open('pid', 'w').write(str(p.pid)); "
        "open('done', 'w').close(); time.sleep(60)"
    )
    with Nursery(tmp_path) as nursery:
        process = nursery.start("parent", ["env", "-C", str(tmp_path), sys.executable, "-c", code])
        eventually((tmp_path / "done").exists, limit_s=10)
        grandchild = int((tmp_path / "pid").read_text())
        eventually(lambda: "up" in process.log.read_text(), limit_s=10)
        assert process.running()
    assert not process.running()
    assert gone(grandchild)


def test_cpu_time_has_that_of_ended_children(tmp_path: Path) -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    code = (
        f"import subprocess, sys, time; subprocess.run([sys.executable, '-c', {burn!r}]); "
        "print('burnt', flush=True); time.sleep(60)"
    )
    with Nursery(tmp_path) as nursery:
        process = nursery.start("parent", [sys.executable, "-c", code])
        eventually(lambda: "burnt" in process.log.read_text(), limit_s=10)
        assert process.cpu_s() >= 0.25  # the system counts in ticks of 10 ms


def test_ctrl_c_leaves_nothing_behind(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys, time\n"
        "from benchmarks.processes import Nursery, nothing_remains\n"
        "with nothing_remains(), Nursery(pathlib.Path(sys.argv[1])) as nursery:\n"
        "    print(nursery.start('sleep', ['sleep', '60']).pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(root)},
    ) as harness:
        assert harness.stdout is not None
        child = int(harness.stdout.readline())
        harness.terminate()
        harness.wait(10)
    eventually(lambda: gone(child), limit_s=10)
