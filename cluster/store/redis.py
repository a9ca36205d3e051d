"""The store in Redis: one hash per room, changed by Lua scripts only, with Redis's own clock."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files
from typing import Final, Literal, cast

from cluster import metrics
from cluster.limits import RESUMES, WINDOW_S
from cluster.link import Link
from cluster.protocol.messages import Dialect, PeerId, Role, RoomId
from cluster.resp import RedisRefused, RedisUnavailable, Reply, RespConnection
from cluster.room import Change, ChangeKind, Member, NodeId
from cluster.settings import Timing
from cluster.store.base import (
    Admission,
    Beat,
    JoinLimit,
    JoinRefused,
    JoinRequest,
    Record,
    Refusal,
    Registration,
    StoreUnavailable,
)

NODE_PREFIX: Final = "tb:node:"
ROOM_PREFIX: Final = "tb:room:"
PAIRING_PREFIX: Final = "tb:pair:"
ADDRESS_PREFIX: Final = "tb:ip:"
RESUMES_PREFIX: Final = "tb:resumes:"
HOST_PREFIX: Final = "tb:host:"
HOST_LIFE_MS: Final = 12_000
"""A host that has said nothing six times over is not known any more."""
NO_KEY: Final = "tb:none"
"""In place of a key: an ACL user may name its own only."""
EPOCH_KEY: Final = "tb:epoch"
SECRET_KEY: Final = "tb:secret"  # noqa: S105 - the name of a key
PAIRING_LIFE_S: Final = 600
JOIN_WAIT_LIMIT_S: Final = 6.0
SECRET_POLL_S: Final = 0.1


class Script:
    """One Lua file behind the common one, called by its digest."""

    def __init__(self, name: str) -> None:
        folder = files("cluster.store")
        self.name = name
        self.text = "\n".join(
            folder.joinpath(f"{part}.lua").read_text("utf-8") for part in ("common", name)
        )
        self.digest = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


SCRIPTS: Final = {
    name: Script(name) for name in ("join", "leave", "reap", "register", "beat", "strike")
}


def pairing_key(digest: str) -> str:
    """Where the record of a pairing token with this sha256 is."""
    return PAIRING_PREFIX + digest


def _member(row: Sequence[Reply]) -> Member:
    peer, node, role, dialect = (part.decode() for part in row[:4])
    generation = int(row[4]) if len(row) > 4 else 1
    return Member(PeerId(peer), NodeId(node), cast(Role, role), cast(Dialect, dialect), generation)


def pairing_record(room: str, role: Role, server: str) -> str:
    """What a pairing token grants, valid on the server that keeps it only: see join.lua."""
    return f"{room} {role} {server}"


def _row(member: Member, authorised: bool) -> tuple[str | int, ...]:
    return (member.peer, member.role, member.dialect, member.generation, int(authorised))


def _record(reply: Sequence[Reply]) -> Record:
    members = tuple(_member(row) for row in reply[2])
    generation = {member.peer: member.generation for member in members}
    changes = []
    for version, kind, peer, node, role, dialect, reason in reply[3]:
        member = Member(
            PeerId(peer.decode()),
            NodeId(node.decode()),
            cast(Role, role.decode()),
            cast(Dialect, dialect.decode()),
            generation.get(PeerId(peer.decode()), 1),
        )
        changes.append(
            Change(int(version), cast(ChangeKind, kind.decode()), member, reason.decode())
        )
    reaped = int(reply[4])
    if reaped:
        metrics.REAPED.inc(reaped)
    return Record(int(reply[1]), members, tuple(changes), reaped)


class RedisStore:
    """See `Store`; shares the node's command connection with the bus, so that order is kept."""

    def __init__(self, link: Link, node: NodeId, timing: Timing, *, alone: bool) -> None:
        self._link = link
        self._node = node
        self._timing = timing
        self._epoch: str | None = None
        self._settled_at = 0.0
        self._server = ""
        self._secret: str | None = None
        self._settle_ms = 0 if alone else int(timing.settle_s * 1000)
        self._grace_ms = int(timing.resume_grace_s * 1000)
        short_grace_s = max(0.0, timing.resume_grace_s - timing.node_life_s + timing.beat_s)
        self._head = (
            node,
            NODE_PREFIX,
            self._grace_ms,
            int(short_grace_s * 1000),
            timing.room_life_s,
        )

    @property
    def up(self) -> bool:
        """See Store."""
        return self._link.up

    async def prepare(self, connection: RespConnection) -> None:
        """Make a server that the link has just reached ours: our scripts, and an epoch of its own."""
        for script in SCRIPTS.values():
            await connection.call("SCRIPT", "LOAD", script.text)
        self._server = connection.server
        await self._call(connection, "beat", [], *self._beat_args())

    async def _call(
        self, connection: RespConnection, name: str, keys: Sequence[str], *args: str | int
    ) -> Reply:
        script = SCRIPTS[name]
        tail = (1 + len(keys), EPOCH_KEY, *keys, *self._head, *args)
        try:
            return await connection.call("EVALSHA", script.digest, *tail)
        except RedisRefused as error:
            if not str(error).startswith("NOSCRIPT"):
                raise
            return await connection.call("EVAL", script.text, *tail)

    async def _run(self, name: str, keys: Sequence[str], *args: str | int) -> Reply:
        started = time.perf_counter()
        try:
            return await self._call(self._link.current(), name, keys, *args)
        except RedisUnavailable as error:
            raise StoreUnavailable(str(error)) from None
        except RedisRefused as error:
            metrics.REDIS_ERRORS.labels("refused").inc()
            raise StoreUnavailable(f"Redis refused {name}: {error}") from None
        finally:
            metrics.REDIS_COMMAND.labels(name).observe(time.perf_counter() - started)

    async def join(self, request: JoinRequest) -> Admission:
        """See Store."""
        keys = [
            ROOM_PREFIX + request.room,
            pairing_key(request.pairing) if request.pairing else NO_KEY,
            ADDRESS_PREFIX + request.address if request.address else NO_KEY,
            RESUMES_PREFIX + request.resume if request.resume else NO_KEY,
        ]
        args: list[str | int] = [
            request.peer,
            request.role,
            request.dialect,
            request.capacity,
            "" if request.host_capacity is None else request.host_capacity,
            int(request.authorised),
            request.resume or "",
            request.generation,
            request.room,
            request.address_limit,
            int(WINDOW_S * 1000),
            RESUMES,
        ]
        try:
            async with asyncio.timeout(JOIN_WAIT_LIMIT_S):
                reply = await self._run("join", keys, *args)
                while reply[0] == b"wait":
                    await asyncio.sleep(min(1.0, int(reply[1]) / 1000 + 0.01))
                    reply = await self._run("join", keys, *args)
        except TimeoutError:
            raise StoreUnavailable("Redis has just come back") from None
        status = reply[0].decode()
        if status == "rate-limited":
            limit, after_ms = reply[5]
            raise JoinRefused(
                status, _record(reply), cast(JoinLimit, limit.decode()), int(after_ms)
            )
        if status != "ok":
            raise JoinRefused(cast(Refusal, status), _record(reply))
        peer, generation, resumed, role = reply[5]
        member = Member(
            PeerId(peer.decode()),
            self._node,
            cast(Role, role.decode()),
            request.dialect,
            int(generation),
        )
        return Admission(member, bool(resumed), _record(reply))

    async def leave(self, room: RoomId, member: Member, reason: Literal["bye", "lost"]) -> Record:
        """See Store."""
        grace_ms = 0 if member.dialect == "plain" else self._grace_ms
        args = (member.peer, member.generation, reason, grace_ms)
        return _record(await self._run("leave", [ROOM_PREFIX + room], *args))

    async def reap(self, room: RoomId) -> Record:
        """See Store."""
        return _record(await self._run("reap", [ROOM_PREFIX + room]))

    async def register(self, registration: Registration) -> Record:
        """See Store."""
        args: list[str | int] = [
            "" if registration.capacity is None else registration.capacity,
            int(registration.whole),
        ]
        for member, authorised in registration.members:
            args += [*_row(member, authorised), 0, 1]
        for away in registration.away:
            args += [*_row(away.member, away.authorised), away.grace_ms, int(away.anew)]
        reply = await self._run("register", [ROOM_PREFIX + registration.room], *args)
        return replace(_record(reply), displaced=tuple(PeerId(peer.decode()) for peer in reply[5]))

    async def strike(self, node: NodeId) -> bool:
        """See Store."""
        return bool(await self._run("strike", [], node))

    def report(self, room: RoomId, telemetry: bytes) -> None:
        """See Store; goes out with the other commands of this turn of the event loop."""
        try:
            connection = self._link.current()
            connection.send("SET", HOST_PREFIX + room, telemetry, "PX", HOST_LIFE_MS)
        except RedisUnavailable as error:
            raise StoreUnavailable(str(error)) from None

    def _beat_args(self) -> tuple[str | int, ...]:
        life_ms = int(self._timing.node_life_s * 1000)
        return (life_ms, secrets.token_hex(8), self._settle_ms, self._server)

    async def beat(self, others: Sequence[NodeId]) -> Beat:
        """See Store."""
        reply = await self._run("beat", [], *self._beat_args(), *others)
        epoch = reply[0].decode()
        if epoch != self._epoch:
            if self._secret is not None:  # Redis came back without it, and perhaps we alone know it
                self._secret = await self._stored_secret(self._secret)
            self._epoch = epoch
            self._settled_at = time.monotonic() + reply[3] / 1000
        return Beat(epoch, tuple(NodeId(node.decode()) for node in reply[1]), bool(reply[2]))

    async def secret(self) -> str:
        """See Store. A new one is made only when every node has had its time to put the old one back."""
        try:
            async with asyncio.timeout(JOIN_WAIT_LIMIT_S):
                while self._secret is None:
                    settled = self._epoch is not None and time.monotonic() >= self._settled_at
                    self._secret = await self._stored_secret(
                        secrets.token_hex(32) if settled else None
                    )
                    if self._secret is None:
                        await asyncio.sleep(SECRET_POLL_S)
        except TimeoutError:
            raise StoreUnavailable("Redis has just come back") from None
        return self._secret

    async def _stored_secret(self, otherwise: str | None) -> str | None:
        """The secret in Redis, which becomes `otherwise` where there is none."""
        try:
            connection = self._link.current()
            if otherwise is not None:
                connection.send("SET", SECRET_KEY, otherwise, "NX")
            found = await connection.call("GET", SECRET_KEY)
            return None if found is None else str(found.decode())
        except (RedisUnavailable, RedisRefused) as error:
            raise StoreUnavailable(str(error)) from None
