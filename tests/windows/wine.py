"""Windows programs under Wine: the CPython that `make test-windows` set up, and what runs in it."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from tests.eventually import eventually
from tests.xserver import XServer, x_server

ROOT = Path(__file__).parent.parent.parent
DIRECTORY = ROOT / ".cache" / "windows"
PYTHON = DIRECTORY / "python" / "python.exe"
DRIVE_C = DIRECTORY / "prefix" / "drive_c"
STOP_LIMIT_S = 15.0
START_LIMIT_S = 120.0
"""Of a process under Wine, on a busy machine, up to its first picture."""


class Desktop:
    """One Windows desktop: a Wine prefix whose windows are on a private X server."""

    def __init__(self, server: XServer) -> None:
        self.server = server
        self.environment = {
            **os.environ,
            "DISPLAY": server.name,
            "WINEPREFIX": str(DIRECTORY / "prefix"),
            "WINEARCH": "win64",
            "WINEDEBUG": "-all",
            "WINEDLLOVERRIDES": "mscoree=;mshtml=",
        }

    def python(
        self, *arguments: str, limit_s: float = 120, code: int = 0, **environment: str
    ) -> str:
        """Run Windows's Python to its end; what it printed. Raises when its exit code is another one."""
        return self.run(str(PYTHON), *arguments, limit_s=limit_s, code=code, **environment)

    def run(self, *command: str, limit_s: float = 120, code: int = 0, **environment: str) -> str:
        """Run a Windows program, likewise."""
        ended = subprocess.run(
            ["wine", *command],
            check=False,
            env={**self.environment, **environment},
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",  # Python's console there is of code page 437
            timeout=limit_s,
        )
        assert ended.returncode == code, f"exit code {ended.returncode}:\n{ended.stdout}"
        return ended.stdout

    def start(self, *arguments: str, **environment: str) -> Program:
        """Start Windows's Python."""
        return Program(["wine", str(PYTHON), *arguments], {**self.environment, **environment})


class Program:
    """A running program; what it prints, on both streams, is kept in `lines`."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.lines: list[str] = []
        self._process = subprocess.Popen(
            command,
            env=environment,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line.rstrip())

    def said(self, words: str) -> bool:
        return any(words in line for line in list(self.lines))

    def say(self, line: str) -> None:
        """A line on its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def until(self, words: str, limit_s: float = 120) -> None:
        """Wait for a line with these words."""
        try:
            eventually(lambda: self.said(words), f"a line with {words!r}", limit_s)
        except AssertionError as error:
            raise AssertionError(f"{error}; its output:\n" + "\n".join(self.lines)) from None

    def kill(self) -> None:
        """`kill -9`."""
        self._process.kill()
        self._process.wait()

    def close(self) -> int:
        """Close its standard input and wait for its end; returns the exit code."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            return self._process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError("it does not end:\n" + "\n".join(self.lines)) from None
        finally:
            self._reader.join(5)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def desktop(size: str = "1280x720") -> Iterator[Desktop]:
    """A desktop of this size; all of its programs are ended at the end."""
    with x_server(size) as server:
        made = Desktop(server)
        try:
            yield made
        finally:
            # Of this prefix only. It ends programs that still run, and the server waits for nobody.
            subprocess.run(["wineserver", "--kill"], env=made.environment, check=False)
            subprocess.run(["wineserver", "--wait"], env=made.environment, check=False)


def windows_pid(command: str) -> int:
    """The pid, as this system counts, of the one Windows program whose command line has these words."""

    def matches() -> list[int]:
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except (OSError, UnicodeDecodeError):
                continue
            if command in line and ROOT.name in line and "wine" not in line.split()[0]:
                found.append(int(entry.name))
        return found

    found = eventually(matches, f"a Windows program {command!r}")
    assert len(found) == 1, found
    return found[0]
