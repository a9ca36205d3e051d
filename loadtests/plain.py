"""Clients of the plain dialect, that of the earlier Node.js servers, as sans-IO machines (protocol.md 2; a core)."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from cluster.protocol import messages
from cluster.protocol.messages import Item, MessageError
from loadtests import marks
from loadtests.conversation import Conversation, End, Script
from loadtests.marks import Voice
from loadtests.side import Measured, Side

GONE: Final = "peer-disconnected"
HOST_WAITS_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class Place:
    """A room; None: the only one of a node in pure mode. `ticket` gives a token, or None."""

    room: str | None
    ticket: Callable[[], str | None]
    new_id: Callable[[], str]
    """128 random bits in base64url."""


class PlainPeer(Side):
    """What both sides share: the dialect repeats nothing, so a session does not outlive a socket."""

    calls = False

    def __init__(self, where: Place, script: Script, chance: random.Random) -> None:
        super().__init__(script, chance)
        self.where = where
        self._talk: Conversation | None = None
        self._stop_by: float | None = None

    def path(self) -> str:
        """See Side. The dialect has no other place for a token than its URL."""
        if self.where.room is None:
            return "/"
        query = {"roomId": self.where.room}
        token = self.where.ticket()
        return "/?" + urlencode(query if token is None else query | {"token": token})

    def _say(self, item: Item) -> None:
        self._out.append(messages.encode(item))

    def _begin(self) -> Conversation:
        voice = Voice(self.where.new_id(), self.script.sdp_bytes)
        self._talk = Conversation(self.script, voice, self._say, calls=self.calls)
        return self._talk

    def _end(self, how: End) -> None:
        if self._talk is not None:
            self._talk.close(how, self.tally)
        self._talk = None

    def opened(self, now: float) -> None:
        """See Side. A refusal is a close after the upgrade; who hears none is in."""
        self.hang_up = False
        self.joined = True

    def lost(self, now: float, code: int, reason: str) -> None:
        """See Side."""
        self.joined = False
        self._out.clear()
        self._end(End.GIVEN_UP)
        if code not in (1006, 1012) and not self.over:
            self.refuse("join", f"closed {code} {reason}".strip(), 1.0)

    def receive(self, text: str, now: float) -> None:
        """See Side."""
        self._welcomed()
        obj = messages.decode_object(text)
        if obj.get("type") == GONE:
            self._gone()
            return
        item = messages.parse_item(obj)
        if isinstance(item, messages.Control) and item.action == "schema-error":
            raise MessageError("the node took a message of ours for invalid")
        self._hear(item, now)

    def poll(self, now: float) -> Iterator[str]:
        """See Side."""
        self._advance(now)
        yield from self._drain()

    def next_deadline(self) -> float | None:
        """See Side."""
        times = [self._stop_by, None if self._talk is None else self._talk.next_deadline()]
        return min((t for t in times if t is not None), default=None)

    def close(self) -> None:
        """See Side."""
        self._end(End.UNFINISHED)

    def _gone(self) -> None:
        raise NotImplementedError

    def _hear(self, item: Item, now: float) -> None:
        raise NotImplementedError

    def _advance(self, now: float) -> None:
        raise NotImplementedError


class Caller(PlainPeer):
    """Has one session and closes its socket."""

    calls = True

    def __init__(self, where: Place, script: Script, chance: random.Random) -> None:
        super().__init__(where, script, chance)
        self._answered = False

    def opened(self, now: float) -> None:
        """See Side."""
        super().opened(now)
        self._answered = False
        self._begin().begin(now)

    def lost(self, now: float, code: int, reason: str) -> None:
        """See Side."""
        super().lost(now, code, reason)
        self.over = True

    def _gone(self) -> None:
        self._end(End.GIVEN_UP)
        self.over = True

    def _hear(self, item: Item, now: float) -> None:
        if self._talk is not None:
            self._talk.hear(item, now)

    def _advance(self, now: float) -> None:
        if self._talk is None:
            return
        if not self._answered and self._talk.answered_after_s is not None:
            self._answered = True
            self.events.append(Measured("offer to answer", self._talk.answered_after_s))
        if self.stopping:
            self._talk.end(now)
        goes_on = self._talk.advance(now)
        if self._talk.whole:
            self._end(End.WHOLE)
            self.over = True
        elif not goes_on:
            what = "done" if self._answered else "offer to answer"
            self.events.append(Measured(what, 0.0, "nothing in time"))
            self._end(End.UNFINISHED)
            self.over = True

    def stop(self, now: float) -> None:
        """See Side."""
        self.stopping = True
        self.over = self.over or not self.joined


class Callee(PlainPeer):
    """Waits in its room for one caller after another."""

    def _gone(self) -> None:
        self._end(End.GIVEN_UP)

    def _hear(self, item: Item, now: float) -> None:
        mark = marks.read(item)
        if mark is None:
            return
        if self._talk is None or self._talk.other not in (None, mark.stream):
            self._end(End.GIVEN_UP)  # a caller that has gone, of whom the word is yet to come
            self._begin()
        if self._talk is not None:
            self._talk.hear(item, now)

    def _advance(self, now: float) -> None:
        if self._talk is not None and not self._talk.advance(now):
            self._end(End.UNFINISHED)
        if self._stop_by is not None and (self._talk is None or now >= self._stop_by):
            self._end(End.WHOLE)
            self.over = True

    def stop(self, now: float) -> None:
        """See Side."""
        if not self.stopping:
            self.stopping = True
            self._stop_by = now + HOST_WAITS_S
        self.over = self.over or not self.joined
