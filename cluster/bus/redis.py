"""Addressed mailboxes over Redis publish/subscribe: one `PSUBSCRIBE <own id>:*` per process.

A letter goes to the one node that holds its peer, so the work for a message does not grow with the number
of nodes. The random id comes first in the channel name, which halves Redis's cost of matching.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import msgpack

from cluster import metrics
from cluster.bus.base import Forward, Letter, Notice, Receive
from cluster.link import Link
from cluster.protocol.messages import PeerId, RoomId
from cluster.redis_url import RedisUrl
from cluster.resp import RedisRefused, RedisUnavailable, Reply, RespConnection
from cluster.room import Change, Member, NodeId

log = logging.getLogger(__name__)

MAX_BATCH_BYTES: Final = 1 << 20
PROBE_S: Final = 3.0
PROBE_LIMIT_S: Final = 2.0


def encode(letters: list[Letter], now_us: int) -> bytes:
    """One publish: [sent at, [kind, ...] * n]."""
    rows: list[Any] = [now_us]
    for letter in letters:
        match letter:
            case Forward(to, payload):
                rows.append((0, to, payload))
            case Notice(room, changes):
                rows.append((1, room, [_change_row(change) for change in changes]))
    return bytes(msgpack.packb(rows))


def _change_row(change: Change) -> tuple[Any, ...]:
    member = change.member
    head = (change.version, change.kind, change.reason)
    return (*head, member.peer, member.node, member.role, member.dialect, member.generation)


def decode(packet: bytes) -> tuple[int, list[Letter]]:
    """The inverse of `encode`; raises ValueError for anything else."""
    try:
        sent_us, *rows = msgpack.unpackb(packet)
        letters: list[Letter] = []
        for kind, name, body in rows:
            if kind == 0:
                letters.append(Forward(PeerId(name), bytes(body)))
            else:
                changes = tuple(
                    Change(version, what, Member(peer, node, role, dialect, generation), reason)
                    for version, what, reason, peer, node, role, dialect, generation in body
                )
                letters.append(Notice(RoomId(name), changes))
        return int(sent_us), letters
    except (TypeError, ValueError, msgpack.UnpackException) as error:
        raise ValueError(f"not a batch of letters: {error}") from None


class RedisBus:
    """See `Bus`."""

    on_subscribed: Callable[[], None] | None = None
    """Called after every subscription: what was sent to the mailbox before it is lost."""
    on_unheard: Callable[[NodeId], None] | None = None
    """Called when a batch of letters reached nobody."""

    def __init__(self, commands: Link, url: RedisUrl, node: NodeId, receive: Receive) -> None:
        self._commands = commands
        self._node = node
        self._receive = receive
        self._subscription = Link(url, self._subscribe, self._pushed)
        self._outbox: dict[NodeId, list[Letter]] = {}  # emptied every turn of the event loop
        self._outbox_bytes = 0
        self._heard = asyncio.Event()
        self._subscribed_at = 0.0  # monotonic

    @property
    def up(self) -> bool:
        """See Bus."""
        return self._subscription.up

    def send(self, node: NodeId, letter: Letter) -> None:
        """See Bus."""
        if not self._outbox:
            asyncio.get_running_loop().call_soon(self._flush)
        self._outbox.setdefault(node, []).append(letter)
        if isinstance(letter, Forward):
            self._outbox_bytes += len(letter.payload)
            if self._outbox_bytes > MAX_BATCH_BYTES:
                self._flush()

    def _flush(self) -> None:
        outbox, self._outbox = self._outbox, {}
        self._outbox_bytes = 0
        for node, letters in outbox.items():
            try:
                packet = encode(letters, time.time_ns() // 1000)
                heard = partial(self._heard_by, node, len(letters))
                self._commands.current().send("PUBLISH", f"{node}:letters", packet, take=heard)
            except RedisUnavailable:
                metrics.DROPPED.labels("redis").inc(len(letters))

    def _heard_by(self, node: NodeId, letters: int, receivers: int) -> None:
        if receivers:
            return
        metrics.DROPPED.labels("away").inc(letters)
        if self.on_unheard is not None:
            self.on_unheard(node)

    def follow(self, server: str) -> None:
        """The commands go to this server now: a subscription that still hangs on another hears nothing of it.

        Nor is one believed that is older than a loss of the commands. If a network swallowed packets, TCP may wait as
        long again as that lasted before it sends what is missing (RFC 6298 5.5), and nobody ends that connection.
        """
        if not self.up:
            return
        old = self._subscribed_at <= self._commands.lost_at
        if old or self._subscription.current().server != server:
            self._subscription.restart()

    async def _subscribe(self, connection: RespConnection) -> None:
        await connection.call("PSUBSCRIBE", f"{self._node}:*")
        self._subscribed_at = time.monotonic()
        if self.on_subscribed is not None:
            self.on_subscribed()

    def _pushed(self, push: list[Reply]) -> None:
        if push[2].endswith(b":probe"):
            self._heard.set()
            return
        try:
            sent_us, letters = decode(push[3])
        except ValueError as error:
            metrics.DROPPED.labels("invalid").inc()
            log.warning("a letter could not be read: %s", error)
            return
        metrics.RELAY.observe(max(0.0, time.time() - sent_us / 1e6))
        for letter in letters:
            self._receive(letter)

    async def run(self) -> None:
        """Keep the subscription, and prove by a letter to ourselves that it really hears."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._subscription.run())
            tasks.create_task(self._probe())

    async def _probe(self) -> None:
        while True:
            await asyncio.sleep(PROBE_S)
            if not self.up or not self._commands.up:
                continue
            self._heard.clear()
            try:
                async with asyncio.timeout(PROBE_LIMIT_S):
                    await self._commands.current().call("PUBLISH", f"{self._node}:probe", b"")
            except (TimeoutError, RedisUnavailable, RedisRefused):
                continue  # nothing was published: that says nothing about the subscription
            try:
                async with asyncio.timeout(PROBE_LIMIT_S):
                    await self._heard.wait()
            except TimeoutError:
                metrics.REDIS_ERRORS.labels("subscription").inc()
                log.warning("the subscription does not hear this node's mailbox; subscribing again")
                self._subscription.restart()
