"""What was lost on the way is made good: notices, the cluster's secret, a join in flight, a node's own failure."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import jwt
import pytest
import redis

from cluster import app, resp
from cluster.auth import Grant, Signer
from cluster.bus import redis as bus_module
from cluster.link import Link
from cluster.protocol.messages import PeerId, RoomId
from cluster.reconciler import Reconciler
from cluster.resp import RedisUnavailable
from cluster.room import Member, NodeId
from cluster.settings import Timing
from cluster.store.base import Admission, JoinRefused, JoinRequest, Record
from cluster.up import tls
from cluster.websocket import Connection
from tests.cluster import support
from tests.cluster.frames import Raw
from tests.cluster.processes import status_of
from tests.cluster.support import Peer, RunningNode, hello, host, node, until
from tests.redis_server import RedisServer, stopping


@pytest.mark.parametrize("link", ["commands", "subscription"])
async def test_notice_lost_with_a_link_is_made_good_when_it_is_back(
    redis_url: str, link: str
) -> None:
    settings = support.base_settings(redis_url, pairing=False)
    async with node(settings) as one, node(settings) as two:
        desk = await host(one.url)
        here = one.service.node
        receive, here.receive = here.receive, lambda letter: None  # type: ignore[method-assign]
        page = await hello(two.url)
        await page.get("peer-joined")
        here.receive = receive  # type: ignore[method-assign]
        broken: Link = one.service._link if link == "commands" else one.service.bus._subscription
        broken.restart()
        joined = await desk.get()
        assert (joined["type"], joined["peer"]) == ("peer-joined", page.id)


async def test_healthy_subscription_stays_while_the_command_link_is_down(
    node: RunningNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "PROBE_S", 0.01)
    monkeypatch.setattr(bus_module, "PROBE_LIMIT_S", 0.01)

    class Silent:
        """A command connection that takes a command and never answers, or is lost."""

        up = True
        calls = 0

        def current(self) -> Silent:
            return self

        def call(self, *_command: object) -> asyncio.Future[None]:
            self.calls += 1
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            if self.calls % 2:
                future.set_exception(RedisUnavailable("lost"))
            return future

    bus = node.service.bus
    before, silent = bus._subscription.current(), Silent()
    real = bus._commands
    bus._commands = silent  # type: ignore[assignment]
    probing = asyncio.create_task(bus._probe())
    await until(lambda: silent.calls >= 4)
    probing.cancel()
    bus._commands = real
    assert bus._subscription.current() is before


async def test_made_secret_is_put_back_by_a_node_that_knows_it(redis_url: str) -> None:
    settings = support.base_settings(redis_url, secret=None)
    client = redis.Redis.from_url(redis_url)
    async with node(settings, alone=False) as one:
        secret = await one.service.store.secret()
        client.flushall()
        async with node(settings, alone=False) as newcomer:
            assert await newcomer.service.store.secret() == secret
        assert await one.service.store.secret() == secret
    stored = client.get("tb:secret")
    assert isinstance(stored, bytes)
    assert stored.decode() == secret


async def test_join_in_flight_survives_that_its_room_is_written_again(
    open_node: RunningNode,
) -> None:
    desk = await host(open_node.url)
    service = open_node.service
    in_redis, go_on = support.hold_joins(service)
    joining = asyncio.create_task(hello(open_node.url))
    await support.within_limit(in_redis.wait())
    await service.reconciler.register(RoomId("r"))
    go_on.set()
    page = await joining
    record = await service.store.reap(RoomId("r"))
    assert {member.peer for member in record.members} == {desk.id, page.id}
    await until(lambda: not service.reconciler._dirty)


async def test_what_a_refused_join_found_out_is_not_lost(
    open_node: RunningNode, redis_url: str
) -> None:
    desk = await host(open_node.url)
    service = open_node.service
    client = redis.Redis.from_url(redis_url)
    client.hset("tb:room:r", "m:ghost", "gone player plain 1 1 1")
    request = JoinRequest(RoomId("r"), PeerId("A" * 22), "host", "tightbeam", 9, 9)
    with pytest.raises(JoinRefused) as refused:
        await service.store.join(request)
    record = refused.value.record
    assert refused.value.code == "host-present"
    assert record is not None
    assert [(change.kind, change.member.peer) for change in record.changes] == [("left", "ghost")]

    other = Member(PeerId("B" * 22), NodeId("other"), "player", "tightbeam")
    found = Record(record.version + 1, (*record.members, other), (), 0)

    async def refuse(_request: JoinRequest) -> Admission:
        raise JoinRefused("room-full", found)

    service.store.join = refuse  # type: ignore[method-assign, assignment]
    assert (await hello(open_node.url)).welcome["code"] == "room-full"
    assert (await desk.get())["peer"] == other.peer


async def test_session_ends_however_often_it_is_renewed(node: RunningNode) -> None:
    ends = int(time.time()) + 3600
    first = await hello(node.url, session=support.token("session", role="player", ends=ends))
    second = await hello(node.url, resume=first.welcome["resume"])
    third = await hello(node.url, session=second.welcome["session"])
    for peer in (first, second, third):
        for kind in ("session", "resume"):
            claims = jwt.decode(peer.welcome[kind], options={"verify_signature": False})
            assert claims["exp"] == ends
    late = Grant("session", RoomId("r"), "player", ends=int(time.time()) - 1)
    expired = Signer(support.SECRET).issue(late, int(time.time()))
    assert (await hello(node.url, session=expired)).welcome["code"] == "unauthorized"


async def test_record_of_a_held_room_outlives_its_life_in_redis(redis_url: str) -> None:
    timing = Timing(beat_s=0.1, room_life_s=10)
    async with support.node(support.base_settings(redis_url, timing=timing)) as here:
        await support.plain(here.url)
        client, lives = redis.Redis.from_url(redis_url), list[int]()
        async with asyncio.timeout(support.LIMIT_S):
            while not any(old < new for old, new in itertools.pairwise(lives)):  # written again
                lives.append(client.pttl("tb:room:p"))
                assert 0 < lives[-1] <= 10_000
                await asyncio.sleep(0.02)


async def test_node_whose_background_work_fails_ends_with_an_error(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(_self: Reconciler) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(Reconciler, "beat", fail)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    with pytest.raises(RuntimeError, match="background work has failed"):
        async with asyncio.timeout(support.LIMIT_S):
            await app.serve(support.base_settings(redis_url), listener, alone=True)
    assert "a bug" in caplog.text


async def test_dead_connection_is_found_under_tls_too(redis_url: str, tmp_path: Path) -> None:
    made = tls.ensure(tmp_path / "tls", ["127.0.0.1"])
    settings = support.base_settings(redis_url, pairing=False, heartbeat_s=0.2)
    settings = replace(settings, tls_cert=str(made.certificate), tls_key=str(made.key))
    async with node(settings) as secure:
        context = ssl.create_default_context(cafile=str(made.authority))
        page = await hello(f"wss://127.0.0.1:{secure.port}", options={"ssl": context})
        page.socket.transport.pause_reading()  # no pong will come, and no close_notify
        await until(lambda: page.id not in secure.service.node.sessions)
        page.socket.transport.abort()


async def test_plain_client_that_vanishes_during_its_join_is_no_member(node: RunningNode) -> None:
    service = node.service
    in_redis, go_on = support.hold_joins(service)
    raw = await Raw.request(node, "r")
    await support.within_limit(in_redis.wait())
    (connection,) = (c for c in node.server.server_state.connections if isinstance(c, Connection))
    raw.writer.transport.abort()
    await support.within_limit(asyncio.shield(connection.closed))
    go_on.set()
    await until(lambda: not node.server.server_state.tasks)
    assert not service.node.sessions
    await until(lambda: not service.reconciler._tasks)
    assert (await service.store.reap(RoomId("r"))).members == ()


@dataclass(frozen=True, slots=True)
class Outage:
    """How Redis goes away, and comes back."""

    begin: Callable[[RedisServer], None]
    end: Callable[[RedisServer], None]


FROZEN = pytest.param(Outage(RedisServer.pause, RedisServer.resume), id="frozen")
EMPTY = pytest.param(Outage(RedisServer.stop, RedisServer.start), id="back empty")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    own = RedisServer(tmp_path)
    with stopping(own):
        yield own


@contextlib.asynccontextmanager
async def lost_while_redis_was_away(
    server: RedisServer, outage: Outage, timing: Timing, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Peer, Peer, RunningNode, float]]:
    """A host on another node, a page that Redis did not hear go, their node, and when it went."""
    settings = support.base_settings(server.url, pairing=False, timing=timing)
    async with node(settings, alone=False) as one, node(settings, alone=False) as two:
        desk, page = await host(one.url), await hello(two.url)
        await desk.get("peer-joined")
        with monkeypatch.context() as patch:
            patch.setattr(resp, "REPLY_TIMEOUT_S", 0.3)
            outage.begin(server)
            await until(lambda: not (one.service.store.up or two.service.store.up))
            page.socket.transport.abort()
            await until(lambda: page.id not in two.service.node.sessions)
            lost_at = time.monotonic()
            await until(lambda: not two.service.reconciler._tasks)  # the leave was in vain
        await asyncio.to_thread(outage.end, server)
        await until(lambda: one.service.node.ready and two.service.node.ready)
        yield desk, page, two, lost_at


@pytest.mark.parametrize("outage", [FROZEN, EMPTY])
async def test_peer_lost_while_redis_was_away_keeps_its_grace(
    server: RedisServer, outage: Outage, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = lost_while_redis_was_away(server, outage, support.TIMING, monkeypatch)
    async with away as (desk, page, there, _):
        client = server.client
        await until(lambda: _lost_until(client, page.id) > 0)
        back = await hello(there.url, resume=page.welcome["resume"])
        assert back.welcome["resumed"] is True
        assert _lost_until(client, page.id) == 0
        await until(lambda: not there.service.reconciler._dirty)
        await desk.send(type="ping")
        assert await desk.get() == {"type": "pong"}  # nobody told it of a leave or a join
        assert not there.service.reconciler._graces


@pytest.mark.parametrize("outage", [FROZEN, EMPTY])
async def test_peer_lost_while_redis_was_away_is_given_up_after_its_grace(
    server: RedisServer, outage: Outage, monkeypatch: pytest.MonkeyPatch
) -> None:
    timing = replace(support.TIMING, resume_grace_s=3.0)
    away = lost_while_redis_was_away(server, outage, timing, monkeypatch)
    async with away as (desk, page, there, lost_at):
        assert await desk.get() == {"type": "peer-left", "peer": page.id, "reason": "lost"}
        assert time.monotonic() - lost_at >= timing.resume_grace_s
        assert not server.client.hexists("tb:room:r", f"m:{page.id}")
        await until(lambda: not there.service.reconciler._graces)


@pytest.mark.parametrize("at_its_node", [True, False])
async def test_host_that_another_replaced_within_its_grace_is_not_written_again(
    redis_url: str, at_its_node: bool
) -> None:
    """Its page was told of it when Redis had lost its records, then that it left, and waited for a host for ever."""
    settings = support.base_settings(redis_url, pairing=False)
    client = redis.Redis.from_url(redis_url)
    async with node(settings, alone=False) as one, node(settings, alone=False) as two:
        former, page = await host(one.url), await hello(two.url)
        assert (await page.get())["peer"] == former.id
        former.socket.transport.abort()
        await until(lambda: _lost_until(client, former.id) > 0)
        desk = await host((one if at_its_node else two).url)
        assert {(await page.get())["type"] for _ in range(2)} == {"peer-left", "peer-joined"}
        await until(lambda: not one.service.reconciler._graces)
        client.flushall()
        await until(lambda: client.hlen("tb:room:r") == 4)  # v, cap, host and page
        assert not client.hexists("tb:room:r", f"m:{former.id}")
        await until(lambda: not two.service.reconciler.settling)
        await desk.sync(page.id, "still here")
        assert (await page.get())["items"][0]["sdp"] == "still here"


async def test_node_is_not_ready_before_it_gives_a_silent_redis_up(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resp, "REPLY_TIMEOUT_S", 60.0)
    async with node(support.base_settings(server.url)) as here:
        ready = f"http://127.0.0.1:{here.port}/readyz"
        assert await asyncio.to_thread(status_of, ready) == 200
        connection = here.service._link.current()
        server.pause()
        await until(lambda: not here.service._link.answers)
        assert await asyncio.to_thread(status_of, ready) == 503
        assert await asyncio.to_thread(status_of, f"{ready}?local=1") == 200
        assert here.service._link.current() is connection
        server.resume()
        await until(lambda: here.service._link.answers)
        assert await asyncio.to_thread(status_of, ready) == 200
        assert here.service._link.current() is connection


def _lost_until(client: redis.Redis, peer: str) -> int:
    row = client.hget("tb:room:r", f"m:{peer}")
    return int(row.split()[4]) if isinstance(row, bytes) else -1
