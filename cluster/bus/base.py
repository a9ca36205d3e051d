"""What the node asks of the bus: at-most-once delivery to one node's mailbox, in order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from cluster.protocol.messages import PeerId, RoomId
from cluster.room import Change, NodeId


@dataclass(frozen=True, slots=True)
class Forward:
    """A peer's message for a peer on the other node; `payload` is not looked into on the way."""

    to: PeerId
    payload: bytes


@dataclass(frozen=True, slots=True)
class Notice:
    """What changed in a room, for a node that holds a member of it."""

    room: RoomId
    changes: tuple[Change, ...]


Letter = Forward | Notice
Receive = Callable[[Letter], None]


class Bus(Protocol):
    """`send` never blocks and never raises: what cannot go out is counted and gone."""

    @property
    def up(self) -> bool:
        """True while this node hears its mailbox."""

    def send(self, node: NodeId, letter: Letter) -> None:
        """Queue for the node's mailbox; the letters of one event-loop turn travel together."""
