"""One room as a node sees it: members, version, and what a change means to the members here. A core.

The record in Redis is the truth. A node keeps this view of each room that it holds a member of, applies
the changes that the other nodes send, and asks for the whole record when a version is missing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NewType, cast

from cluster.protocol.messages import Dialect, LeaveReason, PeerId, Role, RoomId

NodeId = NewType("NodeId", str)
ChangeKind = Literal["joined", "left", "moved"]


@dataclass(frozen=True, slots=True)
class Member:
    """A peer in a room; `node` is where its socket is, and changes when it resumes elsewhere."""

    peer: PeerId
    node: NodeId
    role: Role
    dialect: Dialect
    generation: int = 1

    @property
    def is_host(self) -> bool:
        """A Tightbeam host: it gives the room its capacity and its access rule."""
        return self.role == "host"


@dataclass(frozen=True, slots=True)
class Change:
    """One step of a room's version, as the store reports it and the bus carries it."""

    version: int
    kind: ChangeKind
    member: Member
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Joined:
    """Tell the members here: somebody came."""

    member: Member


@dataclass(frozen=True, slots=True)
class Left:
    """Tell the members here: somebody went."""

    member: Member
    reason: LeaveReason


@dataclass(frozen=True, slots=True)
class Moved:
    """A peer resumed on another socket; a socket here that still had it is superseded."""

    before: Member
    after: Member


Event = Joined | Left | Moved


class VersionGap(Exception):
    """A change was missed: the whole record must be read."""


class Room:
    """The members of one room and the version up to which they are known."""

    def __init__(self, room_id: RoomId) -> None:
        self.id = room_id
        self.version = 0
        self.members: dict[PeerId, Member] = {}

    def replace(self, version: int, members: Iterable[Member]) -> list[Event]:
        """Take the whole record; an older one than is known changes nothing."""
        if version < self.version:
            return []
        before, self.members = self.members, {member.peer: member for member in members}
        self.version = version
        events: list[Event] = [
            Left(member, "lost") for peer, member in before.items() if peer not in self.members
        ]
        for peer, member in self.members.items():
            old = before.get(peer)
            if old is None:
                events.append(Joined(member))
            elif (old.node, old.generation) != (member.node, member.generation):
                events.append(Moved(old, member))
        return events

    def apply(self, changes: Iterable[Change]) -> list[Event]:
        """Take changes in order; those already known are skipped. Raises VersionGap before a gap."""
        events: list[Event] = []
        for change in changes:
            if change.version <= self.version:
                continue
            if change.version != self.version + 1:
                raise VersionGap
            self.version = change.version
            events += self._step(change)
        return events

    def _step(self, change: Change) -> list[Event]:
        member = change.member
        old = self.members.get(member.peer)
        if change.kind == "left":
            if old is None:
                return []
            del self.members[member.peer]
            return [Left(old, cast(LeaveReason, change.reason or "lost"))]
        self.members[member.peer] = member
        if old is None:
            return [Joined(member)]
        return [Moved(old, member)]

    def remove(self, peer: PeerId) -> Member | None:
        """Forget a member of our own before, or without, the store's word."""
        return self.members.pop(peer, None)

    @property
    def has_host(self) -> bool:
        """Then it lets in and hears by the host's rule."""
        return any(member.is_host for member in self.members.values())

    def hears(self, sender: Member) -> list[Member]:
        """To whom a plain message goes: the host only where there is one, else everybody else."""
        hearers = []
        for member in self.members.values():
            if member.role == "host":
                return [member] if member.peer != sender.peer else []
            if member.peer != sender.peer and member.dialect == "plain":
                hearers.append(member)
        return hearers
