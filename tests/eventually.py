"""Waits in tests: poll a condition with a limit, never sleep for luck."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

LIMIT_S = 20.0
POLL_S = 0.01


def eventually(
    condition: Callable[[], T], what: str = "the condition", limit_s: float = LIMIT_S
) -> T:
    """Poll until the condition gives something true and return it; fail in words at the limit."""
    deadline = time.monotonic() + limit_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what}: not so within {limit_s} s"
        time.sleep(POLL_S)
    return value


async def until(
    condition: Callable[[], object],
    what: str = "the condition",
    limit_s: float = LIMIT_S,
    poll_s: float = POLL_S,
) -> None:
    """The same on an event loop."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not so within {limit_s} s"
        await asyncio.sleep(poll_s)
