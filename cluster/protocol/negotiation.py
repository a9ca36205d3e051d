"""A negotiation as two append-only logs, so that no lost, doubled or late frame can harm it.

The nodes are an at-most-once relay. Each side keeps the list of what it said and knows how much of it
the other holds; what is missing is sent again. Applying is idempotent. No clock: every method that
needs it takes `now` in seconds of any monotonic clock. The rules are those of docs/protocol.md 3.2;
client/negotiation.js is the same machine, and tests/vectors/negotiation.json runs both.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from cluster.protocol.messages import (
    MAX_ITEMS,
    MAX_MESSAGE_BYTES,
    MAX_REPLACES,
    Item,
    Offer,
    PeerId,
    Sync,
    encode,
)

RESEND_FIRST_S: Final = 0.5
RESEND_MOST_S: Final = 4.0
LONG_WAIT_S: Final = 2.0
"""After two repeats in vain."""
ACKNOWLEDGE_WITHIN_S: Final = 0.1
MAX_SYNC_BYTES: Final = 128 * 1024
"""A `sync` holds as many items as fit in this, at least one."""
MAX_SAID_BYTES: Final = MAX_MESSAGE_BYTES - 2048
"""Of an item alone in its `sync`; the rest is for the other keys, 16 replaced ids among them."""
MAX_RETIRED: Final = 64
"""Replaced negotiation ids that are remembered, so that their late frames are known as such."""


class LogFullError(Exception):
    """A list would get more than 256 items, or one that no frame can carry."""


def _size(item: Item) -> int:
    """Of its JSON in ASCII, which no encoder makes longer."""
    return len(encode(item))


class Negotiation:
    """One side of one negotiation. After every call, drain `poll`; then wait until `next_deadline`."""

    def __init__(
        self, me: PeerId, other: PeerId, negotiation: str, replaces: tuple[str, ...] = ()
    ) -> None:
        """`replaces`: what `leaves` gave of the negotiation before, in the place of which this one comes."""
        self.me = me
        self.other = other
        self.negotiation = negotiation
        self.replaces = replaces
        self.heard = False
        """Whether the other is known to have begun this negotiation."""
        self.has = 0
        """How many items of the other's list have been applied here."""
        self._said: list[Item] = []
        self._sent = 0
        self._held = 0
        self._resend_after_s = RESEND_FIRST_S
        self._resend_at: float | None = None
        self._acknowledge_at: float | None = None

    @property
    def settled(self) -> bool:
        """Whether the other is known to hold all that was said here."""
        return self._held == len(self._said)

    def leaves(self) -> tuple[str, ...]:
        """The ids that the negotiation after this one has to name, as the other may not have seen them yet.

        Their offers may still be on the way, held up in a node, and must not be taken for newer ones.
        """
        return () if self.heard else (*self.replaces, self.negotiation)[-MAX_REPLACES:]

    def say(self, item: Item) -> None:
        """Append to our list; `poll` sends it. Raises LogFullError."""
        if len(self._said) >= MAX_ITEMS:
            raise LogFullError(f"a negotiation has at most {MAX_ITEMS} items a side")
        if _size(item) > MAX_SAID_BYTES:
            raise LogFullError(f"an item has at most {MAX_SAID_BYTES} bytes as JSON")
        self._said.append(item)

    def receive(self, sync: Sync, now: float) -> tuple[Item, ...]:
        """Apply the other's `sync`; the items that are new here, in order, each returned once ever."""
        self.heard = True
        self._learn(sync.has, now)
        if self._resend_at is not None and self._resend_after_s >= LONG_WAIT_S:
            # The way is open again: the rest of a wait that grew while it was not would be lost time.
            self._resend_after_s = RESEND_FIRST_S
            self._resend_at = now
        if not sync.items:
            return ()
        fresh = () if sync.at > self.has else sync.items[self.has - sync.at :]
        fresh = fresh[: MAX_ITEMS - self.has]
        self.has += len(fresh)
        # Duplicates and gaps are acknowledged too: the other is missing our acknowledgement.
        if self._acknowledge_at is None:
            self._acknowledge_at = now + ACKNOWLEDGE_WITHIN_S
        return fresh

    def _learn(self, has: int, now: float) -> None:
        if has <= self._held or has > len(self._said):
            return
        self._held = has
        self._sent = max(self._sent, has)
        self._resend_after_s = RESEND_FIRST_S
        self._resend_at = None if self._held == self._sent else now + self._resend_after_s

    def reconnected(self) -> None:
        """The other joined again or we did: what it is not known to have goes out at once."""
        self._sent = self._held
        self._resend_after_s = RESEND_FIRST_S
        self._resend_at = None

    def poll(self, now: float) -> Sync | None:
        """The next frame to send, or None. Call until None."""
        if self._resend_at is not None and now >= self._resend_at:
            self._sent = self._held
            self._resend_after_s = min(2 * self._resend_after_s, RESEND_MOST_S)
            self._resend_at = None
        if self._sent < len(self._said):
            at, items = self._sent, self._next_items()
            self._sent += len(items)
            if self._resend_at is None:
                self._resend_at = now + self._resend_after_s
            return self._sync(at, items)
        if self._acknowledge_at is not None and now >= self._acknowledge_at:
            return self._sync(self._sent, ())
        return None

    def _next_items(self) -> tuple[Item, ...]:
        items: list[Item] = []
        room = MAX_SYNC_BYTES
        for item in self._said[self._sent :]:
            room -= _size(item)
            if items and room < 0:
                break
            items.append(item)
        return tuple(items)

    def _sync(self, at: int, items: tuple[Item, ...]) -> Sync:
        self._acknowledge_at = None
        replaces = self.replaces if at == 0 and items else None
        return Sync(self.other, self.me, self.negotiation, at, items, self.has, replaces or None)

    def next_deadline(self) -> float | None:
        """When `poll` may have something without a call in between; None: only after one."""
        times = [t for t in (self._resend_at, self._acknowledge_at) if t is not None]
        return min(times, default=None)


@dataclass(frozen=True, slots=True)
class Started:
    """The other peer began this negotiation, in place of `replaced` where there was one."""

    negotiation: Negotiation
    replaced: Negotiation | None


class Answerer:
    """The host's side towards one peer: the running negotiation, and the ids that it replaced."""

    def __init__(self, me: PeerId, other: PeerId) -> None:
        self.me = me
        self.other = other
        self.running: Negotiation | None = None
        self._retired: deque[str] = deque(maxlen=MAX_RETIRED)

    def receive(self, sync: Sync, now: float) -> tuple[Started | None, tuple[Item, ...]]:
        """Apply a `sync`: what it began, if anything, and its new items.

        A negotiation begins with its offer at index 0; other frames of an unknown id are ignored, as
        their sender repeats the offer until it is acknowledged.
        """
        running = self.running
        if running is not None and sync.negotiation == running.negotiation:
            return None, running.receive(sync, now)
        begins = sync.at == 0 and sync.items and isinstance(sync.items[0], Offer)
        if not begins or sync.negotiation in self._retired:
            return None, ()
        if running is not None:
            self._retired.append(running.negotiation)
        self._retired.extend(sync.replaces or ())
        self.running = Negotiation(self.me, self.other, sync.negotiation)
        return Started(self.running, running), self.running.receive(sync, now)

    def end(self) -> None:
        """Forget the running negotiation; its late frames stay ignored."""
        if self.running is not None:
            self._retired.append(self.running.negotiation)
            self.running = None
