"""The door: whether a new WebSocket may come in, in which dialect, and its session until the socket is gone."""

from __future__ import annotations

import logging
from typing import Final
from urllib.parse import parse_qs

from starlette.websockets import WebSocket

from cluster import metrics
from cluster.access import AccessRule
from cluster.auth import Signer
from cluster.drain import Drain
from cluster.node import Node
from cluster.plain import PlainSession
from cluster.protocol import closes
from cluster.protocol.closes import Close
from cluster.protocol.messages import ROOM_PATTERN, RoomId
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

    async def enter(self, websocket: WebSocket) -> None:
        """Both dialects; returns when the socket is gone."""
        connection: Connection = websocket.scope["extensions"][EXTENSION]
        connection.send_buffer_bytes = self._settings.send_buffer_bytes
        await websocket.receive()  # websocket.connect
        tightbeam = SUBPROTOCOL in websocket.scope["subprotocols"] and websocket.url.path == "/ws"
        session: Session | PlainSession | None = None
        refusal = self._refusal(websocket)
        if refusal is None:
            try:
                if tightbeam:
                    session = Session(connection, self._node, await self._signer(), self._settings)
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
            connection, RoomId(room), self._node, await self._signer(), self._settings
        )
        refusal = await session.join(query.get("token", [None])[0])
        return (session, None) if refusal is None else (None, refusal)

    async def _signer(self) -> Signer:
        """The signer of the cluster's secret; raises StoreUnavailable before Redis was ever reached."""
        return Signer(self._settings.secret or await self._store.secret())
