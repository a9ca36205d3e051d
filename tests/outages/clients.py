"""Light clients of the Tightbeam dialect that come back as the real ones do, by the hundred in one process.

A pair is a host and a player of one room; once they see each other, each says numbered items into the log of their
negotiation. The negotiation machine is the real one; waits and limits are those of the agent and of the page.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from agent import signaling
from cluster.auth import Grant, Kind, Signer, new_id
from cluster.protocol import messages
from cluster.protocol.messages import (
    Answer,
    Candidate,
    Item,
    Offer,
    PeerId,
    PeerJoined,
    PeerLeft,
    Role,
    RoomId,
    Sync,
    Welcome,
)
from cluster.protocol.negotiation import Answerer, Negotiation
from tests.cluster.support import SECRET
from tests.outages.recorder import Recorder, StreamId
from tests.outages.wire import Wire, dial

PAGE: Final = Path(__file__).parents[2] / "client"
SAY_EVERY_S: Final = 0.5
MOST_SAID: Final = 250
"""Of the 256 items of a log."""
NEGOTIATE_WITHIN_S: Final = 15.0


def _of_page(file: str, name: str) -> float:
    found = re.search(rf"^const {name} = ([\d.]+);", (PAGE / file).read_text(), re.MULTILINE)
    assert found is not None, f"{file} has no {name}"
    return float(found[1])


@dataclass(frozen=True, slots=True)
class Manners:
    """How a client finds a dead node, and when it tries again: full jitter below a doubling bound."""

    ping_after_s: float
    pong_within_s: float
    open_within_s: float
    welcome_within_s: float
    first_s: float
    most_s: float

    def back_off(self, chance: random.Random) -> Iterator[float]:
        """One wait after another."""
        bound = self.first_s
        while True:
            yield chance.uniform(0, bound)
            bound = min(2 * bound, self.most_s)


AGENT: Final = Manners(
    signaling.PING_S,
    signaling.PONG_LIMIT_S + signaling.CLOSE_LIMIT_S,
    signaling.OPEN_LIMIT_S,
    signaling.WELCOME_LIMIT_S,
    signaling.BACK_OFF_FIRST_S,
    signaling.BACK_OFF_MOST_S,
)
BROWSER: Final = Manners(
    _of_page("signaling.js", "PING_AFTER_S"),
    _of_page("signaling.js", "PONG_WITHIN_S"),
    _of_page("signaling.js", "OPEN_WITHIN_S"),
    _of_page("signaling.js", "WELCOME_WITHIN_S"),
    _of_page("backoff.js", "FIRST_S"),
    _of_page("backoff.js", "MOST_S"),
)


@dataclass(slots=True)
class Balancer:
    """As a load balancer: any of the nodes that it takes for live."""

    nodes: list[tuple[str, int]]
    chance: random.Random

    def pick(self) -> tuple[str, int]:
        """Where the next connection goes."""
        return self.chance.choice(self.nodes)


@dataclass(slots=True)
class World:
    """What all clients of a test share."""

    balancer: Balancer
    recorder: Recorder
    chance: random.Random
    source: Callable[[int], str | None] = lambda _: None
    """The address that the n-th client connects from."""
    say_every_s: float = SAY_EVERY_S
    secret: str = SECRET
    """Of the nodes: clients sign their first credentials themselves."""


class Client:
    """One peer. `run` it in a task; `refusals` are the errors that nodes have answered."""

    role: Role
    manners: Manners

    def __init__(self, world: World, room: str, number: int) -> None:
        self.world = world
        self.room = room
        self.number = number
        self.balancer = world.balancer
        self.me: PeerId | None = None
        self.joined = False
        self.node: tuple[str, int] | None = None
        self.resumed = 0
        self.began_anew = 0
        self.errors: Counter[str] = Counter()
        """That a joined socket was told, by code."""
        self.refusals: list[tuple[float, dict[str, Any], int]] = []
        self._credential = {"token" if self.role == "host" else "session": self._ticket()}
        self._resume: str | None = None
        self._wire: Wire | None = None
        self._welcomed: asyncio.Future[dict[str, Any] | None]
        self._loop = asyncio.get_running_loop()
        self._pump_timer: asyncio.TimerHandle | None = None

    def _ticket(self) -> str:
        kind: Kind = "host" if self.role == "host" else "session"
        grant = Grant(kind, RoomId(self.room), self.role)
        return Signer(self.world.secret).issue(grant, int(time.time()))

    # The socket

    async def run(self) -> None:
        """Stay joined until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._speak())
                tasks.create_task(self._stay())
        finally:
            if self._pump_timer is not None:
                self._pump_timer.cancel()

    async def _stay(self) -> None:
        delays = self.manners.back_off(self.world.chance)
        while True:
            welcomed, after_s = await self._one_socket()
            if welcomed:
                delays = self.manners.back_off(self.world.chance)
            await asyncio.sleep(after_s + next(delays))

    async def _one_socket(self) -> tuple[bool, float]:
        node = self.balancer.pick()
        wire = Wire("/ws", f"{node[0]}:{node[1]}", "tightbeam.v1")
        wire.on_text = self._take
        self._welcomed = self._loop.create_future()
        error: dict[str, Any] | None = None
        try:
            source = self.world.source(self.number)
            await dial(wire, node, source, self.manners.open_within_s)
            self._wire = wire
            self._hello(wire)
            async with asyncio.timeout(self.manners.welcome_within_s):
                either: list[asyncio.Future[Any]] = [self._welcomed, wire.closed]
                await asyncio.wait(either, return_when="FIRST_COMPLETED")
            if self._welcomed.done() and (error := self._welcomed.result()) is None:
                self.node = node
                await self._while_alive(wire)
            elif error is not None:
                code, _ = await asyncio.wait_for(wire.closed, self.manners.open_within_s)
                self._refused(error, code)
        except (OSError, TimeoutError):
            pass  # this node is not there: the next attempt is at another
        finally:
            self._wire, self.joined = None, False
            wire.abort()
        after_s = error.get("retryAfterMs", 0) / 1000 if error is not None else 0.0
        return self._welcomed.done() and error is None, after_s

    def _hello(self, wire: Wire) -> None:
        credential = {"resume": self._resume} if self._resume is not None else self._credential
        hello = {"type": "hello", "room": self.room, "role": self.role, **credential}
        wire.send(orjson.dumps(hello))

    def _refused(self, error: dict[str, Any], code: int) -> None:
        self.refusals.append((time.monotonic(), error, code))
        if error["code"] in ("unauthorized", "forbidden", "host-present"):
            self._resume = None

    async def _while_alive(self, wire: Wire) -> None:
        while not wire.closed.done():
            quiet_s = self._loop.time() - wire.heard_at
            if quiet_s < self.manners.ping_after_s:
                await asyncio.wait([wire.closed], timeout=self.manners.ping_after_s - quiet_s)
                continue
            pinged_at = self._loop.time()
            wire.send(b'{"type":"ping"}')
            await asyncio.wait([wire.closed], timeout=self.manners.pong_within_s)
            if wire.heard_at < pinged_at:
                return

    def drop(self) -> None:
        """Lose the socket, as by a network that went."""
        if self._wire is not None:
            self._wire.abort()

    def goodbye(self) -> None:
        """Say that this peer is over; its task is to be cancelled."""
        if self._wire is not None:
            self._wire.send(b'{"type":"bye","reason":"test"}')

    # Messages

    def _take(self, frame: bytes) -> None:
        obj = orjson.loads(frame)
        if obj["type"] == "error":
            if not self._welcomed.done():
                self._welcomed.set_result(obj)
            else:
                self.errors[obj["code"]] += 1
            return
        if obj["type"] in ("pong", "reconnect"):
            return
        message = messages.parse_object(obj)
        match message:
            case Welcome():
                self._resume = message.resume
                self.joined = True
                self._welcome(message)
                self.me = message.peer
                self._welcomed.set_result(None)
            case PeerJoined():
                self._peer_joined(message)
            case PeerLeft():
                self._peer_left(message)
            case Sync():
                self._sync(message)
        self._pump()

    def _welcome(self, welcome: Welcome) -> None:
        if welcome.resumed:
            self.resumed += 1
        else:
            self.began_anew += self.me is not None

    def _peer_joined(self, joined: PeerJoined) -> None:
        raise NotImplementedError

    def _peer_left(self, left: PeerLeft) -> None:
        raise NotImplementedError

    def _sync(self, sync: Sync) -> None:
        raise NotImplementedError

    @property
    def settled(self) -> bool:
        """Whether a negotiation is there and the other holds all that was said."""
        running = self._running()
        return running is not None and running.settled

    def _running(self) -> Negotiation | None:
        raise NotImplementedError

    def say(self) -> None:
        """Say the next item, if a negotiation is there that takes it."""
        raise NotImplementedError

    def _applied(self, items: tuple[Item, ...]) -> None:
        for item in items:
            match item:
                case Offer(text) | Answer(text) | Candidate(text):
                    self.world.recorder.apply(text)

    async def _speak(self) -> None:
        await asyncio.sleep(self.world.chance.uniform(0, self.world.say_every_s))
        while True:
            self.say()
            await asyncio.sleep(self.world.say_every_s)

    def _pump(self) -> None:
        """Send what the negotiation has to say, now and when its time comes."""
        if self._pump_timer is not None:
            self._pump_timer.cancel()
            self._pump_timer = None
        running = self._running()
        if running is None or not self.joined or self._wire is None:
            return
        now = self._loop.time()
        while (sync := running.poll(now)) is not None:
            self._wire.send(messages.encode(sync).encode())
        deadline = running.next_deadline()
        if deadline is not None:
            self._pump_timer = self._loop.call_at(deadline, self._pump)


class Player(Client):
    """Offers, as the page does; a host that was lost is offered a new negotiation when it is back."""

    role = "player"
    manners = BROWSER

    def __init__(self, world: World, room: str, number: int) -> None:
        super().__init__(world, room, number)
        self._negotiation: Negotiation | None = None
        self._host: PeerId | None = None
        self._stream: StreamId | None = None
        self._said = 0
        self._heard_at = 0.0

    def _welcome(self, welcome: Welcome) -> None:
        super()._welcome(welcome)
        self._host = None
        if self._negotiation is not None and welcome.peer != self.me:
            self._drop()

    def _peer_joined(self, joined: PeerJoined) -> None:
        if joined.role != "host":
            return
        self._host = joined.peer
        if self._negotiation is not None and self._negotiation.other == joined.peer:
            self._negotiation.reconnected()
        else:
            self._negotiate()

    def _peer_left(self, left: PeerLeft) -> None:
        if left.peer == self._host:
            self._host = None
            self._drop()

    def _negotiate(self) -> None:
        assert self.me is not None
        assert self._host is not None
        self._drop()
        self._negotiation = Negotiation(self.me, self._host, new_id())
        self._stream = self.world.recorder.begin(self.room, "up", self._negotiation.negotiation)
        self._negotiation.say(Offer(self.world.recorder.say(self._stream)))
        self._said = 1
        self._heard_at = self._loop.time()

    def _drop(self) -> None:
        if self._negotiation is not None:
            name = self._negotiation.negotiation
            self.world.recorder.end(self._stream)
            self.world.recorder.end(StreamId(f"{self.room}/down/{name}"))
        self._negotiation = None

    def _sync(self, sync: Sync) -> None:
        running = self._negotiation
        if running is None or (sync.negotiation, sync.sender) != (
            running.negotiation,
            running.other,
        ):
            return
        self._heard_at = self._loop.time()
        self._applied(running.receive(sync, self._loop.time()))

    def _running(self) -> Negotiation | None:
        return self._negotiation

    def say(self) -> None:
        if self._negotiation is None or self._stream is None:
            return
        unheard = not self.settled and self._loop.time() > self._heard_at + NEGOTIATE_WITHIN_S
        if self.joined and self._host and unheard:
            self._negotiate()  # as the page when no answer or no media comes
        elif self._said < MOST_SAID:
            self._said += 1
            self._negotiation.say(Candidate(self.world.recorder.say(self._stream)))
        self._pump()


class Host(Client):
    """Answers one player, as the agent does."""

    role = "host"
    manners = AGENT

    def __init__(self, world: World, room: str, number: int) -> None:
        super().__init__(world, room, number)
        self._answerers: dict[PeerId, Answerer] = {}
        self._away: set[PeerId] = set()
        self._speaks: Answerer | None = None
        self._stream: StreamId | None = None
        self._said = 0

    def _welcome(self, welcome: Welcome) -> None:
        super()._welcome(welcome)
        if not welcome.resumed:
            for peer in list(self._answerers):
                self._forget(peer)
            return
        for answerer in self._answerers.values():
            if answerer.running is not None:
                answerer.running.reconnected()

    def _peer_joined(self, joined: PeerJoined) -> None:
        known = self._answerers.get(joined.peer)
        if known is None and self.me is not None:
            self._answerers[joined.peer] = Answerer(self.me, joined.peer)
        elif known is not None and known.running is not None:
            known.running.reconnected()
            if joined.peer in self._away:
                for stream in self._streams(known.running):
                    self.world.recorder.go_on(stream)
        self._away.discard(joined.peer)

    def _peer_left(self, left: PeerLeft) -> None:
        if left.reason == "bye":
            self._forget(left.peer)
            return
        self._away.add(left.peer)  # its log is kept, as it may be back and go on with it
        known = self._answerers.get(left.peer)
        if known is not None and known.running is not None:
            self._over(known.running)

    def _forget(self, peer: PeerId) -> None:
        answerer = self._answerers.pop(peer, None)
        if answerer is not None and answerer.running is not None:
            self._over(answerer.running)

    def _streams(self, negotiation: Negotiation) -> list[StreamId]:
        name = negotiation.negotiation
        return [StreamId(f"{self.room}/{direction}/{name}") for direction in ("up", "down")]

    def _over(self, negotiation: Negotiation) -> None:
        for stream in self._streams(negotiation):
            self.world.recorder.end(stream)

    def _sync(self, sync: Sync) -> None:
        answerer = self._answerers.get(sync.sender)
        if answerer is None or sync.to != self.me:
            return
        started, items = answerer.receive(sync, self._loop.time())
        if started is not None:
            if started.replaced is not None:
                self._over(started.replaced)
            self._speaks = answerer
            self._stream = self.world.recorder.begin(self.room, "down", sync.negotiation)
            started.negotiation.say(Answer(self.world.recorder.say(self._stream)))
            self._said = 1
        self._applied(items)
        if answerer is not self._speaks:
            self._pump_other(answerer)

    def _pump_other(self, answerer: Answerer) -> None:
        """Acknowledge to a player that is not the newest."""
        now = self._loop.time()
        if answerer.running is not None and self._wire is not None:
            while (sync := answerer.running.poll(now + 0.2)) is not None:
                self._wire.send(messages.encode(sync).encode())

    def _running(self) -> Negotiation | None:
        speaks = self._speaks
        here = speaks is not None and speaks.other in self._answerers.keys() - self._away
        return speaks.running if speaks is not None and here else None

    def say(self) -> None:
        running = self._running()
        if running is None or self._stream is None or self._said >= MOST_SAID:
            return
        self._said += 1
        running.say(Candidate(self.world.recorder.say(self._stream)))
        self._pump()
