"""How a child process ended, in words."""

from __future__ import annotations

import signal


def ending(code: int) -> str:
    """Of a `returncode` as subprocess counts: below zero it is the signal that ended the process."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except (
        ValueError
    ):  # only the first and the last of the real-time signals have names (signal(7))
        return f"signal {-code}"
