"""The node: which peers are here, how a message reaches the others, and what Redis is told.

Sessions call in from above, letters and records come in from the store and the bus; rooms decide. A message
between two peers of this node never leaves the process. While Redis is away everything here goes on, and
what could not be said is made good afterwards by writing the rooms again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Coroutine, Iterable
from typing import Any, Final, Literal, Protocol

from cluster import metrics
from cluster.bus.base import Bus, Forward, Letter, Notice
from cluster.protocol.messages import LeaveReason, PeerId, RoomId
from cluster.room import Event, Joined, Left, Member, Moved, NodeId, Room, VersionGap
from cluster.settings import Timing
from cluster.store.base import (
    Admission,
    JoinRefused,
    JoinRequest,
    Record,
    Registration,
    Store,
    StoreUnavailable,
)

log = logging.getLogger(__name__)

MAX_TASKS: Final = 20_000
CHUNK: Final = 100
EARLY_LETTERS: Final = 64
EARLY_BYTES: Final = 256 * 1024
"""For one peer whose join is under way: an offer and its candidates."""
STRIKE_S: Final = 1.1
"""Until a mailbox that nobody heard is tried again; the store wants a second between."""


class Occupant(Protocol):
    """A joined session, as the node sees it."""

    member: Member
    room: RoomId
    authorised: bool
    host_capacity: int | None

    def deliver(self, payload: bytes) -> None:
        """A message of another peer."""

    def peer_joined(self, member: Member) -> None:
        """Somebody came."""

    def peer_left(self, member: Member, reason: LeaveReason) -> None:
        """Somebody went."""

    def supersede(self) -> None:
        """The peer came back on another socket; this one is over and must not leave the room."""


class Node:
    """All rooms and sessions of this process."""

    def __init__(self, node_id: NodeId, timing: Timing) -> None:
        self.id = node_id
        self.sessions: dict[PeerId, Occupant] = {}
        self.rooms: dict[RoomId, Room] = {}
        self._here: dict[RoomId, dict[PeerId, Occupant]] = {}
        self._timing = timing
        self._dirty: set[RoomId] = set()
        self._reading: set[RoomId] = set()
        self._striking: set[NodeId] = set()
        self._joining: Counter[RoomId] = Counter()  # joins that Redis has not answered yet
        # Redis has let them in, and perhaps told other nodes, before its answer to our join is here.
        self._early: dict[PeerId, list[bytes]] = {}
        # Gone here; a record written before their leave lists them still.
        self._leaving: set[Member] = set()
        self._settling_until = 0.0
        self._epoch: str | None = None
        self._beat_now = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._missed = False  # since the last beat something may not have been told or heard
        self._behind = False  # a new link, and our rooms are not written yet
        self._swept_at = time.monotonic()

    def attach(self, store: Store, bus: Bus) -> None:
        """Give the node its backends; they need its id and `receive` first."""
        self._store = store
        self._bus = bus

    @property
    def ready(self) -> bool:
        """True while peers can join: commands work, the mailbox is heard, what we hold is written."""
        return self._store.up and self._bus.up and self._epoch is not None and not self._behind

    # What sessions ask

    async def join(self, occupant: Occupant, request: JoinRequest) -> Admission:
        """Admit a session; raises JoinRefused or StoreUnavailable. It hears events from now on."""
        if not self.ready:
            raise StoreUnavailable("not connected to Redis")
        started = time.perf_counter()
        self._joining[request.room] += 1
        expected = {request.peer, request.resume or request.peer}
        for peer in expected:
            self._early.setdefault(peer, [])
        try:
            admission = await self._store.join(request)
            record = admission.record
            if request.room in self._dirty:
                # A notice came before this reply, which may be the older of the two. Whoever it names may have
                # spoken to us already, and wants to be known when he is answered.
                record = await self._newest(request.room, record)
            expected.discard(admission.member.peer)
        except JoinRefused as refused:
            if refused.record is not None:
                self._absorb(request.room, refused.record)
            raise
        except BaseException:
            # Redis away, cancelled, or our own fault: the script may have run all the same. Writing the room
            # again takes out whom we do not hold.
            # A pairing token that it has consumed stays consumed: used once at most, never twice.
            self._dirty.add(request.room)
            raise
        finally:
            self._joining[request.room] -= 1
            if not self._joining[request.room]:
                del self._joining[request.room]
            for peer in expected:
                self._early.pop(peer, None)
        metrics.JOIN.observe(time.perf_counter() - started)
        member = admission.member
        before = self.sessions.get(member.peer)
        occupant.member = member
        self.sessions[member.peer] = occupant
        self._here.setdefault(request.room, {})[member.peer] = occupant
        if request.room not in self.rooms:
            self.rooms[request.room] = Room(request.room)
            metrics.ROOMS.inc()
        metrics.CONNECTIONS.labels(member.dialect, member.role).inc()
        if before is not None:
            self._count_out(before)
            before.supersede()
        if admission.resumed:
            metrics.RESUMES.inc()
        self._absorb(request.room, record, newcomer=member.peer)
        # After what the session says first, its welcome.
        asyncio.get_running_loop().call_soon(self._deliver_early, occupant)
        return admission

    async def _newest(self, room_id: RoomId, record: Record) -> Record:
        self._publish(room_id, record)
        try:
            return await self._store.reap(room_id)
        except StoreUnavailable:
            return record  # the room is dirty: the next beat sees to it

    def leave(self, occupant: Occupant, reason: LeaveReason) -> None:
        """The session's socket is over; the others here are told at once unless it may resume."""
        member = occupant.member
        if self.sessions.get(member.peer) is not occupant:
            return
        self._forget(occupant)
        told = self._spawn(occupant.room, self._tell_left(occupant.room, member, reason))
        if reason == "bye" or member.dialect == "plain":
            if told:
                self._leaving.add(member)
            self._remove_here(occupant.room, member, reason)

    def forward(
        self, sender: Occupant, to: PeerId, payload: bytes, kind: str
    ) -> Literal["local", "remote", "away", "no-peer"]:
        """Send a message of this type on to one peer of the sender's room."""
        occupant = self.sessions.get(to)
        if occupant is not None and occupant.room == sender.room:
            if to in self._early:
                self._keep(self._early[to], payload)
            else:
                occupant.deliver(payload)
            metrics.MESSAGES.counts[kind, "local"] += 1
            return "local"
        room = self.rooms.get(sender.room)
        member = room.members.get(to) if room is not None else None
        if member is None:
            metrics.DROPPED.labels("no-peer").inc()
            return "no-peer"
        if member.node == self.id:  # lost, within its grace
            metrics.DROPPED.labels("away").inc()
            return "away"
        self._bus.send(member.node, Forward(to, payload))
        metrics.MESSAGES.counts[kind, "remote"] += 1
        return "remote"

    def report(self, host: Occupant, telemetry: bytes) -> None:
        """What a host says of itself; raises StoreUnavailable."""
        if self.sessions.get(host.member.peer) is host:
            self._store.report(host.room, telemetry)

    # What comes in from the other nodes

    def receive(self, letter: Letter) -> None:
        """A letter from our mailbox."""
        if isinstance(letter, Forward):
            occupant = self.sessions.get(letter.to)
            if letter.to in self._early:
                self._keep(self._early[letter.to], letter.payload)
            elif occupant is None:
                metrics.DROPPED.labels("away").inc()
            else:
                occupant.deliver(letter.payload)
            return
        room = self.rooms.get(letter.room)
        if room is None:
            if letter.room in self._joining:
                self._dirty.add(letter.room)
            return
        if time.monotonic() < self._settling_until:
            self._dirty.add(letter.room)
            return
        try:
            self._dispatch(room, room.apply(letter.changes))
        except VersionGap:
            self._read_again(letter.room)

    @staticmethod
    def _keep(early: list[bytes], payload: bytes) -> None:
        if len(early) < EARLY_LETTERS and sum(map(len, early)) + len(payload) <= EARLY_BYTES:
            early.append(payload)
        else:
            metrics.DROPPED.labels("buffer").inc()

    def _deliver_early(self, occupant: Occupant) -> None:
        for payload in self._early.pop(occupant.member.peer, ()):
            occupant.deliver(payload)

    def unheard(self, node: NodeId) -> None:
        """Letters to this node reached nobody: when that stays so, its members are lost."""
        if node not in self._striking and self._spawn(None, self._strike(node)):
            self._striking.add(node)

    # Records and events

    def _absorb(self, room_id: RoomId, record: Record, newcomer: PeerId | None = None) -> None:
        """Tell the other nodes what a script of ours changed, and take the record as our view."""
        self._publish(room_id, record)
        if any(self._knows_nothing_of(member) for member in record.members):
            self._dirty.add(
                room_id
            )  # a record older than a leave: writing the room again takes them out
        room = self.rooms.get(room_id)
        if room is None:
            return
        known = {member.peer: member for member in record.members}
        for peer, occupant in self._here.get(room_id, {}).items():
            member = known.get(peer)
            if record.version >= room.version and (
                member is None or member.generation < occupant.member.generation
            ):
                self._dirty.add(room_id)
                self._beat_now.set()
                return
        if time.monotonic() < self._settling_until and newcomer is None:
            self._dirty.add(room_id)
            return
        present = [member for member in record.members if member not in self._leaving]
        self._dispatch(room, room.replace(record.version, present), newcomer)

    def _knows_nothing_of(self, member: Member) -> bool:
        """It should be here, and is not; perhaps within its grace, which writing the room again leaves alone."""
        return (
            member.node == self.id
            and member.peer not in self.sessions
            and member.peer not in self._early
            and member not in self._leaving
        )

    def _publish(self, room_id: RoomId, record: Record) -> None:
        if not record.changes:
            return
        nodes = {member.node for member in record.members}
        for change in record.changes:
            nodes.add(change.member.node)
            if change.kind == "moved":
                nodes.add(NodeId(change.reason))
        notice = Notice(room_id, record.changes)
        for node in nodes - {self.id, NodeId("")}:
            self._bus.send(node, notice)

    def _dispatch(
        self, room: Room, events: Iterable[Event], newcomer: PeerId | None = None
    ) -> None:
        """Tell the sessions here; a newcomer has nothing to do with who left before it came."""
        for event in events:
            here = list(self._here.get(room.id, {}).values())
            match event:
                case Joined(member):
                    for occupant in here:
                        if occupant.member.peer != member.peer:
                            occupant.peer_joined(member)
                case Left(member, reason):
                    for occupant in here:
                        if occupant.member.peer == member.peer:
                            self._dirty.add(room.id)
                            self._beat_now.set()
                        elif occupant.member.peer != newcomer:
                            occupant.peer_left(member, reason)
                case Moved(before, after):
                    occupant_here = self.sessions.get(before.peer)
                    if (
                        occupant_here is not None
                        and after.node != self.id
                        and occupant_here.member.generation <= after.generation
                    ):
                        self._forget(occupant_here)
                        occupant_here.supersede()

    def _forget(self, occupant: Occupant) -> None:
        peer, room_id = occupant.member.peer, occupant.room
        del self.sessions[peer]
        self._count_out(occupant)
        here = self._here[room_id]
        del here[peer]
        if not here:
            del self._here[room_id]
            del self.rooms[room_id]
            metrics.ROOMS.dec()

    @staticmethod
    def _count_out(occupant: Occupant) -> None:
        metrics.CONNECTIONS.labels(occupant.member.dialect, occupant.member.role).dec()

    def _remove_here(self, room_id: RoomId, member: Member, reason: LeaveReason) -> None:
        room = self.rooms.get(room_id)
        # A peer that has come back, here or elsewhere, is another member.
        if room is not None and room.members.get(member.peer) == member:
            room.remove(member.peer)
            self._dispatch(room, [Left(member, reason)])

    # Work with Redis that nobody waits for

    def _spawn(self, room_id: RoomId | None, work: Coroutine[Any, Any, None]) -> bool:
        """Run in the background; beyond the limit (False) the next beat writes the room again instead."""
        if len(self._tasks) >= MAX_TASKS:
            work.close()
            if room_id is not None:
                self._dirty.add(room_id)
            return False
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return True

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("background work failed", exc_info=task.exception())

    async def _tell_left(self, room_id: RoomId, member: Member, reason: LeaveReason) -> None:
        try:
            self._absorb(room_id, await self._store.leave(room_id, member, reason))
        except StoreUnavailable:
            self._dirty.add(room_id)
        finally:
            self._leaving.discard(member)
        if reason == "bye" or member.dialect == "plain":
            return
        self._end_grace_in(self._timing.resume_grace_s + 0.05, room_id, member)

    def _end_grace_in(self, delay_s: float, room_id: RoomId, member: Member) -> None:
        asyncio.get_running_loop().call_later(
            delay_s, lambda: self._spawn(room_id, self._end_grace(room_id, member))
        )

    async def _end_grace(self, room_id: RoomId, member: Member) -> None:
        try:
            record = await self._store.reap(room_id)
        except StoreUnavailable:
            self._dirty.add(room_id)
            self._remove_here(room_id, member, "lost")
            return
        self._absorb(room_id, record)
        if member in record.members:  # its grace is not over by Redis's clock
            self._end_grace_in(self._timing.beat_s, room_id, member)

    def _read_again(self, room_id: RoomId) -> None:
        if room_id not in self._reading and self._spawn(room_id, self._reap(room_id)):
            self._reading.add(room_id)

    async def _reap(self, room_id: RoomId) -> None:
        try:
            self._absorb(room_id, await self._store.reap(room_id))
        except StoreUnavailable:
            self._dirty.add(room_id)
        finally:
            self._reading.discard(room_id)

    async def _strike(self, node: NodeId) -> None:
        try:
            if not await self._store.strike(node):
                await asyncio.sleep(STRIKE_S)
                if not await self._store.strike(node):
                    return
            log.warning("nobody hears node %s; its members are lost", node)
            await self._in_chunks(self._reap, self._rooms_with({node}))
        except StoreUnavailable:
            pass  # the next letter tries again, and the beats see to it in any case
        finally:
            self._striking.discard(node)

    async def _register(self, room_id: RoomId) -> None:
        here = self._here.get(room_id, {})
        rows = [(occupant.member, occupant.authorised) for occupant in here.values()]
        capacities = [o.host_capacity for o in here.values() if o.host_capacity is not None]
        joining = room_id in self._joining
        if joining:  # whom Redis has let in already, we do not know yet
            self._dirty.add(room_id)
        capacity = capacities[0] if capacities else None
        registration = Registration(room_id, capacity, rows, whole=not joining)
        try:
            self._absorb(room_id, await self._store.register(registration))
        except StoreUnavailable:
            self._dirty.add(room_id)

    def redis_back(self) -> None:
        """A link to Redis is new: what went over the old one may be lost, so look at every room, now."""
        self._missed = self._behind = True
        self._beat_now.set()

    async def run(self) -> None:
        """Beat until cancelled."""
        try:
            while True:
                self._beat_now.clear()
                await self._beat()
                try:
                    async with asyncio.timeout(self._timing.beat_s):
                        await self._beat_now.wait()
                        await asyncio.sleep(0.05)  # a limit on how often an event can beat
                except TimeoutError:
                    pass
        finally:
            for task in self._tasks:
                task.cancel()

    async def _beat(self) -> None:
        others = {
            member.node for room in self.rooms.values() for member in room.members.values()
        } - {self.id}
        missed, self._missed = self._missed, False
        try:
            beat = await self._store.beat(sorted(others))
        except StoreUnavailable:
            self._missed = True
            return
        metrics.LEASES.inc()
        forgotten = self._epoch is not None and beat.epoch != self._epoch
        self._epoch = beat.epoch
        if forgotten:
            log.warning("Redis is another, or lost its records; writing %d rooms", len(self.rooms))
            for room in self.rooms.values():
                room.version = 0  # versions of two epochs say nothing of each other
            self._settling_until = time.monotonic() + self._timing.settle_s
        due = time.monotonic() - self._swept_at > self._timing.sweep_s
        rooms: set[RoomId] = set()
        if forgotten or missed or due or beat.lapsed:
            self._swept_at = time.monotonic()
            rooms |= self.rooms.keys()
        if forgotten or time.monotonic() >= self._settling_until:
            rooms |= self._dirty
            self._dirty = set()
        if rooms:
            metrics.REREGISTRATIONS.inc(len(rooms) if forgotten else 0)
            await self._in_chunks(self._register, rooms)
        self._behind = self._missed
        if beat.gone:
            gone = set(beat.gone)
            await self._in_chunks(self._reap, self._rooms_with(gone))

    def _rooms_with(self, nodes: set[NodeId]) -> list[RoomId]:
        return [
            room.id
            for room in self.rooms.values()
            if any(member.node in nodes for member in room.members.values())
        ]

    @staticmethod
    async def _in_chunks(work: Any, rooms: Iterable[RoomId]) -> None:
        ordered = list(rooms)
        for start in range(0, len(ordered), CHUNK):
            await asyncio.gather(*(work(room) for room in ordered[start : start + CHUNK]))

    async def settle(self, timeout_s: float) -> None:
        """At the end: let the leaves that are on their way reach Redis."""
        leaving = [task for task in self._tasks if not task.done()]
        if leaving:
            await asyncio.wait(leaving, timeout=timeout_s)
