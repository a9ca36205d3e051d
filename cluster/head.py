"""The HTTP side of the edge: uvicorn's protocol, for which the head of a request must come soon and be small.

uvicorn limits neither: a client that says nothing, or goes on saying headers, would be kept without bound.
"""

from __future__ import annotations

import asyncio
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_LIMIT_S: Final = 10.0
HEAD_BYTES: Final = 64 * 1024
"""Eight times what `websockets` takes for one header line; a browser's head has 1 to 2 KiB."""


class HttpConnection(HttpToolsProtocol):
    """One connection until it becomes a WebSocket, or as long as it is used for requests."""

    _head_timer: asyncio.TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Part of asyncio.Protocol."""
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Part of asyncio.Protocol; what comes after a response belongs to the next head."""
        if self._head_timer is None and self.cycle is not None and self.cycle.response_complete:
            self._await_head()
        super().data_received(data)
        if self._head_timer is None:
            return
        self._head_bytes += len(data)
        if self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The head of the request is too large.")

    def on_headers_complete(self) -> None:
        """Part of httptools' callbacks."""
        self._stop_timer()
        super().on_headers_complete()

    def handle_websocket_upgrade(self) -> None:
        """Part of uvicorn's; RFC 6455 4.2.1 asks for HTTP/1.1."""
        if self.scope["http_version"] == "1.1":
            super().handle_websocket_upgrade()
        else:
            self.send_400_response("A WebSocket needs HTTP/1.1.")

    def connection_lost(self, exc: Exception | None) -> None:
        """Part of asyncio.Protocol."""
        self._stop_timer()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        self._head_bytes = 0
        self._head_timer = self.loop.call_later(HEAD_LIMIT_S, self.transport.abort)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
