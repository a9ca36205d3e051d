"""Processes that a benchmark starts: each in its own session, with CPU accounting and a certain end.

The benchmark makes itself the reaper of orphans, so that what a peer leaves behind is still a descendant: its
CPU time is counted and it is stopped, also after Ctrl-C.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

STOP_TIMEOUT_S = 5.0
ORPHAN_TIMEOUT_S = 1.0  # for what is left once the started process itself is gone
POLL_S = 0.02
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
CLOCK_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class StartError(RuntimeError):
    """A process did not become ready; the text has the end of its log."""


@dataclass(frozen=True, slots=True)
class Stat:
    """The fields of /proc/PID/stat that are needed here; `cpu_s` includes reaped children."""

    pid: int
    parent: int
    session: int
    state: str
    started_ticks: int
    cpu_s: float


def _read_stat(pid: int) -> Stat | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text[text.rindex(")") + 2 :].split()
    ticks = sum(int(field) for field in fields[11:15])  # utime stime cutime cstime
    return Stat(
        pid=pid,
        parent=int(fields[1]),
        session=int(fields[3]),
        state=fields[0],
        started_ticks=int(fields[19]),
        cpu_s=ticks * CLOCK_TICK_S,
    )


def _all_stats() -> dict[int, Stat]:
    stats = (_read_stat(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return {stat.pid: stat for stat in stats if stat is not None}


def _tree(root: int, stats: Mapping[int, Stat]) -> set[int]:
    found = {root} & stats.keys()
    found |= {pid for pid, stat in stats.items() if stat.session == root}
    while True:
        more = {pid for pid, stat in stats.items() if stat.parent in found} - found
        if not more:
            return found
        found |= more


class Process:
    """One started command, its session and its log file."""

    def __init__(self, popen: subprocess.Popen[bytes], log: Path) -> None:
        self._popen = popen
        self.pid = popen.pid
        self.log = log
        self._stopped = False

    @property
    def stdin(self) -> IO[bytes] | None:
        """The pipe to its standard input, when asked for."""
        return self._popen.stdin

    @property
    def stdout(self) -> IO[bytes] | None:
        """The pipe from its standard output, when asked for."""
        return self._popen.stdout

    def running(self) -> bool:
        """False once it has ended; it is not reaped before `stop`, so that its pid stays its own."""
        if self._stopped:
            return False
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.pid, options) is None

    def log_tail(self, lines: int = 15) -> str:
        """The last lines that it wrote."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def cpu_s(self) -> float:
        """CPU seconds of its whole tree so far, ended and reaped children included."""
        stats = _all_stats()
        return sum(stats[pid].cpu_s for pid in _tree(self.pid, stats))

    def busy_s(self) -> float:
        """CPU seconds of its living threads to the nanosecond, without children (schedstat of proc(5))."""
        folder = Path(f"/proc/{self.pid}/task")
        return sum(int(_first_word(task / "schedstat")) for task in folder.iterdir()) / 1e9

    def resident_bytes(self) -> int:
        """Its physical memory, shared pages included (statm of proc(5))."""
        pages = Path(f"/proc/{self.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def stop(self) -> None:
        """Ask it to end, and after a limit make its whole tree end; returns when all of it is gone."""
        if self._stopped:
            return
        stats = _all_stats()
        tree = {pid: stats[pid].started_ticks for pid in _tree(self.pid, stats)}
        _send(signal.SIGTERM, [self.pid])
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while (alive := _alive(tree)) and time.monotonic() < deadline:
            if self.pid not in alive:
                deadline = min(deadline, time.monotonic() + ORPHAN_TIMEOUT_S)
            time.sleep(POLL_S)
        stats = _all_stats()
        tree |= {pid: stats[pid].started_ticks for pid in _tree(self.pid, stats)}
        _send(signal.SIGKILL, _alive(tree))
        self._popen.wait(STOP_TIMEOUT_S)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while _alive(tree) and time.monotonic() < deadline:
            time.sleep(POLL_S)
        self._stopped = True
        _reap(tree)
        for pipe in (self._popen.stdin, self._popen.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def _first_word(path: Path) -> str:
    try:
        return path.read_text().split()[0]
    except (FileNotFoundError, ProcessLookupError):  # a thread that has just ended
        return "0"


def _alive(tree: Mapping[int, int]) -> set[int]:
    """Which of these processes (pid to start time) still run; a reused pid is not the same process."""
    stats = _all_stats()
    return {
        pid
        for pid, started in tree.items()
        if pid in stats and stats[pid].started_ticks == started and stats[pid].state != "Z"
    }


def _reap(pids: Iterable[int]) -> None:
    """Collect the exit status of those that became our children as orphans."""
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def _send(number: signal.Signals, pids: Iterable[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


class Nursery:
    """Starts processes and ends every one of them when the `with` block is left, newest first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: list[Process] = []

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, *exc: object) -> None:
        for process in reversed(self._started):
            process.stop()

    def start(
        self,
        name: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        pipes: bool = False,
        pass_fds: Sequence[int] = (),
    ) -> Process:
        """Start a command in its own session; its output goes to a log, or stdout to a pipe."""
        log = self.folder / f"{name}.log"
        with log.open("ab") as output:
            popen = subprocess.Popen(
                list(argv),
                env=dict(env) if env is not None else None,
                stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipes else output,
                stderr=output,
                start_new_session=True,
                pass_fds=tuple(pass_fds),
            )
        process = Process(popen, log)
        self._started.append(process)
        return process


def machine_cpu_s() -> float:
    """CPU seconds that the whole machine has been busy since boot, stolen time included (proc(5))."""
    names = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    ticks = dict(zip(names, map(int, fields), strict=False))
    return (sum(ticks.values()) - ticks["idle"] - ticks["iowait"]) * CLOCK_TICK_S


def adopt_orphans() -> None:
    """Become the reaper of our descendants' orphans (prctl(2), Linux)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER) failed")


@contextlib.contextmanager
def nothing_remains() -> Iterator[None]:
    """On leaving, stop whatever descendant is still there; SIGTERM and SIGINT end the block once."""

    numbers = (signal.SIGINT, signal.SIGTERM)

    def interrupt(_number: int, _frame: object) -> None:
        for number in numbers:  # an impatient second Ctrl-C must not cut the clean-up short
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    adopt_orphans()
    previous = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        _kill_descendants()
        for number, handler in previous.items():
            signal.signal(number, handler)


def _kill_descendants() -> None:
    me = os.getpid()
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while time.monotonic() < deadline:
        stats = _all_stats()
        rest = _tree(me, stats) - {me}
        if not rest:
            return
        _send(signal.SIGKILL, rest)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(POLL_S)


def start_xvfb(nursery: Nursery, size: str) -> tuple[Process, str]:
    """A private X server on a display number that it finds itself; returns it and `:N`."""
    read_fd, write_fd = os.pipe()
    with os.fdopen(read_fd, "rb") as answer:
        try:
            server = nursery.start(
                "xvfb",
                f"Xvfb -displayfd {write_fd} -screen 0 {size}x24 -nolisten tcp -noreset".split(),
                pass_fds=[write_fd],
            )
        finally:
            os.close(write_fd)
        number = answer.readline().strip()  # ends at once when the server ends: the pipe closes
    if not number:
        raise StartError(
            f"Xvfb did not start (is the package xvfb installed?): {server.log_tail()}"
        )
    return server, f":{number.decode()}"
