"""The echo servers of S1 in Python, all on uvloop; `python echo_server.py KIND` prints the port.

ours               the node's own `Connection` on its own uvicorn server, with a receiver that echoes
websockets, websockets-sansio   uvicorn's two implementations below a Starlette application
picows             picows' own server: framing in Cython, no HTTP application around it
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any


def listen() -> socket.socket:
    """A listener whose port is on standard output."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    print(listener.getsockname()[1], flush=True)
    return listener


async def serve_ours() -> None:
    """With all checks of the protocol that the node makes, without a session."""
    from starlette.applications import Starlette
    from starlette.routing import WebSocketRoute
    from starlette.websockets import WebSocket

    from cluster.drain import Drain
    from cluster.server import make_server
    from cluster.settings import Settings
    from cluster.websocket import EXTENSION, Connection

    class Echo:
        """A receiver that says back what it hears."""

        def __init__(self, connection: Connection) -> None:
            self._connection = connection

        def on_frame(self, frame: bytes, *, is_text: bool) -> None:
            """See Receiver."""
            self._connection.send_frame(frame)

    async def enter(websocket: WebSocket) -> None:
        connection: Connection = websocket.scope["extensions"][EXTENSION]
        connection.open()
        connection.attach(Echo(connection))
        await connection.closed

    application = Starlette(routes=[WebSocketRoute("/", enter)])
    server = make_server(application, Drain(lambda: (), 0), Settings())
    await server.serve([listen()])


async def serve_starlette(implementation: str) -> None:
    """As Starlette's documentation shows it."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.routing import WebSocketRoute
    from starlette.websockets import WebSocket, WebSocketDisconnect

    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            while True:
                await websocket.send_text(await websocket.receive_text())
        except WebSocketDisconnect:
            pass

    kind: Any = implementation
    application = Starlette(routes=[WebSocketRoute("/", echo)])
    config = uvicorn.Config(
        application, ws=kind, ws_per_message_deflate=False, lifespan="off", log_level="warning"
    )
    await uvicorn.Server(config).serve([listen()])


async def serve_picows() -> None:
    """As picows' documentation shows it."""
    import picows

    class Echo(picows.WSListener):  # type: ignore[misc]
        """A listener that says back what it hears."""

        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            """Part of picows."""
            if frame.msg_type == picows.WSMsgType.CLOSE:
                transport.send_close(frame.get_close_code(), frame.get_close_message())
                transport.disconnect()
            else:
                transport.send(frame.msg_type, frame.get_payload_as_bytes())

    server = await picows.ws_create_server(lambda _request: Echo(), sock=listen())
    await server.serve_forever()


def main(kind: str) -> None:
    """Until a signal."""
    import uvloop

    if kind == "ours":
        uvloop.run(serve_ours())
    elif kind == "picows":
        uvloop.run(serve_picows())
    else:
        uvloop.run(serve_starlette(kind))


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(0)
