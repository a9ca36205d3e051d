"""The listener of a node and uvicorn's server on it: security headers on every answer, a drain before the end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import AsyncIterator, Iterator
from types import FrameType
from typing import Any, Final

import uvicorn
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cluster.drain import Drain
from cluster.head import HttpConnection
from cluster.page import SECURITY_HEADERS
from cluster.settings import Settings, SettingsError, check_pairing
from cluster.websocket import Connection

KEEP_ALIVE_S: Final = 10
BIND_ADVICE: Final = {
    errno.EADDRINUSE: "another program uses this port, choose another one",
    errno.EACCES: "this port needs privileges, choose one from 1024 on",
}
HOST_ADVICE: Final = "choose an address of this machine with --host"


class SecurityHeaders:
    """Adds the policy to every HTTP response, errors included."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Part of ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, with_headers)


class Server(uvicorn.Server):
    """uvicorn's server that drains first; a second signal ends it at once."""

    def __init__(self, config: uvicorn.Config, drain: Drain) -> None:
        super().__init__(config)
        self._drain = drain
        self._asked = False
        drain.on_over = self._exit
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Remember the loop: signals come outside it."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM or SIGINT: drain, then stop; uvicorn would raise the signal again at the end."""
        if self._loop is None:
            raise SystemExit(0)
        self._loop.call_soon_threadsafe(self.stop)

    def stop(self, *, at_once: bool = False) -> None:
        """Begin the drain, unless it was begun over HTTP already; asked again, end at once."""
        if at_once or self._asked:
            self._exit()
            return
        self._asked = True
        self._drain.begin()

    def _exit(self) -> None:
        self.should_exit = True


class HealthServer(uvicorn.Server):
    """A server whose end comes from elsewhere: signals are not for it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Part of uvicorn.Server."""
        yield


def _config(application: ASGIApp, **options: Any) -> uvicorn.Config:
    """What every server of ours is like, with uvicorn's `options` of this one."""
    return uvicorn.Config(
        SecurityHeaders(application),
        http=HttpConnection,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        **options,
    )


def plain_server(application: ASGIApp) -> HealthServer:
    """A server without WebSockets; not started."""
    return HealthServer(_config(application, ws="none", timeout_graceful_shutdown=1))


@contextlib.asynccontextmanager
async def health_port(application: ASGIApp, settings: Settings) -> AsyncIterator[None]:
    """Answer on HEALTH_PORT too, where there is one; raises OSError in words when it cannot be had."""
    if settings.health_port is None:
        yield
        return
    with _bind(settings.host, settings.health_port, "HEALTH_PORT") as listener:
        server = plain_server(application)
        serving = asyncio.create_task(server.serve([listener]))
        try:
            yield
        finally:
            server.should_exit = server.force_exit = True
            await asyncio.wait([serving])


def make_server(application: ASGIApp, drain: Drain, settings: Settings) -> Server:
    """The configured server; not started."""
    config = _config(
        application,
        ws=Connection,
        ws_max_size=settings.message_bytes,
        ws_ping_interval=settings.heartbeat_s or None,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
        timeout_graceful_shutdown=drain.phases.server_s,  # a float goes on to asyncio.wait_for
    )
    return Server(config, drain)


def listen(settings: Settings) -> socket.socket:
    """The listening socket: a passed one, or a new one; raises OSError or SettingsError in words."""
    fd = settings.listen_fd
    listener = (
        _bind(settings.host, settings.port, "--port") if fd is None else socket.socket(fileno=fd)
    )
    try:  # what it is really bound to: a passed socket has nothing to do with --host
        check_pairing(settings, str(listener.getsockname()[0]))
    except SettingsError:
        listener.close()
        raise
    return listener


def _bind(host: str, port: int, setting: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        advice = BIND_ADVICE.get(error.errno or 0)
        advice = f"{advice} with {setting}" if advice else HOST_ADVICE
        raise OSError(f"cannot listen on {host}:{port}: {error.strerror}: {advice}") from None
    listener.setblocking(False)
    os.set_inheritable(listener.fileno(), True)
    return listener
