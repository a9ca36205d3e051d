"""What this node takes of one connection, of one client address and in one room. A core.

All windows are ten seconds long and begin at the same instants of the node's clock, so that a message costs one look at
that clock and some comparisons of integers. A message that is refused counts against nobody else: one who floods
takes from the others of its address or room no more than its own limit. No message asks Redis; joins of an address
are counted for all nodes together, in the store.
"""

from __future__ import annotations

import enum
from typing import Final, Literal

from cluster.protocol.messages import RoomId
from cluster.proxies import ClientAddress

WINDOW_S: Final = 10.0
KEPT: Final = 50_000
"""Windows without a connection that are kept until they end, of addresses and of rooms: 10 MB each."""
WAITING: Final = 1000
"""Sockets of one address that have not joined: twice an office that comes back at once, each for some seconds only."""
OFFICE: Final = 500
"""Joined sockets of one address that raise its limit, each by its share; more do not."""
RESUMES: Final = 20
"""Of one peer in a window. A loss needs one; a socket that is lost again and again within a second is not healthy."""

Kind = Literal["messages", "ip-messages", "room-messages"]


def window_end(now: float) -> float:
    """When the window of `now` (monotonic seconds) ends."""
    return (now // WINDOW_S + 1) * WINDOW_S


class Window:
    """What the connections of one address or room have sent in the window that ends at `ends`."""

    __slots__ = ("count", "ends", "holders", "key", "kind", "limit")

    def __init__(self, key: str, kind: Kind, limit: int) -> None:
        self.key = key
        self.kind = kind
        self.limit = limit
        self.holders = 0
        self.count = 0
        self.ends = 0.0

    def roll(self, ends: float) -> None:
        """Begin the window that ends then, unless another connection has begun it."""
        if self.ends != ends:
            self.ends = ends
            self.count = 0


class Windows:
    """The windows of all addresses, or rooms. One lives while a connection holds it and until its window ends.

    So coming back does not make a count anew. Beyond `kept` such windows none is kept: then it does.
    The limit is that of one, or `share` for each connection that holds the window, whichever is more.
    """

    def __init__(self, kind: Kind, limit: int, share: int = 0, kept: int = KEPT) -> None:
        self.limit = limit
        self._kind: Kind = kind
        self._share = share
        self._kept = kept
        self._held: dict[str, Window] = {}
        self._left: dict[str, Window] = {}
        self._ends = 0.0

    def __len__(self) -> int:
        return len(self._held) + len(self._left)

    def hold(self, key: str, now: float) -> Window:
        """The window of this key, for one more connection."""
        self.sweep(now)
        window = self._held.get(key)
        if window is None:
            window = self._left.pop(key, None) or Window(key, self._kind, self.limit)
            self._held[key] = window
        self._count_holders(window, 1)
        window.roll(self._ends)
        return window

    def release(self, window: Window, now: float) -> None:
        """A connection that held it is gone."""
        self.sweep(now)
        self._count_holders(window, -1)
        if window.holders == 0:
            del self._held[window.key]
            if window.count and window.ends == self._ends and len(self._left) < self._kept:
                self._left[window.key] = window

    def _count_holders(self, window: Window, more: int) -> None:
        window.holders += more
        window.limit = max(self.limit, self._share * min(window.holders, OFFICE))

    def sweep(self, now: float) -> None:
        """Forget what has ended."""
        if now >= self._ends:
            self._ends = window_end(now)
            self._left.clear()


class MessageLimit:
    """Counts one connection's messages, and in the windows that it shares with others."""

    __slots__ = ("_count", "_ends", "_limit", "_refused", "_shared")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._count = 0
        self._refused = 0
        self._ends = 0.0
        self._shared: tuple[Window, ...] = ()

    def take(self, now: float, *, alone: bool = False) -> Kind | None:
        """Count one message at `now`, not in the shared windows if `alone`; which limit refuses it, if one does."""
        if now >= self._ends:
            self._roll(now)
        if self._count >= self._limit:
            self._refused += 1
            return "messages"
        for window in () if alone else self._shared:
            if window.count >= window.limit:
                return self._refuse(window)
            window.count += 1
        self._count += 1
        return None

    def _refuse(self, full: Window) -> Kind:
        self._refused += 1
        for window in self._shared:
            if window is full:
                break
            window.count -= 1
        return full.kind

    def _roll(self, now: float) -> None:
        self._ends = window_end(now)
        self._count = self._refused = 0
        for window in self._shared:
            window.roll(self._ends)

    @property
    def patience_is_over(self) -> bool:
        """As many messages were refused within this window as it could have sent: it does not heed the answers."""
        return self._refused > self._limit

    def retry_after_ms(self, now: float) -> int:
        """When the window ends."""
        return max(0, int((self._ends - now) * 1000) + 1)


class Stage(enum.Enum):
    """How far a connection is; it goes downwards only."""

    WAITS = "has not joined"
    ENTERED = "has joined"
    LEFT = "its socket is gone"


class Allowance(MessageLimit):
    """One connection among the limits of its node: it waits, `enter`s a room, and `leave`s in any case."""

    __slots__ = ("_limits", "_stage", "address")

    def __init__(self, address: ClientAddress, limits: Limits) -> None:
        super().__init__(limits.per_connection)
        self.address = address
        self._limits = limits
        self._stage = Stage.WAITS

    def enter(self, room: RoomId, now: float) -> None:
        """It has joined: what it says from now on counts for its address and room."""
        limits = self._limits
        if self._stage is not Stage.WAITS:
            return
        self._go_on(Stage.ENTERED)
        self._shared = (limits.addresses.hold(self.address, now), limits.rooms.hold(room, now))

    def leave(self, now: float) -> None:
        """Its socket is gone; whoever joins after that holds nothing."""
        self._go_on(Stage.LEFT)
        shared, self._shared = self._shared, ()
        if shared:
            address, room = shared
            self._limits.addresses.release(address, now)
            self._limits.rooms.release(room, now)

    def _go_on(self, stage: Stage) -> None:
        if self._stage is Stage.WAITS:
            self._limits.one_waits_less(self.address)
        self._stage = stage


class Limits:
    """The limits that the connections of one node share; `share`: what each joined one of an address may say there."""

    def __init__(
        self, per_connection: int, per_address: int, per_room: int, share: int = 0
    ) -> None:
        self.per_connection = per_connection
        self.addresses = Windows("ip-messages", per_address, share)
        self.rooms = Windows("room-messages", per_room)
        self.waiting: dict[ClientAddress, int] = {}

    def arrive(self, address: ClientAddress) -> Allowance | None:
        """A place for a new connection; None: too many of this address have not joined yet."""
        waiting = self.waiting.get(address, 0)
        if waiting >= WAITING:
            return None
        self.waiting[address] = waiting + 1
        return Allowance(address, self)

    def one_waits_less(self, address: ClientAddress) -> None:
        """It has joined, or gone."""
        waiting = self.waiting[address] - 1
        if waiting:
            self.waiting[address] = waiting
        else:
            del self.waiting[address]
