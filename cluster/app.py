"""The root of a node's process: builds the store, the bus, the node and its door, and serves."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp

from cluster import metrics
from cluster.access import AccessRule
from cluster.admin import DrainDesk
from cluster.bus.base import Letter
from cluster.bus.redis import RedisBus
from cluster.door import Door
from cluster.link import Link
from cluster.node import Node
from cluster.page import Page, refused_host
from cluster.reconciler import Reconciler
from cluster.redis_url import RedisUrl
from cluster.resp import RespConnection
from cluster.room import NodeId
from cluster.server import Server, health_port, make_server
from cluster.settings import Settings, is_loopback
from cluster.store.redis import RedisStore
from cluster.store.valkey import EmbeddedValkey

log = logging.getLogger(__name__)

START_WAIT_S: Final = 10.0


class Service:
    """One node with its edges; `run` keeps its background work."""

    def __init__(self, settings: Settings, *, alone: bool = False) -> None:
        if settings.redis_url is None:
            raise ValueError("a service needs redis_url; `tightbeam node` embeds a server")
        self.settings = settings
        url = RedisUrl.parse(settings.redis_url)
        self.node = Node(NodeId(secrets.token_hex(8)))
        self._link = Link(url, self._redis_up)
        self.bus = RedisBus(self._link, url, self.node.id, self._receive)
        self.store = RedisStore(self._link, self.node.id, settings.timing, alone=alone)
        self.reconciler = Reconciler(self.node, self.store, settings.timing)
        self.bus.on_subscribed = self.reconciler.redis_back
        self.bus.on_unheard = self.reconciler.unheard
        self.node.attach(self.store, self.bus, self.reconciler)
        self.access = AccessRule.make(
            settings.host,
            (*settings.allowed_hosts, socket.gethostname()),
            settings.allowed_origins,
            loopback=settings.loopback,
        )
        self.door = Door(self.node, self.store, self.access, settings)
        self._desk = DrainDesk(self.node.id, self.door.drain, self.door.credentials.signer)

    def _receive(self, letter: Letter) -> None:
        self.node.receive(letter)

    async def _redis_up(self, connection: RespConnection) -> None:
        await self.store.prepare(connection)
        self.bus.follow(connection.server)
        self.reconciler.redis_back()

    async def run(self) -> None:
        """Until cancelled: the command connection, the subscription and the beats."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._link.run())
            tasks.create_task(self.bus.run())
            tasks.create_task(self.reconciler.run())

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
            await self.reconciler.settle(self.door.drain.phases.leaves_s)
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
        fine = not self.door.drain.active and (
            request.query_params.get("local") == "1" or (self.node.ready and self._link.answers)
        )
        return PlainTextResponse("ready\n" if fine else "not ready\n", 200 if fine else 503)

    async def metrics(self, request: Request) -> Response:
        """The Prometheus exposition; not for a web page that got here by a name of its own (DNS rebinding)."""
        if not self.access.scrape_allowed(request.headers.get("host")):
            return refused_host()
        # A Redis that stands still leaves the subscription open; only the commands notice.
        metrics.SUBSCRIBED.set(int(self.bus.up and self.store.up))
        metrics.TASKS.set(len(asyncio.all_tasks()))
        return Response(metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")

    def _health_routes(self) -> list[Route]:
        return [
            Route("/healthz", self.healthz),
            Route("/readyz", self.readyz),
            Route("/metrics", self.metrics),
        ]

    def health(self) -> ASGIApp:
        """What HEALTH_PORT answers."""
        return Starlette(routes=self._health_routes())

    def application(self) -> ASGIApp:
        """The routes of docs/protocol.md 1."""
        health = self._health_routes()
        if self.settings.health_port is not None:  # where clients are, the figures are nobody's
            health = [route for route in health if route.path != "/metrics"]
        routes: list[BaseRoute] = [
            *health,
            Route("/drain", self._desk.respond, methods=["GET", "POST"]),
            WebSocketRoute("/", self.door.enter),
            WebSocketRoute("/ws", self.door.enter),
            Route("/{path:path}", Page(self.access).respond),
        ]
        return Starlette(routes=routes)

    def server(self) -> Server:
        """Its web server; not started."""
        return make_server(self.application(), self.door.drain, self.settings)


def _log_failure(work: asyncio.Task[None]) -> None:
    if not work.cancelled():
        log.error("the node's background work has failed", exc_info=work.exception())


def _watch_parent(fd: int, server: Server) -> None:
    """End when the owner is gone: at its death the kernel closes the other end of this pipe."""
    loop = asyncio.get_running_loop()

    def gone() -> None:
        loop.remove_reader(fd)
        loop.call_later(2.0, os._exit, 1)
        server.stop(at_once=True)

    loop.add_reader(fd, gone)


@contextlib.asynccontextmanager
async def _keeping(valkey: EmbeddedValkey | None, server: Server) -> AsyncIterator[None]:
    """Keep this node's own Valkey; stop the server, and raise ValkeyUnavailable, when that fails."""
    if valkey is None:
        yield
        return
    keeper = asyncio.create_task(valkey.keep())
    keeper.add_done_callback(lambda _: server.stop(at_once=True))
    try:
        yield
    finally:
        keeper.cancel()
        await asyncio.wait([keeper])
    if not keeper.cancelled():
        keeper.result()


def warn_of_open_rooms(settings: Settings, listener: socket.socket) -> None:
    """Say it when strangers can use this node to meet."""
    host = str(listener.getsockname()[0])
    if not settings.auth_required and not is_loopback(host):
        log.warning(
            "plain rooms are open: whoever reaches %s can meet in one without a token;"
            " set ENABLE_AUTH or --mode secure to ask for one",
            host,
        )


async def serve(
    settings: Settings,
    listener: socket.socket,
    *,
    alone: bool,
    valkey: EmbeddedValkey | None = None,
) -> None:
    """Serve until a signal; the listener is closed at the end. `valkey` is this node's own server."""
    service = Service(settings, alone=alone)
    server = service.server()
    if settings.parent_fd is not None:
        _watch_parent(settings.parent_fd, server)
    warn_of_open_rooms(settings, listener)
    async with (
        health_port(service.health(), settings),
        service.running() as work,
        _keeping(valkey, server),
    ):
        work.add_done_callback(lambda _: server.stop(at_once=True))
        if not service.node.ready:
            log.warning("Redis is away: starting anyway, joins are refused until it comes")
        log.info("node %s listens", service.node.id, extra={"node": service.node.id})
        await server.serve([listener])


def ignore_hangup() -> None:
    """A closed terminal is not a reason to drop everybody."""
    if sys.platform != "win32":
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
