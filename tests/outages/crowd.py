"""All clients of a test: started, watched and ended together."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import Counter
from dataclasses import dataclass
from types import TracebackType
from typing import Final

from tests import eventually
from tests.outages.clients import Balancer, Client, Host, Player, World
from tests.outages.cluster import Cluster, members
from tests.outages.plain import PlainPeer
from tests.outages.recorder import Recorder

LIMIT_S: Final = 60.0
SEED: Final = 7


@dataclass(slots=True)
class Pair:
    """A host and a player of one room."""

    room: str
    host: Host
    player: Player

    @property
    def clients(self) -> tuple[Client, Client]:
        """Both."""
        return self.host, self.player


class Crowd:
    """`async with Crowd(balancer)`; the clients run until the block is left."""

    def __init__(
        self, nodes: list[tuple[str, int]], say_every_s: float = 0.5, name: str = "room"
    ) -> None:
        """`name`: how the names of its rooms begin."""
        self._name = name
        chance = random.Random(SEED)
        self.balancer = Balancer(list(nodes), chance)
        self.recorder = Recorder()
        self.plain_recorder = Recorder()
        self.world = World(self.balancer, self.recorder, chance, say_every_s=say_every_s)
        self.pairs: list[Pair] = []
        self.plain: list[tuple[PlainPeer, PlainPeer]] = []
        self._running: dict[Client | PlainPeer, asyncio.Task[None]] = {}
        self._count = 0

    async def __aenter__(self) -> Crowd:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self._running.values():
            task.cancel()
        ended = await asyncio.gather(*self._running.values(), return_exceptions=True)
        faults = [result for result in ended if isinstance(result, Exception)]
        if error is None and faults:
            raise faults[0]

    @property
    def clients(self) -> list[Client]:
        """All of the Tightbeam dialect."""
        return [client for pair in self.pairs for client in pair.clients]

    def add(
        self, pairs: int, balancer: Balancer | None = None, player: Balancer | None = None
    ) -> list[Pair]:
        """More pairs, which connect at once, perhaps through balancers of their own."""
        added = []
        for _ in range(pairs):
            number = self._count
            self._count += 2
            room = f"{self._name}-{number // 2}"
            pair = Pair(room, Host(self.world, room, number), Player(self.world, room, number + 1))
            pair.host.balancer = balancer or self.balancer
            pair.player.balancer = player or pair.host.balancer
            for client in pair.clients:
                self._start(client)
            added.append(pair)
        self.pairs += added
        return added

    def add_plain(
        self,
        pairs: int,
        balancer: Balancer | None = None,
        other: Balancer | None = None,
        kind: type[PlainPeer] = PlainPeer,
    ) -> list[str]:
        """Pairs of the plain dialect, each in a room of two; the rooms."""
        rooms = []
        for _ in range(pairs):
            number = self._count
            self._count += 2
            room = f"plain-{number // 2}"
            one, two = peers = (
                kind(self.world, self.plain_recorder, room, "up"),
                kind(self.world, self.plain_recorder, room, "down"),
            )
            one.balancer = balancer or self.balancer
            two.balancer = other or one.balancer
            for offset, peer in enumerate(peers):
                peer.number = number + offset
                self._start(peer)
            self.plain.append(peers)
            rooms.append(room)
        return rooms

    def _start(self, client: Client | PlainPeer) -> None:
        self._running[client] = asyncio.create_task(client.run())

    async def all_joined(self, limit_s: float = LIMIT_S) -> None:
        """Wait until every client is in its room."""
        await eventually.until(
            lambda: all(client.joined for client in self.clients), "all have joined", limit_s
        )

    async def all_deliver(self, since: float | None = None, limit_s: float = LIMIT_S) -> float:
        """Wait until every pair delivers what was said since then; when 99 % did, in seconds."""
        begun = time.monotonic() if since is None else since
        while self.recorder.recovery_s(begun, 1.0) == math.inf:
            assert time.monotonic() < begun + limit_s, f"not all pairs deliver: {self.state(begun)}"
            await asyncio.sleep(0.1)
        return self.recorder.recovery_s(begun)

    def state(self, since: float) -> str:
        """For the words of a failure: who does not deliver, and why."""
        times = self.recorder.deliveries(since)
        silent = [pair for pair in self.pairs if times.get(pair.room, math.inf) == math.inf]
        away = sum(not client.joined for pair in silent for client in pair.clients)
        said = Counter(error["code"] for client in self.clients for _, error, _ in client.refusals)
        return (
            f"{len(silent)} of {len(self.pairs)} pairs, {away} clients away, refusals {dict(said)}"
        )

    def leave(self, pair: Pair) -> None:
        """Both say that it is over."""
        self.pairs.remove(pair)
        for client in pair.clients:
            client.goodbye()
            self._running[client].cancel()
            self.recorder.end_room(pair.room)

    async def plain_deliver(self, since: float, limit_s: float = LIMIT_S) -> float:
        """Wait until every plain pair delivers what was said since then; how long that took, in seconds."""
        await eventually.until(
            lambda: self.plain_recorder.recovery_s(since, 1.0) < math.inf,
            "all plain pairs deliver",
            limit_s,
            poll_s=0.1,
        )
        return self.plain_recorder.recovery_s(since, 1.0)

    def silence_s(self, rooms: set[str], since: float) -> float:
        """The longest time that one direction of one of these rooms delivered nothing, until now."""
        return max(
            recorder.silence_s(rooms, since) for recorder in (self.recorder, self.plain_recorder)
        )

    async def settled(self, limit_s: float = LIMIT_S) -> None:
        """Wait until every negotiation has begun and everything said is acknowledged."""
        await eventually.until(
            lambda: all(client.settled for client in self.clients), "all is said", limit_s
        )

    def say(self) -> None:
        """Everybody says one item now."""
        for client in self.clients:
            client.say()

    def reload(self, pair: Pair, *, says_bye: bool) -> None:
        """The page is loaded again: another client with the session of the first, which may have said bye."""
        old = pair.player
        pair.player = Player(self.world, pair.room, old.number)
        pair.player.balancer = old.balancer
        if says_bye:
            old.goodbye()
        self._running[old].cancel()
        self._start(pair.player)

    async def nothing_is_lost(self, limit_s: float = LIMIT_S, *, given_up: bool = False) -> None:
        """Stop speaking, wait until all has arrived, and count; `given_up`: members were, and came back."""
        self.world.say_every_s = 3600.0
        await eventually.until(
            lambda: self.recorder.lost == 0, "nothing is lost", limit_s, poll_s=0.1
        )
        counts = (self.recorder.doubled, self.recorder.reordered, self.recorder.skipped)
        assert counts == (0, 0, 0), "doubled, reordered, skipped"
        plain = (self.plain_recorder.doubled, self.plain_recorder.reordered)
        assert plain == (0, 0), "plain: doubled, reordered"
        if not given_up:
            assert not self.told(), f"joined clients were told {self.told()}"
            assert not self.late, "plain: after peer-disconnected"

    @property
    def late(self) -> int:
        """Plain messages that came after the word that their sender had gone."""
        return sum(peer.late for pair in self.plain for peer in pair)

    async def records_are_true(self, cluster: Cluster, limit_s: float = 20.0) -> None:
        """Wait until Redis lists exactly those who are there: no ghost, and nobody is missing."""
        true = {pair.room: {client.me for client in pair.clients} for pair in self.pairs}
        plain = {pair[0].room: 2 for pair in self.plain}
        deadline = time.monotonic() + limit_s
        while True:
            records = await asyncio.to_thread(members, cluster.redis.client)
            found = {room: peers for room, peers in records.items() if room in true}
            counts = {room: len(peers) for room, peers in records.items() if room in plain}
            if found == true and counts == plain:
                return
            wrong = [room for room in true if found.get(room) != true[room]]
            wrong += [room for room in plain if counts.get(room) != 2]
            assert time.monotonic() < deadline, f"{wrong}: {[records.get(room) for room in wrong]}"
            await asyncio.sleep(0.2)

    def told(self) -> Counter[str]:
        """Errors that joined clients were told."""
        return sum((client.errors for client in self.clients), Counter())
