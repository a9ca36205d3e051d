"""The reconciler: beats for this node, and makes Redis's records and the rooms here agree again.

The node says which rooms may differ; the records that the store answers with go back to it. What Redis could not
be told while it was away is made good by writing the rooms again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from cluster import metrics
from cluster.protocol.messages import LeaveReason, PeerId, RoomId
from cluster.room import Member, NodeId, Room
from cluster.settings import Timing
from cluster.store.base import Away, Record, Registration, Store, StoreUnavailable

log = logging.getLogger(__name__)

MAX_TASKS: Final = 20_000
CHUNK: Final = 100
STRIKE_S: Final = 1.1
"""Until a mailbox that nobody heard is tried again; the store wants a second between."""
CLOCK_SLACK_S: Final = 0.05
"""A grace ends by Redis's clock, and is looked at this much later by ours."""


@dataclass(slots=True)
class Grace:
    """A lost peer, until `ends` (monotonic seconds); `epoch`: of the records that know it."""

    member: Member
    authorised: bool
    host_capacity: int | None
    ends: float
    epoch: str | None


class Held(Protocol):
    """A joined session, as far as a record tells of it."""

    member: Member
    authorised: bool
    host_capacity: int | None


class Holder(Protocol):
    """The node, as the reconciler sees it."""

    @property
    def id(self) -> NodeId:
        """Under which its members are in the records."""

    @property
    def rooms(self) -> Mapping[RoomId, Room]:
        """All with a session here."""

    def held(self, room_id: RoomId) -> Collection[Held]:
        """The sessions here in that room."""

    def is_joining(self, room_id: RoomId) -> bool:
        """A join there has not been answered: whom Redis has let in already, we do not know yet."""

    def absorb(self, room_id: RoomId, record: Record) -> None:
        """Take the record that a script has answered with."""

    def remove_here(self, room_id: RoomId, member: Member, reason: LeaveReason) -> None:
        """It is gone, whatever Redis says."""


class Reconciler:
    """See the module; `run` beats."""

    def __init__(self, node: Holder, store: Store, timing: Timing) -> None:
        self._node = node
        self._store = store
        self._timing = timing
        self._dirty: set[RoomId] = set()
        self._reading: set[RoomId] = set()
        self._striking: set[NodeId] = set()
        # Gone here; a record written before their leave lists them still.
        self._leaving: set[Member] = set()
        # As many as have joined here within a grace: the limit on joins bounds it.
        self._graces: dict[RoomId, dict[PeerId, Grace]] = {}
        self._settling_until = 0.0
        self._epoch: str | None = None
        self._beat_now = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._missed = False  # since the last beat something may not have been told or heard
        self._behind = False  # a new link, and our rooms are not written yet
        self._swept_at = time.monotonic()

    @property
    def ready(self) -> bool:
        """Redis knows this node, and what it holds is written."""
        return self._epoch is not None and not self._behind

    @property
    def settling(self) -> bool:
        """Redis is another or came back: its records may lack members until all nodes have written theirs."""
        return time.monotonic() < self._settling_until

    # What the node asks

    def mark(self, room_id: RoomId, *, now: bool = False) -> None:
        """This room's record may differ from what is here: the next beat, or one `now`, writes it."""
        self._dirty.add(room_id)
        if now:
            self._beat_now.set()

    def is_dirty(self, room_id: RoomId) -> bool:
        """It is to be written again."""
        return room_id in self._dirty

    def is_leaving(self, member: Member) -> bool:
        """It said goodbye here, and Redis has not answered to that."""
        return member in self._leaving

    def tell_left(self, room_id: RoomId, gone: Held, reason: LeaveReason) -> None:
        """Redis is told that this peer's socket is gone; one that may resume is given up after its grace."""
        member, grace_s = gone.member, self._timing.resume_grace_s
        may_resume = reason == "lost" and member.dialect == "tightbeam"
        if may_resume:
            self._graces.setdefault(room_id, {})[member.peer] = Grace(
                member, gone.authorised, gone.host_capacity, time.monotonic() + grace_s, self._epoch
            )
        told = self._spawn(room_id, self._tell_left(room_id, member, reason, may_resume=may_resume))
        if may_resume and not told:
            self._end_grace_in(grace_s, room_id, member)
        elif told and not may_resume:
            self._leaving.add(member)

    def returned(self, room_id: RoomId, peer: PeerId) -> None:
        """This peer is here again or elsewhere, or the record let it go: nothing of it is owed to Redis."""
        graces = self._graces.get(room_id, {})
        if graces.pop(peer, None) is not None and not graces:
            del self._graces[room_id]

    def read_again(self, room_id: RoomId) -> None:
        """A change of this room was missed."""
        if room_id not in self._reading and self._spawn(room_id, self.reap(room_id)):
            self._reading.add(room_id)

    def unheard(self, node: NodeId) -> None:
        """Letters to this node reached nobody: when that stays so, its members are lost."""
        if node not in self._striking and self._spawn(None, self._strike(node)):
            self._striking.add(node)

    def redis_back(self) -> None:
        """A link to Redis is new: what went over the old one may be lost, so look at every room, now."""
        self._missed = self._behind = True
        self._beat_now.set()

    async def run(self) -> None:
        """Beat until cancelled."""
        try:
            while True:
                self._beat_now.clear()
                await self.beat()
                try:
                    async with asyncio.timeout(self._timing.beat_s):
                        await self._beat_now.wait()
                        await asyncio.sleep(0.05)  # a limit on how often an event can beat
                except TimeoutError:
                    pass
        finally:
            for task in self._tasks:
                task.cancel()

    async def settle(self, timeout_s: float) -> None:
        """At the end: let the leaves that are on their way reach Redis."""
        leaving = [task for task in self._tasks if not task.done()]
        if leaving:
            await asyncio.wait(leaving, timeout=timeout_s)

    # Work with Redis

    async def beat(self) -> None:
        """Once; and write the rooms that need it."""
        others = {
            member.node for room in self._node.rooms.values() for member in room.members.values()
        } - {self._node.id}
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
            log.warning(
                "Redis is another, or lost its records; writing %d rooms", len(self._node.rooms)
            )
            for room in self._node.rooms.values():
                room.version = 0  # versions of two epochs say nothing of each other
            self._settling_until = time.monotonic() + self._timing.settle_s
        due = time.monotonic() - self._swept_at > self._timing.sweep_s
        rooms: set[RoomId] = set()
        if forgotten or missed or due or beat.lapsed:
            self._swept_at = time.monotonic()
            rooms |= self._node.rooms.keys() | self._graces.keys()
        if forgotten or not self.settling:
            rooms |= self._dirty
            self._dirty = set()
        if rooms:
            metrics.REREGISTRATIONS.inc(len(rooms) if forgotten else 0)
            await self._in_chunks(self.register, rooms)
        self._behind = self._missed
        if beat.gone:
            gone = set(beat.gone)
            await self._in_chunks(self.reap, self._rooms_with(gone))

    def _rooms_with(self, nodes: set[NodeId]) -> list[RoomId]:
        return [
            room.id
            for room in self._node.rooms.values()
            if any(member.node in nodes for member in room.members.values())
        ]

    @staticmethod
    async def _in_chunks(work: Any, rooms: Iterable[RoomId]) -> None:
        ordered = list(rooms)
        for start in range(0, len(ordered), CHUNK):
            await asyncio.gather(*(work(room) for room in ordered[start : start + CHUNK]))

    async def register(self, room_id: RoomId) -> None:
        """Write what this node holds in the room."""
        here, graces = self._node.held(room_id), list(self._graces.get(room_id, {}).values())
        joining, epoch = self._node.is_joining(room_id), self._epoch
        if joining:
            self._dirty.add(room_id)
        registration = Registration(
            room_id,
            next(
                (of.host_capacity for of in (*here, *graces) if of.host_capacity is not None), None
            ),
            [(held.member, held.authorised) for held in here],
            [self._away(grace) for grace in graces],
            whole=not joining,
        )
        try:
            record = await self._store.register(registration)
        except StoreUnavailable:
            self._dirty.add(room_id)
            return
        for grace in graces:
            grace.epoch = epoch
        self._node.absorb(room_id, record)

    def _away(self, grace: Grace) -> Away:
        left_ms = max(1, int((grace.ends - time.monotonic()) * 1000))
        return Away(grace.member, grace.authorised, left_ms, grace.epoch != self._epoch)

    async def reap(self, room_id: RoomId) -> None:
        """Read the record, without those who are gone."""
        try:
            self._node.absorb(room_id, await self._store.reap(room_id))
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
            await self._in_chunks(self.reap, self._rooms_with({node}))
        except StoreUnavailable:
            pass  # the next letter tries again, and the beats see to it in any case
        finally:
            self._striking.discard(node)

    async def _tell_left(
        self, room_id: RoomId, member: Member, reason: LeaveReason, *, may_resume: bool
    ) -> None:
        began = time.monotonic()
        try:
            self._node.absorb(room_id, await self._store.leave(room_id, member, reason))
            began = time.monotonic()
        except StoreUnavailable:
            self._dirty.add(room_id)
        finally:
            self._leaving.discard(member)
        if may_resume:
            delay_s = self._timing.resume_grace_s + began - time.monotonic()
            self._end_grace_in(delay_s + CLOCK_SLACK_S, room_id, member)

    def _end_grace_in(self, delay_s: float, room_id: RoomId, member: Member) -> None:
        asyncio.get_running_loop().call_later(delay_s, self._grace_over, room_id, member)

    def _grace_over(self, room_id: RoomId, member: Member) -> None:
        grace = self._graces.get(room_id, {}).get(member.peer)
        if grace is not None and grace.member == member:
            self.returned(room_id, member.peer)
        self._spawn(room_id, self._end_grace(room_id, member))

    async def _end_grace(self, room_id: RoomId, member: Member) -> None:
        try:
            record = await self._store.reap(room_id)
        except StoreUnavailable:
            self._dirty.add(room_id)
            self._node.remove_here(room_id, member, "lost")
            return
        self._node.absorb(room_id, record)
        if member in record.members:  # its grace is not over by Redis's clock
            self._end_grace_in(self._timing.beat_s, room_id, member)

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
