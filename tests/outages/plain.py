"""A client of the plain dialect that comes back: it says numbered candidates to the other member of its room."""

from __future__ import annotations

import asyncio
from typing import Final

import orjson

from tests.outages.clients import BROWSER, World
from tests.outages.recorder import Direction, Recorder, StreamId
from tests.outages.wire import Wire, dial

GONE: Final = "peer-disconnected"


class PlainPeer:
    """One member; each of its connections is a stream of its own, as the dialect repeats nothing."""

    number = 0

    def __init__(self, world: World, recorder: Recorder, room: str, direction: Direction) -> None:
        self.world = world
        self.room = room
        self.balancer = world.balancer
        self.joined = False
        self.closes: list[tuple[int, str]] = []
        self.told_gone = 0
        self.late = 0
        """Messages of a member that came after the word that it had gone."""
        self._recorder = recorder
        self._direction = direction
        self._connections = 0
        self._stream: StreamId | None = None
        self._wire: Wire | None = None
        self._heard_from: str | None = None
        self._gone: set[str] = set()

    def path(self) -> str:
        """Where a node is asked for a socket."""
        return f"/?roomId={self.room}"

    def encode(self, message: dict[str, str]) -> bytes:
        """A message as this server's clients say it."""
        return orjson.dumps(message)

    def decode(self, frame: bytes) -> dict[str, str]:
        """The inverse; what is no message for a peer has another type."""
        message: dict[str, str] = orjson.loads(frame)
        return message

    def drop(self) -> None:
        """Lose the socket, as by a page that is loaded again."""
        if self._wire is not None:
            self._wire.abort()

    async def run(self) -> None:
        """Stay connected until cancelled."""
        delays = BROWSER.back_off(self.world.chance)
        while True:
            if await self._one_socket():
                delays = BROWSER.back_off(self.world.chance)
            await asyncio.sleep(next(delays))

    async def _one_socket(self) -> bool:
        """Whether it was a member."""
        node = self.balancer.pick()
        wire = Wire(self.path(), f"{node[0]}:{node[1]}")
        wire.on_text = self._take
        self._wire = wire
        said = False
        try:
            await dial(wire, node, self.world.source(self.number), BROWSER.welcome_within_s)
            self._connections += 1
            name = str(self._connections)
            self._stream = self._recorder.begin(self.room, self._direction, name)
            while not wire.closed.done():
                await asyncio.wait([wire.closed], timeout=self.world.say_every_s)
                if not wire.closed.done():
                    self.joined = said = True
                    text = self._recorder.say(self._stream)
                    wire.send(self.encode({"type": "candidate", "candidate": text}))
            self.closes.append(wire.closed.result())
        except (OSError, TimeoutError):
            pass
        finally:
            self._wire, self.joined = None, False
            self._recorder.end(self._stream)
            wire.abort()
        return said

    def _take(self, frame: bytes) -> None:
        obj = self.decode(frame)
        if obj["type"] == GONE:
            self.told_gone += 1
            if self._heard_from is not None:
                self._gone.add(self._heard_from)
            return
        if obj["type"] != "candidate":
            return
        self._recorder.apply(obj["candidate"])
        self._heard_from = obj["candidate"].split(" ")[0]
        self.late += self._heard_from in self._gone
