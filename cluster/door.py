"""The door: whether a new WebSocket may come in, in which dialect, and its session until the socket is gone."""

from __future__ import annotations

import asyncio
import logging
from typing import Final
from urllib.parse import parse_qs

from starlette.websockets import WebSocket

from cluster import metrics
from cluster.access import AccessRule
from cluster.auth import Signer
from cluster.drain import Drain
from cluster.limits import Limits
from cluster.node import Node
from cluster.plain import PlainSession
from cluster.protocol import closes
from cluster.protocol.closes import Close
from cluster.protocol.messages import ROOM_PATTERN, RoomId
from cluster.proxies import Client, Proxies
from cluster.session import Session
from cluster.settings import Settings
from cluster.store.base import Store, StoreUnavailable
from cluster.websocket import EXTENSION, Connection

log = logging.getLogger(__name__)

SUBPROTOCOL: Final = "tightbeam.v1"


class Door:
    """Builds the sessions of a node and holds them while they last; `drain` sends them away."""

    def __init__(self, node: Node, store: Store, access: AccessRule, settings: Settings) -> None:
        self.sessions: set[Session | PlainSession] = set()
        self.drain = Drain(lambda: self.sessions, settings.drain_s)
        self._node = node
        self._store = store
        self._access = access
        self._settings = settings
        self._proxies = Proxies(settings.trusted_proxies)
        self.limits = Limits(
            settings.messages_per_10s,
            settings.ip_messages_per_10s,
            settings.room_messages_per_10s,
        )

    async def enter(self, websocket: WebSocket) -> None:
        """Both dialects; returns when the socket is gone."""
        connection: Connection = websocket.scope["extensions"][EXTENSION]
        connection.send_buffer_bytes = self._settings.send_buffer_bytes
        await websocket.receive()  # websocket.connect
        allowance = self.limits.arrive(self.client(websocket).address)
        if allowance is None:
            metrics.RATE_LIMITED.labels("waiting").inc()
            await self._turn_away(connection, websocket, closes.RATE_LIMITED)
            return
        connection.limit = allowance
        try:
            await self._let_in(connection, websocket)
        finally:
            allowance.leave(asyncio.get_running_loop().time())

    def client(self, websocket: WebSocket) -> Client:
        """Who connects: the socket's peer, or whom a trusted proxy names."""
        scope = websocket.scope
        peer = scope["client"][0] if scope["client"] else None
        return self._proxies.client(peer, scope["headers"], tls=scope["scheme"] == "wss")

    async def _let_in(self, connection: Connection, websocket: WebSocket) -> None:
        session: Session | PlainSession | None = None
        refusal = self._refusal(websocket)
        if refusal is None:
            try:
                if _is_tightbeam(websocket):
                    session = Session(connection, self._node, await self.signer(), self._settings)
                else:
                    session, refusal = await self._plain(connection, websocket)
            except StoreUnavailable as error:
                log.warning("socket refused: %s", error, extra={"connection": connection.id})
                refusal = closes.UNAVAILABLE
        if session is None:
            await self._turn_away(connection, websocket, refusal or closes.INTERNAL)
            return
        self.sessions.add(session)
        try:
            await self._accept(connection, websocket)
            connection.attach(session)
            if isinstance(session, PlainSession):
                session.opened()
            if self.drain.active:
                session.drain(0)
            await connection.closed
        finally:  # whatever went wrong: a session that has joined must leave
            self.sessions.discard(session)
            session.on_closed()

    async def _turn_away(self, connection: Connection, websocket: WebSocket, close: Close) -> None:
        await self._accept(connection, websocket)
        connection.refuse(close)
        await connection.closed

    @staticmethod
    async def _accept(connection: Connection, websocket: WebSocket) -> None:
        others = (name for name in websocket.scope["subprotocols"] if name != SUBPROTOCOL)
        chosen = SUBPROTOCOL if _is_tightbeam(websocket) else next(others, None)
        if not connection.closed.done():
            await websocket.accept(subprotocol=chosen)

    def _refusal(self, websocket: WebSocket) -> Close | None:
        if self.drain.active:
            return closes.DRAINING
        verdict = self._access.judge(websocket.headers.get("origin"), websocket.headers.get("host"))
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
            connection, RoomId(room), self._node, await self.signer(), self._settings
        )
        refusal = await session.join(query.get("token", [None])[0])
        return (session, None) if refusal is None else (None, refusal)

    async def signer(self) -> Signer:
        """The signer of the cluster's secret; raises StoreUnavailable before Redis was ever reached."""
        return Signer(self._settings.secret or await self._store.secret())


def _is_tightbeam(websocket: WebSocket) -> bool:
    return SUBPROTOCOL in websocket.scope["subprotocols"] and websocket.url.path == "/ws"
