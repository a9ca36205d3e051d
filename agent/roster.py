"""Who is in the host's room, and the negotiation with each: the core between socket and sessions.

Flow: agent/signaling.py hands frames in and sends what `poll` returns; agent/host.py takes the events
and answers by `say`. No clock: `now` is in seconds of a monotonic clock.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cluster.protocol import messages
from cluster.protocol.messages import (
    Answer,
    Candidate,
    Control,
    Dialect,
    IceServers,
    Item,
    LeaveReason,
    MessageError,
    Offer,
    PeerId,
    PeerJoined,
    PeerLeft,
    Role,
    Sync,
    Welcome,
)
from cluster.protocol.negotiation import Answerer, LogFullError, Negotiation, Started

MAX_REMOTES: Final = 64
"""The largest capacity of a room (docs/protocol.md 3); peers that left while we were away go first."""


@dataclass(frozen=True, slots=True)
class Offered:
    """A peer wants a session; it replaces the one that the peer had. Answer by `say`."""

    peer: PeerId
    role: Role
    negotiation: str
    sdp: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Trickled:
    """A candidate for the peer's running negotiation."""

    peer: PeerId
    negotiation: str
    candidate: Candidate


@dataclass(frozen=True, slots=True)
class Left:
    """`bye`: its session is over. `lost`: it may have lost signaling only."""

    peer: PeerId
    reason: LeaveReason


Event = Offered | Trickled | Left


@dataclass(slots=True)
class _Remote:
    role: Role
    dialect: Dialect
    answerer: Answerer
    away: bool = False
    """Lost; its log is kept, as it may be back under the same id and go on with it: its node was cut off."""
    offers: int = 0
    """Of a plain peer, which names no negotiation."""

    @property
    def plain_negotiation(self) -> str:
        return f"plain-{self.offers}"


class Roster:
    """Everything that is known of the room through signaling. Lives longer than one socket."""

    def __init__(self) -> None:
        self.me: PeerId | None = None
        self.resume: str | None = None
        self.ice_servers: tuple[Mapping[str, Any], ...] = ()
        self._remotes: dict[PeerId, _Remote] = {}
        self._plain_frames: list[str] = []

    def welcome(self, welcome: Welcome) -> list[Event]:
        """A socket was welcomed: either nothing changed, or this is another host to the others."""
        gone: list[Event] = []
        if not welcome.resumed:
            gone = [Left(peer, "lost") for peer in self._remotes]
            self._remotes.clear()
            self._plain_frames.clear()
        self.me = welcome.peer
        self.resume = welcome.resume
        self.ice_servers = welcome.ice_servers
        for remote in self._remotes.values():
            if remote.answerer.running is not None:
                remote.answerer.running.reconnected()
        return gone

    def receive(self, frame: str | bytes, now: float) -> list[Event]:
        """Take one frame of the node; raises MessageError for one that is none."""
        obj = messages.decode_object(frame)
        if messages.is_item(obj):
            return self._plain(obj)
        match messages.parse_object(obj):
            case PeerJoined(peer, role, dialect):
                return self._joined(peer, role, dialect)
            case PeerLeft(peer, reason):
                return self._left(peer, reason)
            case Sync() as sync:
                return self._sync(sync, now)
            case IceServers(servers):
                self.ice_servers = servers
                return []
            case other:
                raise MessageError(f"{type(other).__name__}: not a message for a host")

    def say(self, peer: PeerId, negotiation: str, item: Item) -> bool:
        """Append to our list of this negotiation; False when it is over or full.

        A Control is said in the newest one, as the page takes nothing else: this may be about a session
        that goes on beside one that a newer offer asked for in vain.
        """
        remote = self._remotes.get(peer)
        if remote is None or self.me is None:
            return False
        if remote.dialect == "plain":
            if negotiation != remote.plain_negotiation and not isinstance(item, Control):
                return False
            obj = messages.item_object(item) | {"to": peer, "from": self.me}
            self._plain_frames.append(json.dumps(obj, separators=(",", ":")))
            return True
        running = remote.answerer.running
        if running is None or (
            running.negotiation != negotiation and not isinstance(item, Control)
        ):
            return False
        try:
            running.say(item)
        except LogFullError:
            return False
        return True

    def poll(self, now: float) -> Iterator[str]:
        """The frames to send now."""
        frames, self._plain_frames = self._plain_frames, []
        yield from frames
        for running in list(self._running()):  # the caller sends, and peers leave meanwhile
            while (sync := running.poll(now)) is not None:
                yield messages.encode(sync)

    def next_deadline(self) -> float | None:
        """When `poll` may have something without a call in between."""
        times = (running.next_deadline() for running in self._running())
        return min((time for time in times if time is not None), default=None)

    def _running(self) -> Iterator[Negotiation]:
        """With those who are here to hear it."""
        for remote in self._remotes.values():
            if remote.answerer.running is not None and not remote.away:
                yield remote.answerer.running

    def _joined(self, peer: PeerId, role: Role, dialect: Dialect) -> list[Event]:
        known = self._remotes.get(peer)
        if known is not None:
            known.role = role
            known.away = False
            if known.answerer.running is not None:
                known.answerer.running.reconnected()
            return []
        if role == "host" or self.me is None:
            return []
        forgotten: list[Event] = []
        while len(self._remotes) >= MAX_REMOTES:
            oldest = next(
                (p for p, r in self._remotes.items() if r.away), next(iter(self._remotes))
            )
            del self._remotes[oldest]
            forgotten.append(Left(oldest, "lost"))
        self._remotes[peer] = _Remote(role, dialect, Answerer(self.me, peer))
        return forgotten

    def _left(self, peer: PeerId, reason: LeaveReason) -> list[Event]:
        remote = self._remotes.get(peer)
        if remote is not None and remote.dialect == "tightbeam" and reason == "lost":
            remote.away = True
        else:
            self._remotes.pop(peer, None)
        return [Left(peer, reason)]

    def _sync(self, sync: Sync, now: float) -> list[Event]:
        remote = self._remotes.get(sync.sender)
        if remote is None or sync.to != self.me:
            return []
        started, items = remote.answerer.receive(sync, now)
        return list(self._events(sync, remote, started, items))

    def _events(
        self, sync: Sync, remote: _Remote, started: Started | None, items: tuple[Item, ...]
    ) -> Iterator[Event]:
        for index, item in enumerate(items):
            match item:
                case Offer(sdp) if started is not None and index == 0:
                    yield Offered(sync.sender, remote.role, sync.negotiation, sdp)
                case Candidate():
                    yield Trickled(sync.sender, sync.negotiation, item)
                case Offer() | Answer() | Control():
                    pass  # a page says none of these after its offer (docs/protocol.md 3.2)

    def _plain(self, obj: Mapping[str, Any]) -> list[Event]:
        peer = obj.get("from")
        remote = self._remotes.get(PeerId(peer)) if isinstance(peer, str) else None
        if remote is None or remote.dialect != "plain":
            raise MessageError("from: expected a plain peer of this room")
        match messages.parse_item(dict(obj)):
            case Offer(sdp):
                remote.offers += 1
                return [Offered(PeerId(str(peer)), remote.role, remote.plain_negotiation, sdp)]
            case Candidate() as candidate:
                return [Trickled(PeerId(str(peer)), remote.plain_negotiation, candidate)]
            case _:
                return []
