"""The HTTP side of the edge: uvicorn's protocol, for which the head of a request must come soon and be small.

uvicorn limits neither: a client that says nothing, or goes on saying headers, would be kept without bound. Nor does it
limit how long an answer waits to be read.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any, Final, cast

from httptools import HttpParserUpgrade
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from cluster.websocket import Connection

HEAD_LIMIT_S: Final = 10.0
READ_LIMIT_S: Final = 10.0
"""For a client that takes no more of an answer, or of the last one before the end."""
HEAD_BYTES: Final = 64 * 1024
"""Eight times what `websockets` takes for one header line; a browser's head has 1 to 2 KiB."""

OVERRIDDEN: Final = (
    "connection_made",
    "data_received",
    "on_headers_complete",
    "handle_websocket_upgrade",
    "on_response_complete",
    "send_400_response",
    "timeout_keep_alive_handler",
    "pause_writing",
    "resume_writing",
    "connection_lost",
)
ATTRIBUTES: Final = (
    "config.loaded_app",
    "config.ws_max_size",
    "config.ws_ping_interval",
    "connections",
    "cycle",
    "parser",
    "scope",
    "send_400_response",
    "server_state.connections",
    "server_state.default_headers",
    "server_state.tasks",
    "transport",
    "url",
)
"""What is not public of uvicorn, held by a contract test."""


class HttpConnection(HttpToolsProtocol):
    """One connection until it becomes a WebSocket, or as long as it is used for requests."""

    _head_timer: asyncio.TimerHandle | None = None
    _read_timer: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _piece_bytes = 0  # of what came last

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Part of asyncio.Protocol."""
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Part of asyncio.Protocol; what comes after a response belongs to the next head."""
        if self._head_timer is None and self.cycle is not None and self.cycle.response_complete:
            self._await_head()
        self._piece_bytes = len(data)
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
        """Part of uvicorn's: the connection is the edge's from now on. RFC 6455 4.2.1 asks for HTTP/1.1."""
        if self.scope["http_version"] != "1.1":
            self.send_400_response("A WebSocket needs HTTP/1.1.")
            return
        if self._speaks_early():
            self.send_400_response("A WebSocket client waits for the answers to its requests.")
            return
        self.resume_writing()
        self.connections.discard(self)
        connection = Connection(self.config, self.server_state, self.transport)
        self.transport.set_protocol(connection)
        connection.ask(cast(Scope, self.scope), self.url)
        self.parser = cast(Any, None)  # which holds this object, as this object holds it

    def _speaks_early(self) -> bool:
        """Whether an answer is due before that to the upgrade, or frames came behind its head (RFC 6455 4.1).

        uvicorn would mix the answers, and forget the frames.
        """
        if self.cycle is not None and not self.cycle.response_complete:
            return True
        upgrade = sys.exc_info()[1]  # uvicorn calls from where it handles it
        return isinstance(upgrade, HttpParserUpgrade) and upgrade.args[0] < self._piece_bytes

    def on_response_complete(self) -> None:
        """Part of uvicorn's."""
        super().on_response_complete()
        self._await_end()

    def send_400_response(self, msg: str) -> None:
        """Part of uvicorn's."""
        super().send_400_response(msg)
        self._await_end()

    def timeout_keep_alive_handler(self) -> None:
        """Part of uvicorn's."""
        super().timeout_keep_alive_handler()
        self._await_end()

    def pause_writing(self) -> None:
        """Part of asyncio.Protocol: much waits to be read."""
        super().pause_writing()
        self._await_reader()

    def resume_writing(self) -> None:
        """Part of asyncio.Protocol."""
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None
        super().resume_writing()

    def _await_end(self) -> None:
        """A closed transport stays until all is read, so with a limit."""
        if self.transport.is_closing():
            self._await_reader()

    def _await_reader(self) -> None:
        if self._read_timer is None:
            self._read_timer = self.loop.call_later(READ_LIMIT_S, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Part of asyncio.Protocol."""
        self._stop_timer()
        self.resume_writing()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        self._head_bytes = 0
        self._head_timer = self.loop.call_later(HEAD_LIMIT_S, self.transport.abort)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
