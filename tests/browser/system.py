"""`tightbeam up` as a user starts it, on a private desktop, with a look at its processes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tests.eventually import eventually
from tests.ports import free_port

LINK = re.compile(r"https?://\S+/#\S+")
TIGHTBEAM = Path(sys.executable).with_name("tightbeam")


def descendants(root: int) -> dict[int, str]:
    """The command lines of all processes below `root`, by pid."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if fields[0] != "Z":
                parents[int(entry.name)] = int(fields[1])
    found: dict[int, str] = {}
    level = {root}
    while level:
        level = {pid for pid, parent in parents.items() if parent in level}
        for pid in level:
            try:
                raw = Path(f"/proc/{pid}/cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
            found[pid] = raw.replace(b"\0", b" ").decode(errors="replace").strip()
    return found


class System:
    """A running `tightbeam up`. Its output is kept in `lines`; `close` is a Ctrl-C."""

    def __init__(
        self,
        *flags: str,
        env: dict[str, str] | None = None,
        port: int = 0,
        prefix: Sequence[str] = (),
    ) -> None:
        self.port = port or free_port()
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [*prefix, str(TIGHTBEAM), "up", "--port", str(self.port), *flags],
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self.link = eventually(self._link, "the pairing link", 40)
        except AssertionError as error:
            self.close()
            raise AssertionError(f"{error}; its output:\n" + "\n".join(self.lines)) from None

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip())

    def _link(self) -> str:
        for line in list(self.lines):
            if match := LINK.search(line):
                return match.group(0)
        if self.process.poll() is not None:
            raise AssertionError(f"tightbeam up ended with {self.process.returncode}")
        return ""

    @property
    def url(self) -> str:
        """The page's address, without the fragment."""
        return self.link.partition("#")[0]

    def find(self, pattern: str) -> int:
        """The pid of the one process below `up` whose command line has the pattern, once it is there.

        A guard names the command that it guards too, and is passed over.
        """

        def matches() -> list[int]:
            return [
                pid
                for pid, command in descendants(self.process.pid).items()
                if re.search(pattern, command) and "guard.py" not in command
            ]

        found: list[int] = eventually(matches, f"a process {pattern!r}")
        assert len(found) == 1, f"{pattern!r} matches {found}"
        return found[0]

    @property
    def media(self) -> int:
        """The pid of the agent's media process."""
        return self.find(r"-m agent\.media")

    @property
    def agent(self) -> int:
        """The pid of the agent's own process."""
        return self.find(r"agent\.cli run")

    @property
    def node(self) -> int:
        """The pid of the signaling node."""
        return self.find(r"cluster\.cli node")

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError("Ctrl-C did not end tightbeam up within 15 s") from None
        self._reader.join(5)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def kill(pid: int) -> None:
    """`kill -9`."""
    os.kill(pid, signal.SIGKILL)


def cpu_seconds(pid: int) -> float:
    """The processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def resident_bytes(pid: int) -> int:
    """The resident memory, in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
