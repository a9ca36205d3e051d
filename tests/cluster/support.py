"""A cluster in one process for the tests: real Valkey, real nodes on ephemeral ports, real WebSockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import redis
import websockets
from websockets.asyncio.client import ClientConnection, connect

from cluster import metrics
from cluster.app import Service
from cluster.auth import Grant, Signer, new_id
from cluster.protocol.messages import LeaveReason, RoomId
from cluster.room import Member
from cluster.server import Server
from cluster.settings import Settings, Timing
from cluster.store.base import Admission, JoinRequest, Record
from cluster.store.valkey import EmbeddedValkey
from cluster.up.links import make_pairing
from tests import eventually

SECRET = "s" * 32
TIMING = Timing(beat_s=0.3, settle_s=0.8)
"""Quick to notice, slow to give up: a machine that stands still for some seconds loses nobody."""
SHORT_GRACE = Timing(beat_s=0.3, resume_grace_s=0.3, settle_s=0.8)
"""For tests that wait until somebody is lost."""
LIMIT_S = 10.0

T = TypeVar("T")


@contextlib.contextmanager
def valkey() -> Iterator[EmbeddedValkey]:
    server = EmbeddedValkey()
    server.start()
    try:
        yield server
    finally:
        server.stop()


def base_settings(redis_url: str, **changes: Any) -> Settings:
    settings = Settings(
        redis_url=redis_url,
        secret=SECRET,
        port=0,
        drain_s=0.2,
        timing=TIMING,
        connections_per_10s=1_000_000,  # all tests come from one address
        ip_messages_per_10s=1_000_000,
        room_messages_per_10s=1_000_000,
    )
    return replace(settings, **changes)


@dataclass
class RunningNode:
    service: Service
    server: Server
    port: int
    stop: Callable[[], None] = field(repr=False)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"


@contextlib.asynccontextmanager
async def node(settings: Settings, *, alone: bool = True) -> AsyncIterator[RunningNode]:
    """One node; `alone` skips the wait of joins after a new epoch."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    service = Service(settings, alone=alone)
    server = service.server()
    async with service.running():
        task = asyncio.create_task(server._serve([listener]))
        await until(lambda: server.started)
        try:
            yield RunningNode(
                service, server, listener.getsockname()[1], lambda: server.stop(at_once=True)
            )
        finally:
            server.stop(at_once=True)
            await asyncio.wait_for(task, LIMIT_S)


def sample(name: str, **labels: str) -> float:
    """The value of one series of this process's metrics."""
    return metrics.REGISTRY.get_sample_value(name, labels) or 0.0


async def until(condition: Callable[[], object], limit_s: float = LIMIT_S) -> None:
    """Poll until true; fail at the limit."""
    await eventually.until(condition, limit_s=limit_s)


async def within_limit(awaitable: Awaitable[T]) -> T:
    async with asyncio.timeout(LIMIT_S):
        return await awaitable


def hold_joins(service: Service) -> tuple[asyncio.Event, asyncio.Event]:
    """From now on the answers of joins wait: the first event says that one is in Redis, the second frees them."""
    join, in_redis, go_on = service.store.join, asyncio.Event(), asyncio.Event()

    async def held(request: JoinRequest) -> Admission:
        admission = await join(request)
        in_redis.set()
        await go_on.wait()
        return admission

    service.store.join = held  # type: ignore[method-assign]
    return in_redis, go_on


def hold_leaves(service: Service) -> asyncio.Event:
    """From now on Redis hears of no leave until the event is set."""
    leave, go_on = service.store.leave, asyncio.Event()

    async def held(room: RoomId, member: Member, reason: LeaveReason) -> Record:
        await go_on.wait()
        return await leave(room, member, reason)

    service.store.leave = held  # type: ignore[method-assign]
    return go_on


def token(kind: str = "host", room: str = "r", role: str | None = None, **claims: Any) -> str:
    grant = Grant(kind, RoomId(room), role or "host", **claims)  # type: ignore[arg-type]
    return Signer(SECRET).issue(grant, int(time.time()))


def pairing(redis_url: str, room: str = "r", role: Any = "player") -> str:
    return make_pairing(redis.Redis.from_url(redis_url), room, role)


class Peer:
    """A Tightbeam client that speaks the wire format by hand."""

    def __init__(self, socket: ClientConnection, welcome: dict[str, Any]) -> None:
        self.socket = socket
        self.welcome = welcome
        self.id: str = welcome.get("peer", "")

    async def send(self, **message: Any) -> None:
        await self.socket.send(json.dumps(message))

    async def sync(self, to: str, text: str = "x", **changes: Any) -> str:
        message = {
            "type": "sync",
            "to": to,
            "from": self.id,
            "negotiation": new_id(),
            "at": 0,
            "items": [{"type": "offer", "sdp": text}],
            "has": 0,
        } | changes
        await self.send(**message)
        return json.dumps(message)

    async def get(self, kind: str | None = None) -> dict[str, Any]:
        """The next message, or the next of a type."""
        async with asyncio.timeout(LIMIT_S):
            while True:
                message: dict[str, Any] = json.loads(await self.socket.recv())
                if kind is None or message["type"] == kind:
                    return message

    async def closed(self) -> tuple[int | None, str | None]:
        async with asyncio.timeout(LIMIT_S):
            await self.socket.wait_closed()
        return self.socket.close_code, self.socket.close_reason

    async def leave(self) -> None:
        await self.send(type="bye", reason="test")
        await self.closed()


async def open_socket(url: str, **options: Any) -> ClientConnection:
    options.setdefault("subprotocols", ["tightbeam.v1"])
    return await connect(f"{url}/ws", compression=None, open_timeout=LIMIT_S, **options)


async def hello(url: str, room: str = "r", role: str = "player", **keys: Any) -> Peer:
    """Connect and say hello; `welcome` holds the first answer, whatever it is."""
    options = keys.pop("options", {})
    socket = await open_socket(url, **options)
    peer = Peer(socket, {})
    await peer.send(type="hello", room=room, role=role, **keys)
    peer.welcome = await peer.get()
    peer.id = peer.welcome.get("peer", "")
    return peer


async def host(url: str, room: str = "r", **keys: Any) -> Peer:
    return await hello(url, room, "host", token=token(room=room), **keys)


async def plain(url: str, room: str = "p", path: str = "/", **options: Any) -> ClientConnection:
    query = options.pop("query", "")
    return await connect(
        f"{url}{path}?roomId={room}{query}", compression=None, open_timeout=LIMIT_S, **options
    )


async def receive(socket: ClientConnection) -> Any:
    async with asyncio.timeout(LIMIT_S):
        return json.loads(await socket.recv())


async def closing(socket: ClientConnection) -> tuple[int | None, str | None]:
    """Read until the close; its code and reason."""
    async with asyncio.timeout(LIMIT_S):
        with contextlib.suppress(websockets.ConnectionClosed):
            while True:
                await socket.recv()
    return socket.close_code, socket.close_reason
