"""The guard: runs one foreign command and ends its whole process tree when the owner is gone.

`python guard.py --fd N -- command ...` reads nothing from descriptor N; it only waits for its end of
file, which the kernel delivers however the owner died, SIGKILL included. Only the standard library is
imported and only one thread runs: PR_SET_PDEATHSIG follows the thread that forked (prctl(2)).
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import select
import signal
import sys
import time
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1  # linux/prctl.h
PR_SET_CHILD_SUBREAPER = 36
DEFAULT_GRACE_S = 1.5
REST_GRACE_S = 0.3
KILL_LIMIT_S = 5.0
POLL_S = 0.02


def command_line(
    fd: int, command: Sequence[str], grace_s: float = DEFAULT_GRACE_S, remove: str | None = None
) -> list[str]:
    """The argument list that runs `command` under a guard; the caller passes `fd` on to it.

    `remove` is a folder that goes when the command has ended.
    """
    own = [sys.executable, "-I", "-S", os.path.abspath(__file__)]
    folder = [] if remove is None else ["--remove", remove]
    return [*own, "--fd", str(fd), "--grace", str(grace_s), *folder, "--", *command]


def _prctl(option: int, value: int) -> None:
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}, {value}) failed")


def _parent_of(pid: int) -> int | None:
    """The parent of a live process (proc(5)); None for a zombie or a process that is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            state, parent = stat.read().rpartition(b")")[2].split()[:2]
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return None
    return None if state == b"Z" else int(parent)


def descendants(root: int) -> set[int]:
    """Every live process below `root`."""
    if not os.path.isdir("/proc/self"):
        return set()
    parents = {int(name): _parent_of(int(name)) for name in os.listdir("/proc") if name.isdigit()}
    found = {root}
    while True:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        if not more:
            return found - {root}
        found |= more


def _signal_all(number: signal.Signals) -> None:
    for pid in descendants(os.getpid()):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _reap(child: int, status: int | None) -> int | None:
    """Collect every ended child; the exit status of the command once it is known."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, ended = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return status
            if pid == child:
                status = os.waitstatus_to_exitcode(ended)
    return status


def _end_tree(child: int, status: int | None, grace_s: float) -> int | None:
    """The command may end in order first, then the rest is asked, then killed until nothing is left."""
    if status is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGTERM)
        deadline = time.monotonic() + grace_s
        while status is None and time.monotonic() < deadline:
            time.sleep(POLL_S)
            status = _reap(child, status)
    started = time.monotonic()
    number = signal.SIGTERM
    while descendants(os.getpid()) and time.monotonic() < started + KILL_LIMIT_S:
        _signal_all(number)
        time.sleep(POLL_S)
        status = _reap(child, status)
        if time.monotonic() > started + REST_GRACE_S:
            number = signal.SIGKILL
    return _reap(child, status)


def _start(command: Sequence[str]) -> int:
    guard = os.getpid()
    child = os.fork()
    if child:
        return child
    try:
        os.setsid()
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guard:  # it died before the line above: prctl(2) warns of this race
            os._exit(1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        os.execvp(command[0], list(command))  # noqa: S606
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
    os._exit(127)


def _wakeup() -> int:
    """A descriptor that becomes readable at SIGCHLD, SIGTERM, SIGINT and SIGHUP."""
    read_fd, write_fd = os.pipe()
    os.set_blocking(write_fd, False)
    os.set_blocking(read_fd, False)
    signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    return read_fd


def guard(fd: int, command: Sequence[str], grace_s: float = DEFAULT_GRACE_S) -> int:
    """Run the command until it ends, the owner is gone, or a signal asks for the end."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    wakeup = _wakeup()
    child = _start(command)
    status: int | None = None
    while status is None:
        readable, _, _ = select.select([fd, wakeup], [], [])
        numbers = os.read(wakeup, 64) if wakeup in readable else b""
        if any(number != signal.SIGCHLD for number in numbers):
            break
        if fd in readable and not os.read(fd, 1):
            break
        status = _reap(child, status)
    status = _end_tree(child, status, grace_s)
    if status is None:
        return 0
    return status if status >= 0 else 128 - status


def main() -> None:
    """The command line: `--fd N -- command ...`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fd", type=int, required=True, help="end the command at its end of file")
    parser.add_argument("--grace", type=float, default=DEFAULT_GRACE_S, metavar="S")
    parser.add_argument("--remove", metavar="FOLDER", help="remove it when the command has ended")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    status = guard(options.fd, options.command, options.grace)
    if options.remove is not None:
        import shutil  # noqa: PLC0415 - only now, so that the start stays fast

        shutil.rmtree(options.remove, ignore_errors=True)
    sys.exit(status)


if __name__ == "__main__":
    main()
