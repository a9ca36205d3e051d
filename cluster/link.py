"""The way to Redis: finds the server, connects, keeps one connection, and comes back after a loss."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import re
import time
from collections.abc import Awaitable, Callable
from typing import Final

from cluster import metrics
from cluster.redis_url import Credentials, RedisUrl, Server
from cluster.resp import RedisRefused, RedisUnavailable, Reply, RespConnection

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S: Final = 2.0
OVERDUE_S: Final = 1.0
"""Half of what a command may take, and a hundred times what one takes."""
BACKOFF_S: Final = (0.05, 1.0)
REMIND_S: Final = 30.0
RUN_ID: Final = re.compile(rb"^run_id:(\w+)", re.MULTILINE)
"""Of `INFO server`: 40 hexadecimal digits, random at each start of the server's process."""

OnPush = Callable[[list[Reply]], None]


async def connect(url: RedisUrl, on_push: OnPush | None = None) -> RespConnection:
    """A connection to the primary, authenticated and on its database; raises RedisUnavailable."""
    if url.primary is None:
        return await _connect_to(url, url.servers[0] if url.servers else None, on_push)
    connection = await _connect_to(url, await _find_primary(url, url.primary), on_push)
    role = await _call(connection, "ROLE")
    if type(role) is not list or role[:1] != [b"master"]:
        connection.abort()
        raise RedisUnavailable("the server that the sentinels name is not the primary (yet)")
    return connection


async def _connect_to(
    url: RedisUrl, server: Server | None, on_push: OnPush | None
) -> RespConnection:
    connection = await _open(url, server, url.user, on_push)
    if url.db:
        await _call(connection, "SELECT", url.db)
    facts = await _call(connection, "INFO", "server")
    found = RUN_ID.search(facts) if type(facts) is bytes else None
    if found is None:
        connection.abort()
        raise RedisUnavailable("INFO server names no run_id: without it a failover cannot be told")
    connection.server = found[1].decode()
    return connection


async def _open(
    url: RedisUrl, server: Server | None, user: Credentials, on_push: OnPush | None = None
) -> RespConnection:
    loop = asyncio.get_running_loop()
    connection = RespConnection(on_push)
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            if server is None:
                await loop.create_unix_connection(lambda: connection, url.path)
            else:
                await loop.create_connection(
                    lambda: connection, server.host, server.port, ssl=url.tls
                )
    # TimeoutError, ssl.SSLError and CertificateError are OSErrors; a host that is none is a ValueError.
    except (OSError, ValueError, OverflowError) as error:
        connection.abort()
        where = url.path if server is None else f"{server.host}:{server.port}"
        raise RedisUnavailable(f"cannot connect to {where}: {str(error) or 'no answer'}") from None
    if user.password is not None:
        name = () if user.username is None else (user.username,)
        await _call(connection, "AUTH", *name, user.password)
    await _call(connection, "PING")
    return connection


async def _call(connection: RespConnection, *command: str | int) -> Reply:
    """One command while connecting; whatever goes wrong ends the connection."""
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            return await connection.call(*command)
    except (TimeoutError, RedisRefused, RedisUnavailable) as error:
        connection.abort()
        raise RedisUnavailable(f"Redis, {command[0]}: {str(error) or 'no answer'}") from None


async def _find_primary(url: RedisUrl, name: str) -> Server:
    """Ask the sentinels in turn; raises RedisUnavailable when none of them knows."""
    words = []
    for sentinel in random.sample(url.servers, len(url.servers)):
        try:
            connection = await _open(url, sentinel, url.sentinel_user)
            try:
                found = await _call(connection, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", name)
            finally:
                connection.abort()
        except RedisUnavailable as error:
            words.append(str(error))
            continue
        match found:
            case [bytes(host), bytes(port)] if port.isdigit() and int(port) < 1 << 16:
                return Server(host.decode("latin-1"), int(port))
            case None:
                words.append(f"{sentinel.host}:{sentinel.port} does not know {name!r}")
            case _:
                words.append(f"{sentinel.host}:{sentinel.port} is no sentinel")
    raise RedisUnavailable("no sentinel names the primary: " + "; ".join(words))


class Link:
    """Keeps one connection: connects, calls `on_up`, waits for the loss, backs off, again."""

    def __init__(
        self,
        url: RedisUrl,
        on_up: Callable[[RespConnection], Awaitable[None]],
        on_push: OnPush | None = None,
    ) -> None:
        self._url = url
        self._on_up = on_up
        self._on_push = on_push
        self._connection: RespConnection | None = None
        self.lost_at = 0.0
        """When the last connection was given up or lost; monotonic, 0: none was."""
        self._words = ""
        self._said_at = 0.0

    @property
    def up(self) -> bool:
        """True while connected and prepared by `on_up`."""
        return self._connection is not None

    @property
    def answers(self) -> bool:
        """`up`, and no reply is overdue: it may come all the same, before the connection is given up."""
        return self._connection is not None and self._connection.waits_s < OVERDUE_S

    def current(self) -> RespConnection:
        """The connection; raises RedisUnavailable while there is none."""
        if self._connection is None:
            raise RedisUnavailable("Redis is away")
        return self._connection

    def restart(self) -> None:
        """Drop the connection; a new one is made."""
        if self._connection is not None:
            self._connection.abort()

    def _complain(self, words: str) -> None:
        """Once, and again now and then: an outage lasts, and every node has two links."""
        now = time.monotonic()
        if words != self._words or now > self._said_at + REMIND_S:
            log.warning("Redis: %s; trying again, every %g s at the most", words, BACKOFF_S[1])
            self._words, self._said_at = words, now

    async def run(self) -> None:
        """Until cancelled."""
        delay = BACKOFF_S[0]
        while True:
            connection = None
            try:
                connection = await connect(self._url, self._on_push)
                await self._on_up(connection)
                self._connection = connection
                self._words = ""
                delay = BACKOFF_S[0]
                await asyncio.shield(connection.lost)
                log.warning("the connection to Redis was lost")
            except (RedisUnavailable, RedisRefused) as error:
                metrics.REDIS_ERRORS.labels("connect").inc()
                self._complain(str(error))
            finally:
                if self._connection is not None:
                    self.lost_at = time.monotonic()
                self._connection = None
                if connection is not None:
                    connection.abort()
            with contextlib.suppress(TimeoutError):
                await asyncio.sleep(delay * random.uniform(0.75, 1.0))  # noqa: S311 - jitter
            delay = min(delay * 2, BACKOFF_S[1])
