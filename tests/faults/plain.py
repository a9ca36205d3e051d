"""A client of the plain dialect for tests: stock aiortc that offers to a host, over a path that a test can silence."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiortc.sdp import candidate_from_sdp
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.eventually import until
from tests.lossy_relay import LossyRelay, through
from tests.transport.viewer import Viewer

LIMIT_S = 30.0


class PlainClient:
    """Each `offer` is of a connection of its own, as the host answers with one."""

    def __init__(self, url: str, room: str, token: str) -> None:
        self._url = f"{url.replace('http', 'ws', 1)}/?roomId={room}&token={token}"
        self.viewers: list[Viewer] = []
        self.controls: list[dict[str, Any]] = []
        self._answered = asyncio.Event()

    async def __aenter__(self) -> PlainClient:
        self._socket: ClientConnection = await connect(self._url, proxy=None)
        self._listening = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listening.cancel()
        await asyncio.wait([self._listening])
        await self._socket.close()
        for viewer in self.viewers:
            await viewer.close()

    async def offer(self, relay: LossyRelay | None = None) -> Viewer:
        """A new connection, by the relay or directly; until it is connected and its `input` channel open."""
        viewer = Viewer()
        sdp = await viewer.offer()
        self.viewers.append(viewer)
        self._relay = relay
        if relay is not None:
            sdp = through(sdp, relay.peer_port)
        self._answered.clear()
        await self.say_offer(sdp)
        async with asyncio.timeout(LIMIT_S):
            await self._answered.wait()
        await until(lambda: viewer.channels["input"].readyState == "open", "the channel")
        return viewer

    async def say_offer(self, sdp: str) -> None:
        """Send an offer without a connection."""
        await self._socket.send(json.dumps({"type": "offer", "sdp": sdp}))

    async def _listen(self) -> None:
        while True:
            try:
                message = json.loads(await self._socket.recv())
            except ConnectionClosed:
                return
            viewer = self.viewers[-1]
            if message["type"] == "control":
                self.controls.append(message)
            elif message["type"] == "answer":
                relay, sdp = self._relay, message["sdp"]
                await viewer.take(sdp if relay is None else through(sdp, relay.browser_port))
                self._answered.set()
            elif message["type"] == "candidate" and message["candidate"] and self._relay is None:
                candidate = candidate_from_sdp(message["candidate"].removeprefix("candidate:"))
                candidate.sdpMid = message["sdpMid"]
                candidate.sdpMLineIndex = message["sdpMLineIndex"]
                await viewer.pc.addIceCandidate(candidate)
