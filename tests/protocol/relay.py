"""A page and a host over the worst relay there can be: the model that the negotiation log is tested in.

Frames are lost, doubled, delayed and reordered; nodes die, stale ones thaw, pages start anew. What each side says
under each negotiation is written down here, so that whatever is applied can be judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from cluster.protocol import messages
from cluster.protocol.messages import Answer, Item, Offer, PeerId, Sync
from cluster.protocol.negotiation import MAX_SYNC_BYTES, Answerer, Negotiation

PAGE: Final = PeerId("P" * 22)
HOST: Final = PeerId("H" * 22)
LATENCY_S: Final = 0.01
SETTLES_WITHIN_S: Final = 4.5
"""The longest pause before a repetition, the acknowledgement after it, and some times on the wire."""
FRAMES_UNTIL_SETTLED: Final = 12
FRAMES_FOR_A_LATE_ONE: Final = 3
"""What one that is still on the wire may bring about: an old negotiation begun, answered and acknowledged."""


class End(Protocol):
    """The page's side of one negotiation, in Python or in both languages."""

    negotiation: str

    @property
    def settled(self) -> bool: ...

    def leaves(self) -> tuple[str, ...]: ...

    def say(self, item: Item) -> None: ...

    def receive(self, sync: Sync, now: float) -> tuple[Item, ...]: ...

    def reconnected(self) -> None: ...

    def poll(self, now: float) -> Sync | None: ...

    def next_deadline(self) -> float | None: ...


class World:
    """Both sides, what is on the wire between them, and the time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.host = Answerer(HOST, PAGE)
        self.wire: list[Sync] = []
        self.frames = 0
        self.begun: list[str] = []
        """The page's negotiations in order; the last one is the running one."""
        self.said: dict[tuple[PeerId, str], list[Item]] = {}
        self.applied: dict[tuple[PeerId, str], list[Item]] = {}
        self.newest = -1
        """The newest of `begun` that the host has begun."""
        self.ended: set[str] = set()
        self.online = True
        """Whether the page has a socket."""
        self.page: End | None = None
        self.start_anew()

    def make(self, negotiation: str, replaces: tuple[str, ...]) -> End:
        """The page's side of a new negotiation."""
        return Negotiation(PAGE, HOST, negotiation, replaces)

    @property
    def said_by_page(self) -> list[Item]:
        """Under the negotiation that is the page's."""
        return self.said[PAGE, self.begun[-1]]

    @property
    def said_by_host(self) -> list[Item]:
        """Under the negotiation that is the host's."""
        assert self.host.running is not None
        return self.said[HOST, self.host.running.negotiation]

    # What the two sides do

    def start_anew(self) -> None:
        """The page begins a new negotiation; the frames of the old one are still on the wire."""
        before = self.page
        negotiation = f"n{len(self.begun):021}"
        self.begun.append(negotiation)
        for side in (PAGE, HOST):
            self.said[side, negotiation] = []
            self.applied[side, negotiation] = []
        self.page = self.make(negotiation, () if before is None else before.leaves())
        self.page_says(Offer(negotiation))

    def page_says(self, item: Item) -> None:
        assert self.page is not None
        self.page.say(item)
        self.said[PAGE, self.page.negotiation].append(item)
        self.drain()

    def host_says(self, item: Item) -> None:
        running = self.host.running
        assert running is not None
        running.say(item)
        self.said[HOST, running.negotiation].append(item)
        self.drain()

    def host_ends(self) -> None:
        if self.host.running is not None:
            self.ended.add(self.host.running.negotiation)
        self.host.end()

    # What the world does to them

    def _sides(self) -> list[End]:
        """Who can speak."""
        page = self.page if self.online else None
        return [side for side in (page, self.host.running) if side is not None]

    def drain(self) -> None:
        """Everything that either side has to say goes on the wire."""
        for side in self._sides():
            while (sync := side.poll(self.now)) is not None:
                assert len(messages.encode(sync)) <= messages.MAX_MESSAGE_BYTES
                self.wire.append(sync)
                self.frames += 1

    def deliver(self, sync: Sync) -> None:
        if sync.to == HOST:
            self._to_host(sync)
        elif self.online and self.page is not None and sync.negotiation == self.page.negotiation:
            self._apply(HOST, sync.negotiation, self.page.receive(sync, self.now))
        self.drain()

    def _to_host(self, sync: Sync) -> None:
        started, items = self.host.receive(sync, self.now)
        self._apply(PAGE, sync.negotiation, items)
        if started is None:
            return
        number = self.begun.index(started.negotiation.negotiation)
        assert number > self.newest, "a late frame of a replaced negotiation began it again"
        self.newest = number
        self.host_says(Answer(started.negotiation.negotiation))

    def _apply(self, side: PeerId, negotiation: str, items: Sequence[Item]) -> None:
        if items and side == PAGE:
            running = self.host.running
            assert running is not None
            assert running.negotiation == negotiation
        log = self.applied[side, negotiation]
        log += items
        assert log == self.said[side, negotiation][: len(log)]

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.drain()

    def deadlines(self) -> list[float]:
        """When either side has something to do by itself."""
        return [time for side in self._sides() if (time := side.next_deadline()) is not None]

    def pass_to_deadline(self) -> None:
        self.now = max(self.now, min(self.deadlines(), default=self.now))
        self.drain()

    def lose_nodes(self) -> None:
        """Every node dies; both sides come back on others."""
        self.wire.clear()
        self.page_reconnects()
        if self.host.running is not None:
            self.host.running.reconnected()
        self.drain()

    def page_goes(self) -> None:
        """The page's socket is gone; what comes for it is lost, what it says waits."""
        self.online = False

    def page_reconnects(self) -> None:
        """The page's socket alone is new: it resumes, the host is told nothing, and nothing on the wire is lost."""
        assert self.page is not None
        self.online = True
        self.page.reconnected()
        self.drain()

    # The end

    def settle(self) -> None:
        """From now on the network is whole: both sides must agree soon, in few frames, and fall silent."""
        if not self.online:
            self.page_reconnects()
        if self.begun[-1] in self.ended:
            self.start_anew()
        page = self.page
        assert page is not None
        started, most = self.now, self.frames + self._frames_to_settle()
        while self.wire or self.deadlines():
            if not self.wire:
                self.pass_to_deadline()
            self.now += LATENCY_S
            assert self.now - started <= SETTLES_WITHIN_S
            wire, self.wire = self.wire, []
            for sync in wire:
                self.deliver(sync)
        running = self.host.running
        assert running is not None
        assert running.negotiation == page.negotiation
        assert page.settled
        assert running.settled
        for side in (PAGE, HOST):
            assert self.applied[side, page.negotiation] == self.said[side, page.negotiation]
        assert self.frames <= most

    def _frames_to_settle(self) -> int:
        long = sum(
            len(messages.encode(item)) // MAX_SYNC_BYTES + 1
            for log in self.said.values()
            for item in log
            if len(messages.encode(item)) > 1000
        )
        return FRAMES_UNTIL_SETTLED + FRAMES_FOR_A_LATE_ONE * len(self.wire) + 2 * long
