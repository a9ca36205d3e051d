"""What the glass-to-glass benchmark asks of a peer: how to install, start and watch it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from benchmarks.processes import Nursery, Process, StartError
from tests.ports import free_port

READY_TIMEOUT_S = 30.0
INSTALL_TIMEOUT_S = 300.0
CACHE = Path(__file__).resolve().parents[2] / ".cache" / "bench"


class PeerUnavailable(RuntimeError):
    """The peer cannot run here; the text is the reason that the report prints."""


@dataclass(frozen=True, slots=True)
class Sound:
    """What a PulseAudio server (as PULSE_SERVER names it) plays on a sink, its default one."""

    server: str
    sink: str


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """The stream that every peer is asked for."""

    display: str
    width: int
    height: int
    fps: int
    bitrate_bps: int
    floor_bps: int | None = None
    """How far down a peer that would rather keep its rate may go; None: it keeps it."""
    sound: Sound | None = None
    """What is streamed beside the picture; None: nothing."""


@dataclass(frozen=True, slots=True)
class Command:
    """How to start a peer, and where its page and its video are."""

    argv: Sequence[str]
    page_url: str
    video_selector: str
    env: Mapping[str, str] = field(default_factory=dict)
    click_selector: str | None = None


class Peer(Protocol):
    """One adapter per peer; `prepare` blocks for minutes at its first run, the others return at once."""

    name: str

    def prepare(self) -> str:
        """Make it installed and return its version; raises PeerUnavailable with the reason."""

    def command(self, stream: StreamSettings, port: int, home: Path) -> Command:
        """The command for one stream; `home` is an empty folder for its state."""


def ensure_venv(name: str, requirements: Sequence[str], probe_import: str) -> Path:
    """The Python of a virtual environment under the cache with these packages; made when absent."""
    folder = CACHE / name
    python = folder / "bin" / "python"
    if python.exists() and _imports(python, probe_import):
        return python
    venv.create(folder, with_pip=True, clear=True)
    command = [str(python), "-m", "pip", "install", "--quiet", *requirements]
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise PeerUnavailable(f"pip took over {INSTALL_TIMEOUT_S:.0f} s for {name}") from None
    if result.returncode != 0:
        last = (result.stderr.strip().splitlines() or ["no message"])[-1]
        raise PeerUnavailable(f"pip could not install {' '.join(requirements)}: {last}")
    return python


def _imports(python: Path, module: str) -> bool:
    return subprocess.run([python, "-c", f"import {module}"], check=False).returncode == 0


def version_of(python: Path | str, distribution: str) -> str:
    """The installed version of a distribution in that Python's environment."""
    code = f"import importlib.metadata as m; print(m.version({distribution!r}))"
    result = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise PeerUnavailable(f"{distribution} is not installed for {python}")
    return result.stdout.strip()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a peer runs and is reached: by a command before its own, on a port of the loopback."""

    prefix: Sequence[str]
    port: int


def start_peer(
    nursery: Nursery, peer: Peer, stream: StreamSettings, place: Place | None = None
) -> tuple[Process, Command]:
    """Start the peer, here where no place is given, and wait until its page is served."""
    place = place or Place((), free_port())
    home = nursery.folder / f"{peer.name}-{time.monotonic_ns()}"
    home.mkdir()
    (home / "run").mkdir(mode=0o700)
    command = peer.command(stream, place.port, home)
    env = {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(home / "run"),
        "DISPLAY": stream.display,
        **command.env,
    }
    process = nursery.start(peer.name, [*place.prefix, *command.argv], env=env)
    deadline = time.monotonic() + READY_TIMEOUT_S
    while not _served(command.page_url):
        if not process.running():
            raise StartError(f"{peer.name} ended at once:\n{process.log_tail()}")
        if time.monotonic() > deadline:
            process.stop()
            raise StartError(
                f"{peer.name} served no page within {READY_TIMEOUT_S:.0f} s:\n{process.log_tail()}"
            )
        time.sleep(0.1)
    return process, command


def _served(url: str) -> bool:
    try:
        with urllib.request.urlopen(url.partition("#")[0], timeout=2) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def this_python() -> str:
    """The interpreter that runs the benchmark."""
    return sys.executable
