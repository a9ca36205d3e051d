"""xclip as the other program of an X desktop."""

from __future__ import annotations

import os
import subprocess


class Xclip:
    """Copies and pastes on one display. It goes on as a process of its own until its text is replaced."""

    def __init__(self, display: str) -> None:
        self._environment = {**os.environ, "DISPLAY": display}

    def _run(self, *flags: str, text: str | None = None) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["xclip", "-selection", "clipboard", *flags],
            env=self._environment,
            input=None if text is None else text.encode(),
            # its copy in the background would keep a pipe open
            stdout=subprocess.DEVNULL if text is not None else subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=30,
        )

    def copy(self, text: str, target: str = "UTF8_STRING") -> None:
        assert self._run("-in", "-target", target, text=text).returncode == 0

    def paste(self, target: str = "UTF8_STRING") -> str | None:
        ended = self._run("-out", "-target", target)
        return ended.stdout.decode() if ended.returncode == 0 else None
