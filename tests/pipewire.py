"""A private PipeWire for tests, with its session manager and its PulseAudio server: one null sink, the default."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.eventually import eventually

SESSION = (
    'pipewire & until [ -S "$XDG_RUNTIME_DIR/pipewire-0" ]; do sleep 0.05; done; '
    "wireplumber & exec pipewire-pulse"
)
SINK = "tightbeam_test"


@contextmanager
def pipewire_server(directory: Path) -> Iterator[dict[str, str]]:
    """What its clients need in their environment, for the length of a `with` block."""
    environment = {
        "XDG_RUNTIME_DIR": str(directory),
        "HOME": str(directory),
        "PULSE_SERVER": f"unix:{directory}/pulse/native",
    }
    directory.chmod(0o700)

    def pactl(*command: str) -> str:
        return subprocess.run(
            ["pactl", *command],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        ).stdout.strip()

    process = subprocess.Popen(
        ["dbus-run-session", "--", "sh", "-c", SESSION],
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        eventually(lambda: "PipeWire" in pactl("info"), "PipeWire's PulseAudio server")
        pactl("load-module", "module-null-sink", f"sink_name={SINK}", "rate=48000")
        pactl("set-default-sink", SINK)
        eventually(lambda: pactl("get-default-sink") == SINK, "the default sink")
        yield environment
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=10)
