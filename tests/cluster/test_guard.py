"""The guard ends a whole process tree, however its owner ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cluster import guard
from tests.eventually import eventually

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="uses /proc")

# A command with a child, a grandchild in another session that ignores SIGTERM, and an orphan.
TREE = """
import os, signal, subprocess, sys, time
folder = sys.argv[1]
def note(name): open(os.path.join(folder, name), "w").write(str(os.getpid()))
if os.fork() == 0:
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    note("stubborn")
    time.sleep(600)
if os.fork() == 0:
    if os.fork() == 0:
        os.setsid()
        note("orphan")
        time.sleep(600)
    os._exit(0)
note("command")
time.sleep(600)
"""
OWNER = """
import os, subprocess, sys
sys.path.insert(0, sys.argv[2])
from cluster import guard
read_fd, write_fd = os.pipe()
command = [sys.executable, "-c", sys.argv[3], sys.argv[1]]
subprocess.Popen(guard.command_line(read_fd, command, 0.2), pass_fds=(read_fd,))
os.close(read_fd)
sys.stdin.read()
"""
NAMES = ("stubborn", "orphan", "command")


def _alive(pid: int) -> bool:
    return guard._parent_of(pid) is not None


def _pids(folder: Path) -> list[int]:
    files = [folder / name for name in NAMES]
    eventually(lambda: all(file.exists() and file.read_text() for file in files))
    return [int(file.read_text()) for file in files]


def test_tree_is_gone_after_kill_nine_of_the_owner(tmp_path: Path) -> None:
    root = str(Path(guard.__file__).parents[1])
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path), root, TREE], stdin=subprocess.PIPE
    )
    pids = _pids(tmp_path)
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    eventually(lambda: not any(_alive(pid) for pid in pids))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_the_tree(tmp_path: Path, number: signal.Signals) -> None:
    read_fd, write_fd = os.pipe()
    command = [sys.executable, "-c", TREE, str(tmp_path)]
    process = subprocess.Popen(guard.command_line(read_fd, command, 0.2), pass_fds=(read_fd,))
    pids = _pids(tmp_path)
    process.send_signal(number)
    process.wait(20)
    assert not any(_alive(pid) for pid in pids)
    os.close(read_fd)
    os.close(write_fd)


def test_rest_of_the_tree_goes_when_the_command_ends(tmp_path: Path) -> None:
    read_fd, write_fd = os.pipe()
    command = [sys.executable, "-c", TREE, str(tmp_path)]
    process = subprocess.Popen(guard.command_line(read_fd, command), pass_fds=(read_fd,))
    pids = _pids(tmp_path)
    os.kill(pids[-1], signal.SIGKILL)
    assert process.wait(20) == 128 + signal.SIGKILL
    assert not any(_alive(pid) for pid in pids)
    os.close(read_fd)
    os.close(write_fd)


def test_command_dies_with_a_killed_guard(tmp_path: Path) -> None:
    read_fd, write_fd = os.pipe()
    command = [sys.executable, "-c", TREE, str(tmp_path)]
    process = subprocess.Popen(guard.command_line(read_fd, command), pass_fds=(read_fd,))
    *others, pid = _pids(tmp_path)
    process.kill()
    process.wait()
    eventually(lambda: not _alive(pid))
    for other in others:
        os.kill(other, signal.SIGKILL)
    os.close(read_fd)
    os.close(write_fd)


def test_status_and_words_of_a_missing_command(tmp_path: Path) -> None:
    read_fd, write_fd = os.pipe()
    folder = tmp_path / "gone"
    folder.mkdir()
    result = subprocess.run(
        guard.command_line(read_fd, ["/no/such/program"], remove=str(folder)),
        pass_fds=(read_fd,),
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert result.returncode == 127
    assert b"/no/such/program: No such file or directory" in result.stderr
    assert not folder.exists()
    os.close(read_fd)
    os.close(write_fd)
