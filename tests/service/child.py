"""A real process with pipes: Worker of agent/service/supervisor.py, and UserProcess of agent/service/user_link.py."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from typing import Any, BinaryIO


class Child:
    """By `subprocess`, with its options."""

    def __init__(self, command: Sequence[str], **options: Any) -> None:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options
        )
        assert process.stdin is not None
        assert process.stdout is not None
        self._process, self._stdin = process, process.stdin
        self.pid = process.pid
        self.input = self._stdin.fileno()
        self.output: BinaryIO = process.stdout  # type: ignore[assignment]

    @property
    def ended(self) -> bool:
        """Whether its input is closed."""
        return self._stdin.closed

    def end(self) -> None:
        self._stdin.close()

    def kill(self) -> None:
        self._process.kill()

    def wait(self) -> int:
        return self._process.wait()
