"""The node: which peers are here, how a message reaches the others, and what they are told of each other.

Sessions call in from above, letters and records come in from the store and the bus; rooms decide. A message
between two peers of this node never leaves the process. While Redis is away everything here goes on, and the
reconciler makes good afterwards what could not be said.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Collection, Iterable
from typing import Final, Literal, Protocol

from cluster import metrics
from cluster.bus.base import Bus, Forward, Letter, Notice
from cluster.protocol.messages import LeaveReason, PeerId, RoomId
from cluster.reconciler import Reconciler
from cluster.room import Event, Joined, Left, Member, Moved, NodeId, Room, VersionGap
from cluster.store.base import Admission, JoinRefused, JoinRequest, Record, Store, StoreUnavailable

EARLY_LETTERS: Final = 64
EARLY_BYTES: Final = 256 * 1024
"""For one peer whose join is under way: an offer and its candidates."""


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
        """The peer came back on another socket, or another host came; this one is over and must not leave the room."""


class Node:
    """All rooms and sessions of this process."""

    def __init__(self, node_id: NodeId) -> None:
        self.id = node_id
        self.sessions: dict[PeerId, Occupant] = {}
        self.rooms: dict[RoomId, Room] = {}
        self._here: dict[RoomId, dict[PeerId, Occupant]] = {}
        self._joining: Counter[RoomId] = Counter()  # joins that Redis has not answered yet
        # Redis has let them in, and perhaps told other nodes, before its answer to our join is here.
        self._early: dict[PeerId, list[bytes]] = {}

    def attach(self, store: Store, bus: Bus, reconciler: Reconciler) -> None:
        """Give the node what needs its id, and calls it, first."""
        self._store = store
        self._bus = bus
        self._reconciler = reconciler

    @property
    def ready(self) -> bool:
        """True while peers can join: commands work, the mailbox is heard, what we hold is written."""
        return self._store.up and self._bus.up and self._reconciler.ready

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
            if self._reconciler.is_dirty(request.room):
                # A notice came before this reply, which may be the older of the two. Whoever it names may have
                # spoken to us already, and wants to be known when he is answered.
                record = await self._newest(request.room, record)
            expected.discard(admission.member.peer)
        except JoinRefused as refused:
            if refused.record is not None:
                self.absorb(request.room, refused.record)
            raise
        except BaseException:
            # Redis away, cancelled, or our own fault: the script may have run all the same. Writing the room
            # again takes out whom we do not hold.
            # A pairing token that it has consumed stays consumed: used once at most, never twice.
            self._reconciler.mark(request.room)
            raise
        finally:
            self._joining[request.room] -= 1
            if not self._joining[request.room]:
                del self._joining[request.room]
            for peer in expected:
                self._early.pop(peer, None)
        metrics.JOIN.observe(time.perf_counter() - started)
        member = admission.member
        self._reconciler.returned(request.room, member.peer)
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
        self.absorb(request.room, record, newcomer=member.peer)
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
        self._reconciler.tell_left(occupant.room, occupant, reason)
        if reason == "bye" or member.dialect == "plain":
            self.remove_here(occupant.room, member, reason)

    def forward(
        self, sender: Occupant, to: PeerId, payload: bytes, kind: str
    ) -> Literal["local", "remote", "away", "no-peer"]:
        """Send a message of this type on to one peer of the sender's room."""
        occupant = self.sessions.get(to)
        if occupant is not None and occupant.room == sender.room:
            self._hand_over(to, payload)
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

    def held(self, room_id: RoomId) -> Collection[Occupant]:
        """The sessions here in that room."""
        return self._here.get(room_id, {}).values()

    def is_joining(self, room_id: RoomId) -> bool:
        """A join there has not been answered: whom Redis has let in already, we do not know yet."""
        return room_id in self._joining

    def report(self, host: Occupant, telemetry: bytes) -> None:
        """What a host says of itself; raises StoreUnavailable."""
        if self.sessions.get(host.member.peer) is host:
            self._store.report(host.room, telemetry)

    # What comes in from the other nodes

    def receive(self, letter: Letter) -> None:
        """A letter from our mailbox."""
        if isinstance(letter, Forward):
            self._hand_over(letter.to, letter.payload)
            return
        for change in letter.changes:
            if change.kind in ("moved", "left"):
                self._reconciler.returned(letter.room, change.member.peer)
        room = self.rooms.get(letter.room)
        if room is None:
            if letter.room in self._joining:
                self._reconciler.mark(letter.room)
            return
        if self._reconciler.settling:
            self._reconciler.mark(letter.room)
            return
        try:
            self._dispatch(room, room.apply(letter.changes))
        except VersionGap:
            self._reconciler.read_again(letter.room)

    def _hand_over(self, to: PeerId, payload: bytes) -> None:
        """To a peer here; before its join is answered, and its welcome said, it waits."""
        if to in self._early:
            self._keep(self._early[to], payload)
        elif (occupant := self.sessions.get(to)) is not None:
            occupant.deliver(payload)
        else:
            metrics.DROPPED.labels("away").inc()

    @staticmethod
    def _keep(early: list[bytes], payload: bytes) -> None:
        if len(early) < EARLY_LETTERS and sum(map(len, early)) + len(payload) <= EARLY_BYTES:
            early.append(payload)
        else:
            metrics.DROPPED.labels("buffer").inc()

    def _deliver_early(self, occupant: Occupant) -> None:
        for payload in self._early.pop(occupant.member.peer, ()):
            occupant.deliver(payload)

    # Records and events

    def absorb(self, room_id: RoomId, record: Record, newcomer: PeerId | None = None) -> None:
        """Tell the other nodes what a script of ours changed, and take the record as our view."""
        self._publish(room_id, record)
        for peer in record.displaced:
            if (occupant := self.sessions.get(peer)) is not None:
                self._forget(occupant)
                occupant.supersede()
        if any(self._knows_nothing_of(member) for member in record.members):
            self._reconciler.mark(room_id)  # older than a leave: writing it takes them out
        room = self.rooms.get(room_id)
        if room is None:
            return
        known = {member.peer: member for member in record.members}
        for peer, occupant in self._here.get(room_id, {}).items():
            member = known.get(peer)
            if record.version >= room.version and (
                member is None or member.generation < occupant.member.generation
            ):
                self._reconciler.mark(room_id, now=True)
                return
        if self._reconciler.settling and newcomer is None:
            self._reconciler.mark(room_id)
            return
        present = [member for member in record.members if not self._reconciler.is_leaving(member)]
        self._dispatch(room, room.replace(record.version, present), newcomer)

    def _knows_nothing_of(self, member: Member) -> bool:
        """It should be here, and is not; perhaps within its grace, which writing the room again leaves alone."""
        return (
            member.node == self.id
            and member.peer not in self.sessions
            and member.peer not in self._early
            and not self._reconciler.is_leaving(member)
        )

    def _publish(self, room_id: RoomId, record: Record) -> None:
        if not record.changes:
            return
        nodes = {member.node for member in record.members}
        for change in record.changes:
            nodes.add(change.member.node)
            if change.kind == "moved":
                nodes.add(NodeId(change.reason))
            elif change.kind == "left":
                self._reconciler.returned(room_id, change.member.peer)
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
                            self._reconciler.mark(room.id, now=True)
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

    def remove_here(self, room_id: RoomId, member: Member, reason: LeaveReason) -> None:
        """It is gone, whatever Redis says: tell the members here."""
        room = self.rooms.get(room_id)
        # A peer that has come back, here or elsewhere, is another member.
        if room is not None and room.members.get(member.peer) == member:
            room.remove(member.peer)
            self._dispatch(room, [Left(member, reason)])
