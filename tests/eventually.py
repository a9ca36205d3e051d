"""Waits in tests: poll a condition with a limit, never sleep for luck."""

from __future__ import annotations

import time
from collections.abc import Callable

LIMIT_S = 20.0


def eventually(condition: Callable[[], object], limit_s: float = LIMIT_S) -> None:
    """Return once `condition()` is true; fail when it is not within `limit_s`."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {limit_s} s"
        time.sleep(0.005)
