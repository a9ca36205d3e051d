"""A way around the emulated link for a peer's page and signaling: TCP from the viewer's loopback to the host's.

On loopback a page is a secure context, which it needs to look into its frames; and how fast signaling is, is not what
is measured over the link.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Final, Self

from benchmarks.namespaces import enter

LOOPBACK: Final = "127.0.0.1"
CHUNK_BYTES: Final = 1 << 16
START_LIMIT_S: Final = 10.0


class Doorway:
    """`with Doorway(viewer_path, host_path) as door`: the same port on both loopbacks."""

    def __init__(self, viewer_path: str, host_path: str) -> None:
        self._viewer_path, self._host_path = viewer_path, host_path
        self.port = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="doorway", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: asyncio.Event | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(START_LIMIT_S):
            raise OSError("the way around the link could not listen")
        return self

    def __exit__(self, *_: object) -> None:
        if self._loop is not None and self._over is not None:
            self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        enter(self._viewer_path)
        server = await asyncio.start_server(self._accept, LOOPBACK, 0)
        self.port = server.sockets[0].getsockname()[1]
        enter(self._host_path)  # the socket that listens stays where it was made
        self._ready.set()
        await self._over.wait()
        server.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = await asyncio.open_connection(LOOPBACK, self.port)
        except OSError:  # not listening yet: the caller tries again
            writer.transport.abort()
            return
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_copy(reader, there[1]))
                tasks.create_task(_copy(there[0], writer))
        except* OSError:
            pass
        finally:
            for end in (writer, there[1]):
                end.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One direction, until its end closes it."""
    while chunk := await reader.read(CHUNK_BYTES):
        writer.write(chunk)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
