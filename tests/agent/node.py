"""A signaling node for tests: docs/protocol.md 3 for one room, in memory, with ways to misbehave."""

import asyncio
import base64
import json
import os
import ssl
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

Json = dict[str, Any]
LIMIT_S = 20.0


def new_id() -> str:
    return base64.urlsafe_b64encode(os.urandom(16)).decode().rstrip("=")


class Node:
    """`async with Node() as node`; `restart` keeps the port and forgets who was there."""

    def __init__(self) -> None:
        self.hellos: list[Json] = []
        self.byes: list[str] = []
        self.telemetry: list[bytes] = []
        self.refuse: list[Json] = []
        """Errors that the next hellos get."""
        self.remember = True
        """Whether a resume token is honoured."""
        self.port = 0
        self.tls: ssl.SSLContext | None = None
        self._server: Server | None = None
        self._tokens: dict[str, str] = {}
        self._members: dict[str, tuple[ServerConnection, str]] = {}

    async def __aenter__(self) -> "Node":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        return f"{'http' if self.tls is None else 'https'}://127.0.0.1:{self.port}"

    @property
    def host(self) -> str | None:
        return next((peer for peer, (_, role) in self._members.items() if role == "host"), None)

    async def start(self) -> None:
        self._server = await serve(
            self._client,
            "127.0.0.1",
            self.port,
            ssl=self.tls,
            subprotocols=[Subprotocol("tightbeam.v1")],
        )
        self.port = next(iter(self._server.sockets)).getsockname()[1]

    async def stop(self) -> None:
        """As if killed: every socket is lost without a goodbye."""
        server, self._server = self._server, None
        for socket, _ in list(self._members.values()):
            socket.transport.abort()
        self._members.clear()
        if server is not None:
            server.close(close_connections=True)
            await server.wait_closed()

    async def drop_host(self) -> None:
        """Lose the host's socket only."""
        assert self.host is not None
        self._members[self.host][0].transport.abort()

    def deafen_host(self) -> None:
        """Read nothing more from the host's socket: its pings stay without an answer."""
        assert self.host is not None
        transport = self._members[self.host][0].transport
        assert isinstance(transport, asyncio.ReadTransport)
        transport.pause_reading()

    async def say(self, peer: str, frame: str) -> None:
        await self._members[peer][0].send(frame)

    async def wait_for_host(self) -> str:
        async with asyncio.timeout(LIMIT_S):
            while self.host is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return self.host

    async def _client(self, socket: ServerConnection) -> None:
        hello = json.loads(await socket.recv())
        self.hellos.append(hello)
        if self.refuse:
            await socket.send(json.dumps({"type": "error", **self.refuse.pop(0)}))
            await socket.close(1008)
            return
        known = self._tokens.pop(hello.get("resume", ""), None) if self.remember else None
        peer, role = known or new_id(), hello["role"]
        resume = new_id()
        self._tokens[resume] = peer
        others = dict(self._members)
        self._members[peer] = (socket, role)
        welcome = {
            "type": "welcome", "peer": peer, "room": hello["room"], "role": role, "session": "s",
            "resume": resume, "resumed": known is not None, "iceServers": [],
            "limits": {"messageBytes": 262144, "messagesPer10s": 1000},
        }  # fmt: skip
        await socket.send(json.dumps(welcome))
        for other, (theirs, their_role) in others.items():
            if other == peer:
                continue
            await socket.send(_joined(other, their_role))
            if known is None:
                await theirs.send(_joined(peer, role))
        reason = "lost"
        try:
            async for frame in socket:
                if isinstance(frame, bytes):
                    self.telemetry.append(frame)
                    continue
                message = json.loads(frame)
                if message["type"] == "sync" and message["to"] in self._members:
                    await self.say(message["to"], str(frame))
                elif message["type"] == "bye":
                    self.byes.append(role)
                    reason = "bye"
                    break
        except ConnectionClosed:
            pass
        if self._members.get(peer, (None,))[0] is socket:
            del self._members[peer]
            if reason == "bye" or role != "host":
                for theirs, _ in list(self._members.values()):
                    await theirs.send(
                        json.dumps({"type": "peer-left", "peer": peer, "reason": reason})
                    )


def _joined(peer: str, role: str) -> str:
    return json.dumps({"type": "peer-joined", "peer": peer, "role": role, "dialect": "tightbeam"})
