"""The users of Locust: each holds one raw WebSocket at a time and does with it what a sans-IO side says."""

from __future__ import annotations

import random
import secrets
import time
from dataclasses import asdict, dataclass
from itertools import count
from typing import Any, ClassVar, Final

import gevent
from locust import User, task

from cluster.protocol.messages import MessageError, Role, RoomId
from loadtests.connection import Closed, ConnectError, Connection, Target
from loadtests.conversation import Script
from loadtests.credentials import Credentials
from loadtests.plain import Callee, Caller, Place
from loadtests.seats import NoSeatError, Seats
from loadtests.side import Side
from loadtests.tally import Tallies
from loadtests.tightbeam import Guest, Host, Identity

LOOK_UP_S: Final = 2.5
"""Within which a user that waits for a message finds that it is to stop."""
NO_ROOM_S: Final = 0.5
"""Until a guest asks again for a room."""
FAULTS: Final = ("lost", "doubled", "reordered")


class DeliveryFault(Exception):
    """Items were lost, doubled or reordered; for Locust's table of failures."""


class Failed(Exception):
    """Something did not come about; for Locust's table of failures."""


@dataclass(slots=True)
class Context:
    """What all users of a process share in one run."""

    seats: Seats
    credentials: Credentials
    tallies: Tallies
    target: Target
    script: Script
    churn: Script
    plain_pure: bool = False


class ClusterUser(User):
    """The shell around a side."""

    abstract = True
    shared: ClassVar[Context]
    living: ClassVar[set[ClusterUser]] = set()
    """All of this process."""
    dialect: ClassVar[str]
    _numbers: ClassVar[count[int]] = count()

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self.number = next(self._numbers)
        self.stopping = False
        self._connection: Connection | None = None
        self._side: Side | None = None
        self._chance = random.Random(secrets.randbits(64))  # noqa: S311 - spreads moments

    # Locust's side

    def on_start(self) -> None:
        """Part of User."""
        self.living.add(self)

    def on_stop(self) -> None:
        """Part of User: also after a kill."""
        self.living.discard(self)
        if self._side is not None:
            self._side.close()
            self._report(self._side)
        self.drop()

    def stop(self, force: bool = False) -> bool:
        """Part of User: the task sees it within LOOK_UP_S."""
        self.stopping = True
        return bool(super().stop(force))

    def drop(self) -> None:
        """Lose the socket."""
        if self._connection is not None:
            self._connection.drop()

    @task
    def live(self) -> None:
        """Until it is stopped."""
        while not self.stopping:
            self._once()

    def _once(self) -> None:
        """One life of a side, with its seat."""
        raise NotImplementedError

    def _measured(self, name: str, seconds: float, error: str | None = None) -> None:
        self.environment.events.request.fire(
            request_type=self.dialect,
            name=name,
            response_time=seconds * 1000,
            response_length=0,
            exception=None if error is None else Failed(error),
            context={},
        )

    def _report(self, side: Side) -> None:
        while side.events:
            event = side.events.popleft()
            self._measured(event.name, event.seconds, event.error)
        tally, side.tally = side.tally, type(side.tally)()
        counts = asdict(tally)
        if any(counts.values()):
            self.shared.tallies.add({self.dialect: counts})
        for name in FAULTS:
            if counts[name]:
                self.environment.events.request.fire(
                    request_type=self.dialect,
                    name=f"items {name}",
                    response_time=None,
                    response_length=0,
                    exception=DeliveryFault(name),
                    context={},
                )

    # The side's

    def _run(self, side: Side) -> None:
        """Until the side is over."""
        self._side = side
        try:
            while not side.over:
                if self.stopping:
                    side.stop(time.monotonic())
                if self._connection is None:
                    self._connect(side)
                else:
                    self._serve(self._connection, side)
                self._after(side)
                self._report(side)
            self._finish(side)
        except MessageError as error:
            self._measured("message", 0.0, f"not as the protocol says: {error}")
        finally:
            side.close()
            self._report(side)
            self._side = None
            self.drop()
            self._connection = None

    def _after(self, side: Side) -> None:
        """After each step of a side."""

    def _connect(self, side: Side) -> None:
        target = self.shared.target
        began = time.monotonic()
        try:
            url = self._url(target) + side.path()
            source = target.source(self._chance)
            self._connection = Connection.open(url, side.subprotocol, source, target.tls)
        except ConnectError as error:
            side.refuse("connect", str(error))
            gevent.sleep(side.wait_s())
            return
        now = time.monotonic()
        self._measured("connect", now - began)
        side.opened(now)

    def _url(self, target: Target) -> str:
        return self._chance.choice(target.urls)

    def _serve(self, connection: Connection, side: Side) -> None:
        """Send what is due and wait for one message at most."""
        now = time.monotonic()
        try:
            for frame in side.poll(now):
                connection.send(frame)
            if side.over:
                return
            if side.hang_up:
                connection.close()
                self._lost(side, Closed(1000))
                return
            deadline = side.next_deadline()
            within_s = LOOK_UP_S if deadline is None else min(deadline - now, LOOK_UP_S)
            text = connection.receive(within_s)
        except Closed as closed:
            connection.drop()
            self._lost(side, closed)
            return
        if text is not None:
            side.receive(text, time.monotonic())

    def _lost(self, side: Side, closed: Closed) -> None:
        self._connection = None
        side.lost(time.monotonic(), closed.code, closed.reason)
        if not side.over:
            gevent.sleep(side.wait_s())

    def _finish(self, side: Side) -> None:
        """Send its last words and close in order."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            for text in side.poll(time.monotonic()):
                connection.send(text)
        except Closed:
            return
        connection.close()

    def _identity(self, room: str, role: Role) -> Identity:
        ticket = self.shared.credentials.ticket(room, role)
        return Identity(RoomId(room), role, ticket, new_id)

    def _place(self, room: str) -> Place:
        shown = None if self.shared.plain_pure else room
        return Place(shown, self.shared.credentials.ticket(room, "player"), new_id)

    def _seat(self, what: str) -> str | None:
        try:
            return self.shared.seats.take(what, self.dialect)
        except NoSeatError as error:
            self._measured("seat", 0.0, str(error))
            gevent.sleep(LOOK_UP_S)
            return None


def new_id() -> str:
    """128 random bits in base64url."""
    return secrets.token_urlsafe(16)


class HostUser(ClusterUser):
    """A host: stays in a room of its own and answers whoever calls."""

    weight = 4
    dialect = "tightbeam"
    _told = False
    _room = ""

    def _once(self) -> None:
        room = self._seat("host")
        if room is None:
            return
        self._room, self._told = room, False
        try:
            self._run(self._make(room))
        finally:
            self.shared.seats.tell("close", self.dialect, room)

    def _make(self, room: str) -> Side:
        return Host(self._identity(room, "host"), self.shared.script, self._chance)

    def _after(self, side: Side) -> None:
        if side.joined and not self._told:
            self._told = True
            self.shared.seats.tell("open", self.dialect, self._room)


class ViewerUser(ClusterUser):
    """A viewer: finds a host, has a session with it for as long as `--hold` says, leaves, comes again."""

    weight = 3
    dialect = "tightbeam"
    role: ClassVar[Role] = "viewer"

    def _once(self) -> None:
        room = self._seat("guest")
        if room is None:
            gevent.sleep(NO_ROOM_S * self._chance.uniform(0.5, 1.5))
            return
        try:
            self._run(self._make(room))
        finally:
            self.shared.seats.tell("leave", self.dialect, room)

    def _script(self) -> Script:
        return self.shared.script

    def _make(self, room: str) -> Side:
        return Guest(self._identity(room, self.role), self._script(), self._chance)


class ChurnUser(ViewerUser):
    """A player that leaves as soon as its session stands, and comes again at once."""

    weight = 1
    role = "player"

    def _script(self) -> Script:
        return self.shared.churn


class PlainHostUser(HostUser):
    """One side of a pair of the plain dialect: waits in its room."""

    weight = 1
    dialect = "plain"

    def _make(self, room: str) -> Side:
        return Callee(self._place(room), self.shared.script, self._chance)


class PlainViewerUser(ViewerUser):
    """The other side: calls, has a session, leaves, comes again."""

    weight = 1
    dialect = "plain"

    def _make(self, room: str) -> Side:
        return Caller(self._place(room), self.shared.script, self._chance)
