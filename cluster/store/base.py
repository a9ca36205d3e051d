"""What the node asks of the store: atomic room changes, node beats, pairing records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from cluster.protocol.messages import Dialect, PeerId, Role, RoomId
from cluster.proxies import ClientAddress
from cluster.room import Change, Member, NodeId

Refusal = Literal[
    "unauthorized", "forbidden", "host-present", "room-full", "rate-limited", "unavailable"
]
JoinLimit = Literal["connections", "resumes"]


class StoreUnavailable(Exception):
    """The store is away; trying later may help."""


class JoinRefused(Exception):
    """The room's rules say no; `record` is the room, which the attempt may have cleaned of lost peers.

    With `rate-limited` comes which limit it was, and when its window ends.
    """

    def __init__(
        self,
        code: Refusal,
        record: Record | None = None,
        limit: JoinLimit = "connections",
        retry_after_ms: int | None = None,
    ) -> None:
        super().__init__(code)
        self.code: Refusal = code
        self.record = record
        self.limit: JoinLimit = limit
        self.retry_after_ms = retry_after_ms


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """One peer that wants in. `pairing` is the sha256 of a pairing token, consumed by success.

    `address_limit` is how many joins all nodes together take from `address` in `limits.WINDOW_S`; None: no limit.
    """

    room: RoomId
    peer: PeerId
    role: Role
    dialect: Dialect
    capacity: int
    host_capacity: int | None = None
    authorised: bool = False
    pairing: str | None = None
    resume: PeerId | None = None
    generation: int = 0
    address: ClientAddress | None = None
    address_limit: int = 0


@dataclass(frozen=True, slots=True)
class Record:
    """A room after a script ran: everybody in it, and what this script changed."""

    version: int
    members: tuple[Member, ...]
    changes: tuple[Change, ...]
    reaped: int
    displaced: tuple[PeerId, ...] = ()
    """Of whom was written again: hosts whose place another has by now."""


@dataclass(frozen=True, slots=True)
class Admission:
    """A join that succeeded; `member` may be an earlier peer come back."""

    member: Member
    resumed: bool
    record: Record


@dataclass(frozen=True, slots=True)
class Away:
    """A lost peer that may resume for another `grace_ms`, which the store may not have heard.

    `anew`: it was lost in an epoch before, of which the record may know nothing.
    """

    member: Member
    authorised: bool
    grace_ms: int
    anew: bool


@dataclass(frozen=True, slots=True)
class Registration:
    """What this node holds in a room, for writing it again: `whole` when that is everybody."""

    room: RoomId
    capacity: int | None
    members: Sequence[tuple[Member, bool]]
    away: Sequence[Away] = ()
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Beat:
    """The answer to a node's beat; another epoch than before: the store lost its memory, or a part of it.

    `lapsed`: the beat came too late (or is the first), so other nodes may have taken this one for dead.
    """

    epoch: str
    gone: tuple[NodeId, ...]
    lapsed: bool


class Store(Protocol):
    """Every method is one atomic step and raises StoreUnavailable within four seconds when it cannot.

    `join` and `secret` may wait six for a store that has just come back.
    """

    @property
    def up(self) -> bool:
        """True while steps are likely to succeed."""

    async def join(self, request: JoinRequest) -> Admission:
        """Raises JoinRefused; waits while a new epoch lets the known peers come back first."""

    async def leave(self, room: RoomId, member: Member, reason: Literal["bye", "lost"]) -> Record:
        """`lost` keeps a Tightbeam peer's place for the grace; a plain peer goes at once."""

    async def reap(self, room: RoomId) -> Record:
        """Remove whose grace is over or whose node is gone."""

    async def register(self, registration: Registration) -> Record:
        """Make the record agree with what this node holds; otherwise as `reap`."""

    async def strike(self, node: NodeId) -> bool:
        """Nobody heard a letter to this node. True: not for the first time, so it is dead from now on."""

    def report(self, room: RoomId, telemetry: bytes) -> None:
        """Keep what the room's host said of itself for some seconds; never waits."""

    async def beat(self, others: Sequence[NodeId]) -> Beat:
        """This node lives; which of the others do not."""

    async def secret(self) -> str:
        """The signing secret that all nodes share, made at the first call ever; beats keep it there."""
