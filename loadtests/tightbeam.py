"""Clients of the Tightbeam dialect as sans-IO machines: a host, and a guest that calls it (protocol.md 3; a core)."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from cluster.protocol import messages
from cluster.protocol.messages import (
    SUBPROTOCOL,
    Bye,
    Error,
    Hello,
    IceServers,
    Item,
    PeerId,
    PeerJoined,
    PeerLeft,
    Ping,
    Pong,
    Reconnect,
    Role,
    RoomId,
    Sync,
    Welcome,
)
from cluster.protocol.negotiation import Answerer, Negotiation
from loadtests.conversation import Conversation, End, Script
from loadtests.marks import Voice
from loadtests.side import Measured, Side

PONG_WITHIN_S: Final = 3.0
WELCOME_WITHIN_S: Final = 8.0
"""As the page and the agent (docs/protocol.md 3.1)."""
RESOLVE_WITHIN_S: Final = 30.0
"""The life of a node and the grace of a lost peer, twice over."""
HOST_WAITS_S: Final = 15.0
"""At the end, for its guests to be done."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who joins which room. `ticket` gives a fresh credential, or None where none is asked for."""

    room: RoomId
    role: Role
    ticket: Callable[[], str | None]
    new_id: Callable[[], str]
    """128 random bits in base64url."""


class Peer(Side):
    """What host and guest share: joining, resuming, heartbeats."""

    subprotocol = SUBPROTOCOL

    def __init__(self, who: Identity, script: Script, chance: random.Random) -> None:
        super().__init__(script, chance)
        self.who = who
        self.me: PeerId | None = None
        self._resume: str | None = None
        self._session: str | None = None
        self._opened_at = 0.0
        self._lost_at: float | None = None
        self._heard_at = 0.0
        self._pinged_at: float | None = None
        self._move_at: float | None = None

    def path(self) -> str:
        """See Side."""
        return "/ws"

    # The socket

    def opened(self, now: float) -> None:
        """See Side."""
        self._opened_at = self._heard_at = now
        self._pinged_at = self._move_at = None
        self.hang_up = False
        room, role = self.who.room, self.who.role
        if self._resume is not None:
            hello = Hello(room, role, resume=self._resume)
        elif self._session is not None:
            hello = Hello(room, role, session=self._session)
        else:
            hello = Hello(room, role, token=self.who.ticket())
        self._out.append(messages.encode(hello))

    def lost(self, now: float, code: int, reason: str) -> None:
        """See Side."""
        if not self.joined and not self.hang_up and not self.over:
            self.refuse("join", f"closed {code} {reason}".strip())
        elif self.joined and self._lost_at is None:
            self._lost_at = now
        self.joined = False
        self._out.clear()

    def receive(self, text: str, now: float) -> None:
        """See Side."""
        self._heard_at = now
        self._pinged_at = None
        match messages.parse(text):
            case Welcome() as welcome:
                self._welcome(welcome, now)
            case Error() as error:
                self._told(error)
            case Reconnect(after_ms):
                self._move_at = now + after_ms / 1000
            case PeerJoined() as joined:
                self._peer_joined(joined, now)
            case PeerLeft() as left:
                self._peer_left(left, now)
            case Sync() as sync:
                self._sync(sync, now)
            case Pong() | IceServers():
                pass

    def _welcome(self, welcome: Welcome, now: float) -> None:
        self._welcomed()
        before, self.me = self.me, welcome.peer
        self._resume, self._session = welcome.resume, welcome.session
        if before is None:
            self.events.append(Measured("join", now - self._opened_at))
        elif self._lost_at is not None:
            name = "resume" if welcome.resumed else "join again"
            self.events.append(Measured(name, now - self._lost_at))
        self._lost_at = None
        self._entered(before is not None and not welcome.resumed)

    def _told(self, error: Error) -> None:
        after_s = (error.retry_after_ms or 0) / 1000
        if self.joined:
            # That a peer is not there now is what a fault looks like from outside; its log says it again.
            if error.code != "no-such-peer":
                self.events.append(Measured("told", 0.0, error.code))
            return
        if error.code in ("unauthorized", "forbidden"):
            if self._resume is not None:
                self._resume = None
            else:
                self._session = None
        self.hang_up = True
        self.refuse("join", error.code, after_s)

    def poll(self, now: float) -> Iterator[str]:
        """See Side."""
        if self.joined:
            self._advance(now)
        elif not self.over and now >= self._opened_at + WELCOME_WITHIN_S and not self.hang_up:
            self.hang_up = True
            self.refuse("join", "no answer in time")
        if self._pinged_at is not None and now >= self._pinged_at + PONG_WITHIN_S:
            self.hang_up = True
            self.events.append(Measured("heartbeat", now - self._heard_at, "the node is silent"))
        elif self.joined and self._pinged_at is None and now >= self._ping_at():
            self._pinged_at = now
            self._out.append(messages.encode(Ping()))
        if self._move_at is not None and now >= self._move_at:
            self.hang_up = True
        yield from self._drain()

    def _ping_at(self) -> float:
        return self._heard_at + self.script.heartbeat_s

    def next_deadline(self) -> float | None:
        """See Side."""
        times = [self._advance_at(), self._move_at]
        if not self.joined:
            times.append(self._opened_at + WELCOME_WITHIN_S)
        elif self._pinged_at is not None:
            times.append(self._pinged_at + PONG_WITHIN_S)
        else:
            times.append(self._ping_at())
        return min((t for t in times if t is not None), default=None)

    def _leave(self) -> None:
        self._out.append(messages.encode(Bye("load test")))
        self.over = True

    def _send(self, negotiation: Negotiation, now: float) -> None:
        while (sync := negotiation.poll(now)) is not None:
            self._out.append(messages.encode(sync))

    # What host and guest do differently

    def _entered(self, anew: bool) -> None:
        """Joined; `anew`: as somebody else, the place is lost."""
        raise NotImplementedError

    def _peer_joined(self, joined: PeerJoined, now: float) -> None:
        raise NotImplementedError

    def _peer_left(self, left: PeerLeft, now: float) -> None:
        raise NotImplementedError

    def _sync(self, sync: Sync, now: float) -> None:
        raise NotImplementedError

    def _advance(self, now: float) -> None:
        raise NotImplementedError

    def _advance_at(self) -> float | None:
        raise NotImplementedError


class Guest(Peer):
    """Joins, finds the host, has one session with it, says bye."""

    def __init__(self, who: Identity, script: Script, chance: random.Random) -> None:
        super().__init__(who, script, chance)
        self._host: PeerId | None = None
        self._seeks_since: float | None = None
        self._negotiation: Negotiation | None = None
        self._talk: Conversation | None = None
        self._answered = False

    def _entered(self, anew: bool) -> None:
        self._host = None
        self._seeks_since = self._opened_at
        if anew:
            self._end(End.GIVEN_UP)

    def _peer_joined(self, joined: PeerJoined, now: float) -> None:
        if joined.role != "host" or self.me is None:
            return
        if self._seeks_since is not None and self._talk is None:
            self.events.append(Measured("resolve", now - self._seeks_since))
        self._host, self._seeks_since = joined.peer, None
        if self._negotiation is not None and self._negotiation.other == joined.peer:
            self._negotiation.reconnected()
            return
        self._end(End.GIVEN_UP)
        self._negotiation = Negotiation(self.me, joined.peer, self.who.new_id())
        voice = Voice(self.who.new_id(), self.script.sdp_bytes)
        self._talk = Conversation(self.script, voice, self._negotiation.say, calls=True)
        self._answered = False
        self._talk.begin(now)

    def _peer_left(self, left: PeerLeft, now: float) -> None:
        if left.peer != self._host:
            return
        self._host, self._seeks_since = None, now
        if left.reason == "bye":
            self._end(End.WHOLE)
            self._leave()
        else:
            self._end(End.GIVEN_UP)

    def _sync(self, sync: Sync, now: float) -> None:
        running = self._negotiation
        if running is None or self._talk is None:
            return
        if (sync.negotiation, sync.sender) != (running.negotiation, running.other):
            return
        for item in running.receive(sync, now):
            self._talk.hear(item, now)

    def _advance(self, now: float) -> None:
        if self._seeks_since is not None and now >= self._seeks_since + RESOLVE_WITHIN_S:
            self.events.append(Measured("resolve", now - self._seeks_since, "no host in time"))
            self._leave()
        if self._talk is None or self._negotiation is None:
            return
        goes_on = self._talk.advance(now)
        self._send(self._negotiation, now)
        if not self._answered and self._talk.answered_after_s is not None:
            self._answered = True
            self.events.append(Measured("offer to answer", self._talk.answered_after_s))
            if self.stopping:
                self._talk.end(now)
        if self._talk.whole and self._negotiation.settled:
            self._end(End.WHOLE)
            self._leave()
        elif not goes_on:
            what = "done" if self._answered else "offer to answer"
            self.events.append(Measured(what, 0.0, "nothing in time"))
            self._end(End.UNFINISHED)
            self._leave()

    def _advance_at(self) -> float | None:
        times = [None if self._seeks_since is None else self._seeks_since + RESOLVE_WITHIN_S]
        if self._talk is not None and self._negotiation is not None:
            times += [self._talk.next_deadline(), self._negotiation.next_deadline()]
        return min((t for t in times if t is not None), default=None)

    def _end(self, how: End) -> None:
        if self._talk is not None:
            self._talk.close(how, self.tally)
        self._talk = self._negotiation = None

    def stop(self, now: float) -> None:
        """See Side."""
        self.stopping = True
        if self._talk is not None:
            self._talk.end(now)
        elif self.joined:
            self._leave()
        else:
            self.over = True

    def close(self) -> None:
        """See Side."""
        self._end(End.UNFINISHED)


@dataclass(slots=True)
class _Caller:
    """What a host knows of one guest."""

    answerer: Answerer
    talk: Conversation | None = None


class Host(Peer):
    """Answers whoever calls, until it is stopped."""

    def __init__(self, who: Identity, script: Script, chance: random.Random) -> None:
        super().__init__(who, script, chance)
        self._callers: dict[PeerId, _Caller] = {}
        self._leave_at: float | None = None

    def _entered(self, anew: bool) -> None:
        for caller in self._callers.values():
            if anew:
                self._end(caller, End.GIVEN_UP)
            elif caller.answerer.running is not None:
                caller.answerer.running.reconnected()
        if anew:
            self._callers.clear()

    def _peer_joined(self, joined: PeerJoined, now: float) -> None:
        if self.me is None:
            return
        known = self._callers.setdefault(joined.peer, _Caller(Answerer(self.me, joined.peer)))
        if known.answerer.running is not None:
            known.answerer.running.reconnected()

    def _peer_left(self, left: PeerLeft, now: float) -> None:
        caller = self._callers.pop(left.peer, None)
        if caller is not None:
            self._end(caller, End.WHOLE if left.reason == "bye" else End.GIVEN_UP)

    def _end(self, caller: _Caller, how: End) -> None:
        if caller.talk is not None:
            caller.talk.close(how, self.tally)
        caller.talk = None

    def _sync(self, sync: Sync, now: float) -> None:
        caller = self._callers.get(sync.sender)
        if caller is None or sync.to != self.me:
            return
        started, items = caller.answerer.receive(sync, now)
        if started is not None:
            # A guest's next offer takes the place of one that it has given up itself.
            self._end(caller, End.GIVEN_UP)
            voice = Voice(self.who.new_id(), self.script.sdp_bytes)
            say: Callable[[Item], None] = started.negotiation.say
            caller.talk = Conversation(self.script, voice, say, calls=False)
        if caller.talk is not None:
            for item in items:
                caller.talk.hear(item, now)

    def _advance(self, now: float) -> None:
        for caller in self._callers.values():
            if caller.talk is not None and not caller.talk.advance(now):
                self._end(caller, End.UNFINISHED)
            if caller.answerer.running is not None:
                self._send(caller.answerer.running, now)
        busy = any(caller.talk is not None for caller in self._callers.values())
        if self._leave_at is not None and (not busy or now >= self._leave_at):
            for caller in self._callers.values():
                self._end(caller, End.WHOLE)  # who leaves on purpose says so
            self._leave()

    def _advance_at(self) -> float | None:
        times = [self._leave_at]
        for caller in self._callers.values():
            if caller.answerer.running is not None:
                times.append(caller.answerer.running.next_deadline())
            if caller.talk is not None:
                times.append(caller.talk.next_deadline())
        return min((t for t in times if t is not None), default=None)

    def stop(self, now: float) -> None:
        """See Side."""
        if not self.stopping:
            self.stopping = True
            self._leave_at = now + HOST_WAITS_S
        if not self.joined and not any(caller.talk for caller in self._callers.values()):
            self.over = True

    def close(self) -> None:
        """See Side."""
        for caller in self._callers.values():
            self._end(caller, End.UNFINISHED)
