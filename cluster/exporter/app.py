"""The root of the exporter's process: one link to Redis, a look every five seconds, and what Prometheus asks for."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Gauge, Histogram, ProcessCollector, generate_latest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from cluster.access import AccessRule
from cluster.exporter.exposition import exposition
from cluster.exporter.fleet import Fleet
from cluster.exporter.sweep import SweepFailed, sweep
from cluster.link import Link
from cluster.page import refused_host
from cluster.redis_url import RedisUrl
from cluster.resp import RedisUnavailable, RespConnection
from cluster.server import plain_server
from cluster.settings import ROWS, Settings, SettingsError

log = logging.getLogger(__name__)

DEFAULT_PORT: Final = 8081
EVERY_S: Final = 5.0
"""Between the begins of two looks: a host speaks every two seconds, and Prometheus asks every 15 or 30."""
STALE_S: Final = 3 * EVERY_S
"""Without a whole look for this long, what is shown is the past."""
FIELDS: Final = ("host", "port", "redis_url", "allowed_hosts", "log_format", "log_level")


def environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """What concerns the exporter of an environment that it may share with nodes."""
    environ = os.environ if environ is None else environ
    names = [name for row in ROWS if row.field in FIELDS for name in row.names]
    return {"PORT": str(DEFAULT_PORT)} | {name: environ[name] for name in names if name in environ}


class Exporter:
    """Looks at Redis and answers; `every_s` is its pace. Raises SettingsError without a Redis."""

    def __init__(self, settings: Settings, every_s: float = EVERY_S) -> None:
        if settings.redis_url is None:
            raise SettingsError(
                "REDIS_URL: the exporter reads the Redis of the cluster: say where it is"
            )
        self.fleet = Fleet()
        self._access = AccessRule.make(
            settings.host,
            (*settings.allowed_hosts, socket.gethostname()),
            (),
            loopback=settings.loopback,
        )
        self._link = Link(RedisUrl.parse(settings.redis_url), self._connected)
        self._every_s = every_s
        self._looked_at: float | None = None  # monotonic
        self._words = ""
        self._back = asyncio.Event()
        self._registry = CollectorRegistry()
        ProcessCollector(namespace="tightbeam_fleet", registry=self._registry)
        self._redis_up = Gauge(
            "tightbeam_fleet_redis_up", "1 while Redis is connected.", registry=self._registry
        )
        self._newest = Gauge(
            "tightbeam_fleet_last_look_timestamp_seconds",
            "When all hosts in Redis had last been looked at.",
            registry=self._registry,
        )
        self._took = Histogram(
            "tightbeam_fleet_look_seconds",
            "Time to look at all hosts in Redis.",
            registry=self._registry,
            buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
        )

    async def _connected(self, connection: RespConnection) -> None:
        """A server needs no preparation; what is there is looked at right after this."""
        self._back.set()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._link.run())
            tasks.create_task(self._look())

    async def _look(self) -> None:
        while True:
            began = time.monotonic()
            self._back.clear()
            with contextlib.suppress(RedisUnavailable):  # the link says it, and comes back
                connection = self._link.current()
                try:
                    await sweep(connection, self.fleet, time.time)
                except SweepFailed as failure:
                    self._complain(str(failure))
                else:
                    self._words = ""
                    self._looked_at = time.monotonic()
                    self._took.observe(self._looked_at - began)
                    self._newest.set(time.time())
            rest_s = max(0.1, began + self._every_s - time.monotonic())
            with contextlib.suppress(TimeoutError):
                # Not wait_for: that of Python 3.11 may swallow a cancellation.
                async with asyncio.timeout(rest_s):
                    await self._back.wait()

    def _complain(self, words: str) -> None:
        if words != self._words:
            log.warning("the hosts in Redis cannot be looked at: %s", words)
            self._words = words

    # HTTP

    def problem(self) -> str | None:
        """Why what is shown is not how the fleet is now, in words; None when it is."""
        why = f": {self._words}" if self._words else ""
        if self._looked_at is None:
            return f"the hosts in Redis were not looked at yet, see REDIS_URL{why}"
        ago_s = time.monotonic() - self._looked_at
        if ago_s <= STALE_S:
            return None
        return f"the last whole look at Redis is {ago_s:.0f} s old{why}"

    async def healthz(self, _request: Request) -> Response:
        """Alive."""
        return PlainTextResponse("ok\n")

    async def readyz(self, _request: Request) -> Response:
        """Fresh."""
        problem = self.problem()
        words = "ready" if problem is None else f"not ready: {problem}"
        return PlainTextResponse(f"{words}\n", 200 if problem is None else 503)

    async def metrics(self, request: Request) -> Response:
        """The Prometheus exposition; it names hosts, so not for a web page of a foreign name (DNS rebinding)."""
        if not self._access.scrape_allowed(request.headers.get("host")):
            return refused_host()
        kind = "text/plain; version=0.0.4; charset=utf-8"
        return Response(self.exposition(), media_type=kind)

    def exposition(self) -> bytes:
        """Of the fleet and of this process."""
        self._redis_up.set(int(self._link.up))
        return generate_latest(self._registry) + exposition(self.fleet)

    def application(self) -> Starlette:
        """What its port answers."""
        routes = [
            Route("/healthz", self.healthz),
            Route("/readyz", self.readyz),
            Route("/metrics", self.metrics),
        ]
        return Starlette(
            routes=routes, middleware=[Middleware(GZipMiddleware, 4096, compresslevel=1)]
        )

    @contextlib.asynccontextmanager
    async def serving(self, listener: socket.socket) -> AsyncIterator[asyncio.Task[None]]:
        """Its port and its looks as a scope; the task ends only when something failed."""
        server = plain_server(self.application())
        answering = asyncio.create_task(server.serve([listener]))
        work = asyncio.create_task(self.run())
        try:
            yield work
        finally:
            server.should_exit = True
            work.cancel()
            await asyncio.wait([work, answering])


async def serve(settings: Settings, listener: socket.socket) -> None:
    """Until a signal; raises what ended the work before."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    exporter = Exporter(settings)
    async with exporter.serving(listener) as work:
        log.info("the exporter listens on %s:%d", *listener.getsockname()[:2])
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait([work, stopped], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if work.done():
            work.result()
