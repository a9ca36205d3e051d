"""Packets on their way from the media threads to the event loop, where aiortc's and aioice's own senders live."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

MAX_PACKETS: Final = 2048
"""About 1 s at 20 Mbit/s. Overflow: the oldest packets go, and are counted."""


class Outbox:
    """A bounded queue drained by one task on the loop."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, send: Callable[[bytes], Awaitable[None]]
    ) -> None:
        self._loop = loop
        self._send = send
        self._packets: deque[bytes] = deque(maxlen=MAX_PACKETS)
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self.dropped = 0

    def put(self, packets: Iterable[bytes]) -> None:
        """From any thread."""
        for packet in packets:
            if len(self._packets) == MAX_PACKETS:
                self.dropped += 1
            self._packets.append(packet)
        if not self._closed:
            self._loop.call_soon_threadsafe(self._kick)

    def _kick(self) -> None:
        if self._packets and not self._closed and (self._task is None or self._task.done()):
            self._task = self._loop.create_task(self._drain(), name="outbox")

    async def _drain(self) -> None:
        while self._packets:
            try:
                await self._send(self._packets.popleft())
            except ConnectionError:  # the connection is over; its end is reported elsewhere
                self._packets.clear()

    async def close(self) -> None:
        """Drop what is left and end the task. Idempotent."""
        self._closed = True
        self._packets.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
