"""The door: whether a new WebSocket may come in, in which dialect, and its session until the socket is gone."""

from __future__ import annotations

import asyncio
import logging
from urllib.parse import parse_qs

from starlette.types import Scope
from starlette.websockets import WebSocket

from cluster import metrics
from cluster.access import AccessRule
from cluster.credentials import Credentials
from cluster.drain import Drain
from cluster.limits import Limits
from cluster.node import Node
from cluster.plain import PlainSession, draining
from cluster.protocol import closes
from cluster.protocol.closes import Close
from cluster.protocol.messages import ROOM_PATTERN, SUBPROTOCOL, RoomId
from cluster.proxies import Client, Proxies
from cluster.session import Session
from cluster.settings import Settings
from cluster.store.base import Store
from cluster.websocket import EXTENSION, Connection

log = logging.getLogger(__name__)


class Door:
    """Builds the sessions of a node and holds them while they last; `drain` sends them away."""

    def __init__(self, node: Node, store: Store, access: AccessRule, settings: Settings) -> None:
        self.sessions: set[Session | PlainSession] = set()
        self.drain = Drain(lambda: self.sessions, settings.drain_s)
        self._node = node
        self.credentials = Credentials(store, settings)
        self._access = access
        self._settings = settings
        self._proxies = Proxies(settings.trusted_proxies)
        self.limits = Limits(
            settings.messages_per_10s,
            settings.ip_messages_per_10s,
            settings.room_messages_per_10s,
            settings.ip_messages_per_10s // settings.connections_per_10s,
        )

    async def enter(self, websocket: WebSocket) -> None:
        """Both dialects; returns when the peer is let in, or turned away and gone."""
        connection: Connection = websocket.scope["extensions"][EXTENSION]
        connection.send_buffer_bytes = self._settings.send_buffer_bytes
        client = self.client(websocket)
        allowance = self.limits.arrive(client.address)
        if allowance is None:
            metrics.RATE_LIMITED.labels("waiting").inc()
            await self._turn_away(connection, websocket.scope, closes.RATE_LIMITED)
            return
        connection.limit = allowance
        loop = asyncio.get_running_loop()
        connection.closed.add_done_callback(lambda _: allowance.leave(loop.time()))
        admitted = self._refusal(websocket, client) or await self._admit(
            connection, websocket.scope
        )
        if isinstance(admitted, Close):
            await self._turn_away(connection, websocket.scope, admitted)
        else:
            self._let_in(connection, websocket.scope, admitted)

    def client(self, websocket: WebSocket) -> Client:
        """Who connects: the socket's peer, or whom a trusted proxy names."""
        scope = websocket.scope
        peer = scope["client"][0] if scope["client"] else None
        return self._proxies.client(peer, scope["headers"], tls=scope["scheme"] == "wss")

    def _refusal(self, websocket: WebSocket, client: Client) -> Close | None:
        """What there is to say against it before Redis, or a credential, is asked."""
        settings, tightbeam = self._settings, _is_tightbeam(websocket.scope)
        if self.drain.active:
            return closes.DRAINING if tightbeam else draining(settings)
        headers = websocket.headers
        verdict = self._access.judge(headers.get("origin"), headers.get("host"))
        if verdict != "ok":
            metrics.AUTH_FAILURES.labels(verdict).inc()
            return closes.ORIGIN if verdict == "origin" else closes.HOST_HEADER
        if settings.require_wss and not client.came_by_tls:
            metrics.AUTH_FAILURES.labels("wss").inc()
            return closes.WSS
        required = settings.subprotocol
        if not tightbeam and required and required not in websocket.scope["subprotocols"]:
            metrics.AUTH_FAILURES.labels("subprotocol").inc()
            return closes.SUBPROTOCOL
        return None

    async def _admit(self, connection: Connection, scope: Scope) -> Session | PlainSession | Close:
        """A Tightbeam session joins by its hello, a plain one has joined here."""
        if _is_tightbeam(scope):
            return Session(connection, self._node, self.credentials, self._settings)
        query = parse_qs(scope["query_string"].decode("latin-1"))
        room, token = query.get("roomId", [""])[0], query.get("token", [None])[0]
        if self._settings.mode == "pure":
            room, token = f"pure:{self._node.id}", None
        if not ROOM_PATTERN.fullmatch(room):
            return closes.INVALID_ROOM
        session = PlainSession(
            connection, RoomId(room), self._node, self.credentials, self._settings
        )
        return await session.join(token) or session

    def _let_in(
        self, connection: Connection, scope: Scope, session: Session | PlainSession
    ) -> None:
        self.sessions.add(session)
        connection.closed.add_done_callback(lambda _: self._let_go(session))
        connection.open(self._subprotocol(scope))
        connection.attach(session)
        if isinstance(session, PlainSession):
            session.opened()
        if self.drain.active:
            session.drain(0)

    def _let_go(self, session: Session | PlainSession) -> None:
        """The socket is gone, whatever went wrong: a session that has joined must leave."""
        self.sessions.discard(session)
        session.on_closed()

    async def _turn_away(self, connection: Connection, scope: Scope, close: Close) -> None:
        connection.open(self._subprotocol(scope))
        connection.refuse(close)
        await connection.closed

    def _subprotocol(self, scope: Scope) -> str | None:
        """A plain client gets the required one, or the first that means nothing to us."""
        offered, required = scope["subprotocols"], self._settings.subprotocol
        if _is_tightbeam(scope):
            return SUBPROTOCOL
        if required in offered:
            return required
        return next((name for name in offered if name != SUBPROTOCOL), None)


def _is_tightbeam(scope: Scope) -> bool:
    return SUBPROTOCOL in scope["subprotocols"] and scope["path"] == "/ws"
