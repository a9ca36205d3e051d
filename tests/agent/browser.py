"""A browser for tests: stock aiortc behind the Tightbeam dialect, told to come and go."""

import asyncio
import json
import ssl
import time
from typing import Any

from aiortc import (
    RTCConfiguration,
    RTCIceServer,
    RTCIceTransportPolicy,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.sdp import candidate_from_sdp
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from agent.summary import TYPE_SUMMARY
from cluster.protocol import messages
from cluster.protocol.messages import Answer, Candidate, Control, Item, Offer, PeerId, Sync
from cluster.protocol.negotiation import Negotiation
from tests import eventually
from tests.agent.node import new_id
from tests.input import browser as wire

LIMIT_S = 30.0
REPEAT_S = 0.05


class Browser:
    """Joins a room, offers to the host, counts what arrives, sends input."""

    def __init__(self, url: str, room: str, role: str = "player", **credential: str) -> None:
        self.url = url.replace("http", "ws", 1) + "/ws"
        self.hello = {"type": "hello", "room": room, "role": role, **credential}
        self.frames = 0
        self.sounds = 0
        self.size = (0, 0)
        self.controls: list[Control] = []
        self.acknowledged = 0
        self.summaries: list[bytes] = []
        self.host: str | None = None
        self.left: list[str] = []
        self.states: list[str] = []
        self.ssl: ssl.SSLContext | None = None
        self._stamp = 0
        self._events: list[dict[str, Any]] = []
        """Sent and not acknowledged."""
        self._tasks: list[asyncio.Task[None]] = []
        self.closed = False

    async def join(self) -> None:
        """Until the host is seen."""
        self.socket: ClientConnection = await connect(
            self.url, subprotocols=[Subprotocol("tightbeam.v1")], ssl=self.ssl, proxy=None
        )
        await self.socket.send(json.dumps(self.hello))
        welcome = json.loads(await self.socket.recv())
        assert welcome["type"] == "welcome", welcome
        self.peer = welcome["peer"]
        self.ice_servers = [RTCIceServer(**server) for server in welcome["iceServers"]]
        self._tasks += [asyncio.create_task(self._listen()), asyncio.create_task(self._repeat())]
        await until(lambda: self.host is not None)

    async def offer(self, *, early_candidate: bool = False, relayed: bool = False) -> None:
        """Make a connection and send the offer; the answer is applied when it comes."""
        configuration = RTCConfiguration(iceServers=[])
        if relayed:  # by the welcome's servers, and in no other way
            configuration = RTCConfiguration(self.ice_servers, RTCIceTransportPolicy.RELAY)
        self.pc = pc = RTCPeerConnection(configuration)
        self.acknowledged = 0
        self._sequence = 1
        self._events.clear()
        pc.addTransceiver("video", direction="recvonly")
        pc.addTransceiver("audio", direction="recvonly")
        self.input = pc.createDataChannel("input", ordered=False, maxRetransmits=0)
        self.stats = pc.createDataChannel("stats", ordered=False, maxRetransmits=0)
        self.input.on("message", self._on_input)
        self.stats.on("message", self._on_stats)
        pc.on("track", self._on_track)
        pc.on("connectionstatechange", lambda: self.states.append(pc.connectionState))
        await pc.setLocalDescription(await pc.createOffer())
        assert self.host is not None
        self.negotiation = Negotiation(PeerId(self.peer), PeerId(self.host), new_id())
        self.negotiation.say(Offer(pc.localDescription.sdp))
        if early_candidate:
            self.negotiation.say(Candidate("", None, None))
        await self._flush()

    async def connected(self) -> None:
        await until(
            lambda: (
                self.pc.connectionState == "connected"
                and self.input.readyState == self.stats.readyState == "open"
            )
        )

    async def watch(self, frames: int) -> None:
        """Until this many more pictures have been decoded."""
        goal = self.frames + frames
        await until(lambda: self.frames >= goal)

    def send_events(self, *listed: dict[str, Any], motion: dict[str, Any] = wire.STILL) -> None:
        """Send events; they are repeated until they are acknowledged, as the page does."""
        self._events += listed
        self._sequence += len(listed)
        self._stamp += 1
        first = self._sequence - len(self._events)
        self.input.send(wire.events(self._stamp, first, *self._events, motion=motion))

    def send_held(self, buttons: list[int], usages: list[int]) -> None:
        self._stamp += 1
        self.input.send(wire.held(self._stamp, self._sequence - 1, buttons, usages))

    async def _repeat(self) -> None:
        while True:
            await asyncio.sleep(REPEAT_S)
            if self._events and self.input.readyState == "open":
                self.send_events()

    async def bye(self) -> None:
        """As a closing page does: goodbye on signaling, then the connection."""
        await self.socket.send(json.dumps({"type": "bye", "reason": "closed"}))
        await self.close()

    async def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.socket.close()
        if hasattr(self, "pc"):
            await self.pc.close()

    async def _listen(self) -> None:
        while True:
            try:
                async with asyncio.timeout(0.1):
                    frame = await self.socket.recv()
            except TimeoutError:
                await self._flush()
                continue
            except ConnectionClosed:
                return
            obj = json.loads(frame)
            if obj["type"] == "peer-joined" and obj["role"] == "host":
                self.host = obj["peer"]
            elif obj["type"] == "peer-left":
                self.left.append(obj["reason"])
            elif obj["type"] == "sync":
                sync = messages.parse(frame)
                assert isinstance(sync, Sync)
                if sync.negotiation == self.negotiation.negotiation:
                    for item in self.negotiation.receive(sync, time.monotonic()):
                        await self._item(item)
            await self._flush()

    async def _item(self, item: Item) -> None:
        match item:
            case Answer(sdp):
                await self.pc.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
            case Candidate(text, mid, index) if text:
                candidate = candidate_from_sdp(text.removeprefix("candidate:"))
                candidate.sdpMid, candidate.sdpMLineIndex = mid, index
                await self.pc.addIceCandidate(candidate)
            case Control():
                self.controls.append(item)
            case _:
                pass

    async def _flush(self) -> None:
        if hasattr(self, "negotiation"):
            while (sync := self.negotiation.poll(time.monotonic())) is not None:
                await self.socket.send(messages.encode(sync))

    def _on_track(self, track: MediaStreamTrack) -> None:
        self._tasks.append(asyncio.create_task(self._consume(track)))

    async def _consume(self, track: MediaStreamTrack) -> None:
        while True:
            try:
                frame: Any = await track.recv()
            except MediaStreamError:
                return
            if track.kind == "video":
                self.frames += 1
                self.size = (frame.width, frame.height)
                self.picture = frame
            else:
                self.sounds += 1

    def _on_stats(self, payload: bytes) -> None:
        if payload[1] == TYPE_SUMMARY:
            self.summaries.append(bytes(payload))

    def _on_input(self, payload: bytes) -> None:
        assert payload[:2] == b"\x01\x03"
        self.acknowledged = max(self.acknowledged, int.from_bytes(payload[2:6], "big"))
        del self._events[: max(0, len(self._events) - (self._sequence - self.acknowledged))]


async def until(true: Any, limit_s: float = LIMIT_S) -> None:
    """Poll a condition on the event loop."""
    await eventually.until(true, limit_s=limit_s)
