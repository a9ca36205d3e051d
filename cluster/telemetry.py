"""A host's telemetry on its way from its socket to Redis: checked, at most once a second, the newest wins."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from cluster import metrics
from cluster.protocol.telemetry import decode, encode
from cluster.store.base import StoreUnavailable

EVERY_S: Final = 1.0


class Intake:
    """One host's; holds one frame at most. `keep` writes it and may raise StoreUnavailable."""

    def __init__(self, keep: Callable[[bytes], None]) -> None:
        self._keep = keep
        self._loop = asyncio.get_running_loop()
        self._newest: bytes | None = None
        self._timer: asyncio.TimerHandle | None = None

    def take(self, frame: bytes) -> None:
        """Raises TelemetryError. What is kept is written anew: known keys only, whose sizes are known."""
        payload = encode(decode(frame))
        if self._timer is None:
            self._write(payload)
            return
        if self._newest is not None:
            metrics.TELEMETRY.labels("replaced").inc()
        self._newest = payload

    def close(self) -> None:
        """The socket is gone."""
        if self._timer is not None:
            self._timer.cancel()

    def _write(self, payload: bytes) -> None:
        self._timer = self._loop.call_later(EVERY_S, self._again)
        try:
            self._keep(payload)
        except StoreUnavailable:  # the next one comes in two seconds
            metrics.TELEMETRY.labels("redis-away").inc()
        else:
            metrics.TELEMETRY.labels("kept").inc()

    def _again(self) -> None:
        self._timer = None
        newest, self._newest = self._newest, None
        if newest is not None:
            self._write(newest)
