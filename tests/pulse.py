"""A private PulseAudio for tests: its own socket and state, one null sink."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_LIMIT_S = 15.0
SINK = "tightbeam_test"


class PulseServer:
    """One PulseAudio daemon; `environment` is what its clients need."""

    def __init__(self, directory: Path) -> None:
        self.socket = directory / "pulse.sock"
        self.environment = {
            "XDG_RUNTIME_DIR": str(directory),
            "HOME": str(directory),
            "PULSE_SERVER": f"unix:{self.socket}",
        }
        command = ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no"]
        command += ["--disallow-exit", "--log-target=stderr", "--log-level=error"]
        command += ["-L", f"module-native-protocol-unix socket={self.socket} auth-anonymous=1"]
        command += ["-L", f"module-null-sink sink_name={SINK} rate=48000"]
        self._command = command
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            self._command,
            env={**os.environ, **self.environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + START_LIMIT_S
        while not self._answers():
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise RuntimeError("PulseAudio did not start")
            time.sleep(0.05)
        return process

    def _answers(self) -> bool:
        return (
            subprocess.run(
                ["pactl", "info"],
                env={**os.environ, **self.environment},
                capture_output=True,
                timeout=10,
                check=False,
            ).returncode
            == 0
        )

    def restart(self) -> None:
        """Start the daemon again after `kill`."""
        self.socket.unlink(missing_ok=True)
        self.process = self._start()

    def pause(self) -> None:
        """Stop the daemon where it stands: it holds its connections and says nothing."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused daemon go on."""
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End the daemon as a crash would; idempotent."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(timeout=10)


@contextmanager
def pulse_server(directory: Path) -> Iterator[PulseServer]:
    """A running sound server for the length of a `with` block."""
    server = PulseServer(directory)
    try:
        yield server
    finally:
        server.kill()
