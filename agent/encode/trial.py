"""A trial encode in a process of its own: a driver that hangs or crashes takes nothing else with it.

Flow: agent/encode/hardware.py asks; `python -m agent.encode.trial module:Class` tries that encoder.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from importlib import import_module
from typing import Any, Final

import numpy as np

from agent import lifeline
from agent.capture.base import Frame
from agent.encode.base import EncoderSettings, EncoderUnavailable

logger = logging.getLogger(__name__)

TRIAL: Final = EncoderSettings(640, 360, 30, 2_000_000)
TRIAL_PICTURES: Final = 4
LIMIT_S: Final = 30.0
"""The first use of a graphics card may take many seconds: then its encoder is taken from the next time on."""
WAIT_S: Final = 4.0
"""Less than the host waits for all of its probes; trials that begin together are waited for together."""
ADVICE: Final = "a newer graphics driver may help"


class Trial:
    """One trial, begun at once. `outcome` may be called from any thread."""

    def __init__(self, backend: type[Any]) -> None:
        self._over = threading.Event()
        self._reason: str | None = None
        self._until = time.monotonic() + WAIT_S
        target = f"{backend.__module__}:{backend.__qualname__}"
        command = (sys.executable, "-P", "-m", "agent.encode.trial", target)
        flags = 0
        if sys.platform == "win32":
            flags = subprocess.CREATE_NO_WINDOW
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,  # by whose end it knows that we are gone
            stdout=subprocess.PIPE,
            creationflags=flags,
        )
        threading.Thread(target=self._follow, name="trial", daemon=True).start()

    def outcome(self) -> str | None:
        """None when it went well, else why not. Waits until WAIT_S after the beginning at most."""
        if not self._over.wait(max(self._until - time.monotonic(), 0.0)):
            return "its trial has not ended yet; if it goes well, it is used from the next start of a picture on"
        return self._reason

    def _follow(self) -> None:
        late = threading.Event()

        def kill() -> None:
            late.set()
            self._process.kill()

        timer = threading.Timer(LIMIT_S, kill)
        timer.daemon = True
        timer.start()
        with self._process as process:
            said = process.stdout.read() if process.stdout is not None else b""
            code = process.wait()
        timer.cancel()
        lines = said.decode("utf-8", "replace").strip().splitlines()
        if late.is_set():
            self._reason = f"its trial did not end within {LIMIT_S:g} s; {ADVICE}"
        elif code == 1 and lines:
            self._reason = lines[-1]  # drivers may have said something before
        elif code:
            self._reason = f"its trial crashed (exit code {code}); {ADVICE}"
        self._over.set()


def try_out(backend: Any) -> str | None:
    """Encode some pictures: some drivers hold pictures back. Returns why it cannot be used."""
    pixels = np.zeros((TRIAL.height, TRIAL.width, 4), np.uint8)
    try:
        encoder = backend(TRIAL)
        try:
            for number in range(TRIAL_PICTURES):
                frame = Frame(pixels, number, 0, lambda: None)
                encoder.encode(frame, keyframe=number == TRIAL_PICTURES - 1)
        finally:
            encoder.close()
    except EncoderUnavailable as problem:
        return f"{problem}; {ADVICE}"
    except Exception as problem:
        logger.exception("the trial of %s broke", backend.name)
        return f"its trial broke ({type(problem).__name__}): see the log"
    return None


def main() -> None:
    """The process of one trial: exit code 0, or 1 and the reason as the last line."""
    if lifeline.claim(0):
        lifeline.watch(0, lambda: os._exit(1))
    module, _, name = sys.argv[1].partition(":")
    reason = try_out(getattr(import_module(module), name))
    if reason is not None:
        sys.stdout.buffer.write(" ".join(reason.split()).encode("utf-8") + b"\n")
        sys.stdout.flush()
    os._exit(reason is not None)  # no driver keeps it from ending


if __name__ == "__main__":
    main()
