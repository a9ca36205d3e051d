"""The root of a node's process: builds the store, the bus, the node and the web application, and serves."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator
from types import FrameType
from typing import Final
from urllib.parse import parse_qs

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from cluster import metrics
from cluster.access import AccessRule
from cluster.auth import Signer
from cluster.bus.base import Letter
from cluster.bus.redis import RedisBus
from cluster.drain import Drain
from cluster.head import HttpConnection
from cluster.node import Node
from cluster.page import SECURITY_HEADERS, Page
from cluster.plain import PlainSession
from cluster.protocol import closes
from cluster.protocol.closes import Close
from cluster.protocol.messages import ROOM_PATTERN, RoomId
from cluster.resp import Address, Link, RespConnection
from cluster.room import NodeId
from cluster.session import Session
from cluster.settings import Settings, SettingsError, check_pairing
from cluster.store.base import StoreUnavailable
from cluster.store.redis import RedisStore, load_scripts
from cluster.store.valkey import EmbeddedValkey
from cluster.websocket import EXTENSION, Connection

log = logging.getLogger(__name__)

SUBPROTOCOL: Final = "tightbeam.v1"
START_WAIT_S: Final = 10.0
KEEP_ALIVE_S: Final = 10
WATCH_S: Final = 0.5
BIND_ADVICE: Final = {
    errno.EADDRINUSE: "another program uses this port, choose another one with --port",
    errno.EACCES: "this port needs privileges, choose one from 1024 on with --port",
}


class Service:
    """One node with its edges; `run` keeps its background work."""

    def __init__(self, settings: Settings, *, alone: bool = False) -> None:
        if settings.redis_url is None:
            raise ValueError("a service needs redis_url; `tightbeam node` embeds a server")
        self.settings = settings
        address = Address.parse(settings.redis_url)
        self.node = Node(NodeId(secrets.token_hex(8)), settings.timing)
        self._link = Link(address, self._redis_up)
        self.bus = RedisBus(self._link, address, self.node.id, self._receive)
        self.store = RedisStore(self._link, self.node.id, settings.timing, alone=alone)
        self.bus.on_subscribed = self.node.redis_back
        self.node.attach(self.store, self.bus)
        self.access = AccessRule.make(
            settings.host,
            (*settings.allowed_hosts, socket.gethostname()),
            settings.allowed_origins,
            loopback=settings.loopback,
        )
        self.sessions: set[Session | PlainSession] = set()
        self.drain = Drain(lambda: self.sessions, settings.drain_s)
        self._signer = Signer(settings.secret) if settings.secret is not None else None

    def _receive(self, letter: Letter) -> None:
        self.node.receive(letter)

    async def _redis_up(self, connection: RespConnection) -> None:
        await load_scripts(connection)
        self.node.redis_back()

    async def signer(self) -> Signer:
        """The signer of the cluster's secret; raises StoreUnavailable before Redis was ever reached."""
        if self._signer is not None:
            return self._signer
        return Signer(await self.store.secret())

    @property
    def ready(self) -> bool:
        """Peers can join here."""
        return self.node.ready and not self.drain.active

    async def run(self) -> None:
        """Until cancelled: the command connection, the subscription and the beats."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._link.run())
            tasks.create_task(self.bus.run())
            tasks.create_task(self.node.run())

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        """The background work as a scope; waits a limited time until the node is ready.

        Raises RuntimeError at the end when the work ended by itself.
        """
        work = asyncio.create_task(self.run())
        work.add_done_callback(_log_failure)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(START_WAIT_S):
                    while not self.node.ready and not work.done():  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
            yield work
            await self.node.settle(1.0)
        finally:
            work.cancel()
            await asyncio.wait([work])
        if not work.cancelled():
            raise RuntimeError("the node's background work has failed; its log says why")

    # HTTP

    async def healthz(self, _request: Request) -> Response:
        """Alive."""
        return PlainTextResponse("ok\n")

    async def readyz(self, request: Request) -> Response:
        """Fit for new peers; `?local=1` leaves Redis out."""
        fine = not self.drain.active and (
            request.query_params.get("local") == "1" or self.node.ready
        )
        return PlainTextResponse("ready\n" if fine else "not ready\n", 200 if fine else 503)

    async def metrics(self, _request: Request) -> Response:
        """The Prometheus exposition."""
        metrics.SUBSCRIBED.set(int(self.bus.up))
        return Response(metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")

    # WebSockets

    async def websocket(self, websocket: WebSocket) -> None:
        """Both dialects; returns when the socket is gone."""
        connection: Connection = websocket.scope["extensions"][EXTENSION]
        connection.send_buffer_bytes = self.settings.send_buffer_bytes
        await websocket.receive()  # websocket.connect
        tightbeam = SUBPROTOCOL in websocket.scope["subprotocols"] and websocket.url.path == "/ws"
        session: Session | PlainSession | None = None
        refusal = self._refusal(websocket)
        if refusal is None:
            try:
                if tightbeam:
                    session = Session(connection, self.node, await self.signer(), self.settings)
                else:
                    session, refusal = await self._plain(connection, websocket)
            except StoreUnavailable as error:
                log.warning("socket refused: %s", error, extra={"connection": connection.id})
                refusal = closes.UNAVAILABLE
        others = (name for name in websocket.scope["subprotocols"] if name != SUBPROTOCOL)
        chosen = SUBPROTOCOL if tightbeam else next(others, None)
        if session is None:
            if not connection.closed.done():
                await websocket.accept(subprotocol=chosen)
            connection.refuse(refusal or closes.INTERNAL)
            await connection.closed
            return
        self.sessions.add(session)
        try:
            if not connection.closed.done():
                await websocket.accept(subprotocol=chosen)
            connection.attach(session)
            if isinstance(session, PlainSession):
                session.opened()
            if self.drain.active:
                session.finish()
            await connection.closed
        finally:  # whatever went wrong: a session that has joined must leave
            self.sessions.discard(session)
            session.on_closed()

    def _refusal(self, websocket: WebSocket) -> Close | None:
        if self.drain.active:
            return closes.DRAINING
        verdict = self.access.judge(websocket.headers.get("origin"), websocket.headers.get("host"))
        if verdict == "ok":
            return None
        metrics.AUTH_FAILURES.labels(verdict).inc()
        return closes.ORIGIN if verdict == "origin" else closes.HOST_HEADER

    async def _plain(
        self, connection: Connection, websocket: WebSocket
    ) -> tuple[PlainSession | None, Close | None]:
        query = parse_qs(websocket.scope["query_string"].decode("latin-1"))
        room = query.get("roomId", [""])[0]
        if not ROOM_PATTERN.fullmatch(room):
            return None, closes.INVALID_ROOM
        session = PlainSession(
            connection, RoomId(room), self.node, await self.signer(), self.settings
        )
        refusal = await session.join(query.get("token", [None])[0])
        return (session, None) if refusal is None else (None, refusal)

    def application(self) -> ASGIApp:
        """The routes of docs/protocol.md 1."""
        routes = [
            Route("/healthz", self.healthz),
            Route("/readyz", self.readyz),
            Route("/metrics", self.metrics),
            WebSocketRoute("/", self.websocket),
            WebSocketRoute("/ws", self.websocket),
            Route("/{path:path}", Page(self.access).respond),
        ]
        return SecurityHeaders(Starlette(routes=routes))


def _log_failure(work: asyncio.Task[None]) -> None:
    if not work.cancelled():
        log.error("the node's background work has failed", exc_info=work.exception())


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

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service
        self._draining: asyncio.Task[None] | None = None
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
        """Begin the drain, or end it when it has begun."""
        if at_once or self._draining is not None:
            self.should_exit = True
            return
        self._draining = asyncio.get_running_loop().create_task(self._drain())

    async def _drain(self) -> None:
        log.info("draining %d sockets", len(self._service.sessions))
        await self._service.drain.run()
        self.should_exit = True


def make_server(service: Service) -> Server:
    """The configured server; not started."""
    settings = service.settings
    config = uvicorn.Config(
        service.application(),
        http=HttpConnection,
        ws=Connection,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        date_header=True,
        ws_max_size=settings.message_bytes,
        ws_ping_interval=settings.heartbeat_s or None,
        ws_ping_timeout=settings.heartbeat_s or None,
        ws_per_message_deflate=False,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=3,
        backlog=2048,
    )
    return Server(config, service)


def listen(settings: Settings) -> socket.socket:
    """The listening socket: a passed one, or a new one; raises OSError or SettingsError in words."""
    fd = settings.listen_fd
    listener = _bind(settings) if fd is None else socket.socket(fileno=fd)
    try:  # what it is really bound to: a passed socket has nothing to do with --host
        check_pairing(settings, str(listener.getsockname()[0]))
    except SettingsError:
        listener.close()
        raise
    return listener


def _bind(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        advice = BIND_ADVICE.get(error.errno or 0, "choose an address of this machine with --host")
        raise OSError(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror}: {advice}"
        ) from None
    listener.setblocking(False)
    os.set_inheritable(listener.fileno(), True)
    return listener


def _watch_parent(fd: int, server: Server) -> None:
    """End when the owner is gone: at its death the kernel closes the other end of this pipe."""
    loop = asyncio.get_running_loop()

    def gone() -> None:
        loop.remove_reader(fd)
        loop.call_later(2.0, os._exit, 1)
        server.stop(at_once=True)

    loop.add_reader(fd, gone)


@contextlib.asynccontextmanager
async def _watching(valkey: EmbeddedValkey | None, server: Server) -> AsyncIterator[None]:
    """Stop the server when this node's own Valkey has ended."""

    async def watch(owned: EmbeddedValkey) -> None:
        while owned.running():  # noqa: ASYNC110 - a process that ends sets no event
            await asyncio.sleep(WATCH_S)
        server.stop(at_once=True)

    watcher = asyncio.create_task(watch(valkey)) if valkey is not None else None
    try:
        yield
    finally:
        if watcher is not None:
            watcher.cancel()


async def serve(
    settings: Settings,
    listener: socket.socket,
    *,
    alone: bool,
    valkey: EmbeddedValkey | None = None,
) -> None:
    """Serve until a signal; the listener is closed at the end.

    `valkey` is this node's own server: without it nothing works any more, so its end is an error, in words.
    """
    service = Service(settings, alone=alone)
    server = make_server(service)
    if settings.parent_fd is not None:
        _watch_parent(settings.parent_fd, server)
    async with service.running() as work, _watching(valkey, server):
        work.add_done_callback(lambda _: server.stop(at_once=True))
        if not service.node.ready:
            log.warning("Redis is away: starting anyway, joins are refused until it comes")
        log.info("node %s listens", service.node.id, extra={"node": service.node.id})
        await server.serve([listener])
    if valkey is not None and not valkey.running():
        raise RuntimeError("the embedded Valkey server has ended; start `tightbeam node` again")


def ignore_hangup() -> None:
    """A closed terminal is not a reason to drop everybody."""
    if sys.platform != "win32":
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
