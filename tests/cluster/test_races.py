"""What happens while Redis has not answered yet: lost replies, early notices, joins and leaves that cross."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest
import redis

from cluster import guard, reconciler, resp
from cluster.auth import new_id
from cluster.bus.base import Letter
from cluster.protocol.messages import PeerId, RoomId
from cluster.redis_url import RedisUrl
from cluster.store.base import Admission, JoinRequest
from tests.cluster import support
from tests.cluster.support import RunningNode, closing, hello, host, node, plain, receive, until
from tests.ports import free_port


async def test_join_whose_reply_was_lost_leaves_no_ghost(monkeypatch: pytest.MonkeyPatch) -> None:
    with support.valkey() as server:
        assert server._guard is not None
        (pid,) = guard.descendants(server._guard.pid)
        async with node(support.base_settings(server.url)) as here:
            with monkeypatch.context() as patch:
                patch.setattr(resp, "REPLY_TIMEOUT_S", 0.3)
                os.kill(pid, signal.SIGSTOP)
                desk, guest = await asyncio.gather(host(here.url), plain(here.url))
                assert desk.welcome["code"] == "unavailable"
                assert await closing(guest) == (1013, "Service unavailable")
            os.kill(pid, signal.SIGCONT)  # it has both joins in its buffer, and runs them now
            client = redis.Redis.from_url(server.url)
            await until(lambda: here.service.node.ready and not client.keys("tb:room:*"))
            assert (await host(here.url)).welcome["type"] == "welcome"


async def test_join_whose_reply_could_not_be_read_leaves_no_ghost(
    open_node: RunningNode, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    join = open_node.service.store.join

    async def unreadable(request: JoinRequest) -> Admission:
        await join(request)
        raise IndexError

    monkeypatch.setattr(open_node.service.store, "join", unreadable)
    socket = await support.open_socket(open_node.url)
    await socket.send('{"type":"hello","room":"r","role":"player"}')
    assert await closing(socket) == (1011, "Internal error")
    client = redis.Redis.from_url(redis_url)
    await until(lambda: not client.keys("tb:room:*"))


async def test_notice_that_comes_before_the_reply_of_the_first_join_is_not_lost(
    redis_url: str,
) -> None:
    settings = support.base_settings(redis_url, pairing=False)
    async with node(settings) as one, node(settings) as two:
        in_redis, go_on = support.hold_joins(one.service)
        noticed = asyncio.Event()
        receive = one.service.node.receive

        def hear(letter: Letter) -> None:
            receive(letter)
            noticed.set()

        one.service.node.receive = hear  # type: ignore[method-assign]
        joining = asyncio.create_task(hello(one.url))
        await support.within_limit(in_redis.wait())
        desk = await host(two.url)
        await support.within_limit(noticed.wait())
        go_on.set()
        page = await joining
        assert (await page.get())["peer"] == desk.id
        await page.sync(desk.id, "found")
        assert (await desk.get("sync"))["items"][0]["sdp"] == "found"


async def test_leave_is_not_undone_by_a_join_that_redis_ran_before_it(
    open_node: RunningNode,
) -> None:
    service = open_node.service
    desk, goes = await host(open_node.url), await hello(open_node.url)
    await desk.get("peer-joined")
    in_redis, go_on = support.hold_joins(service)
    joining = asyncio.create_task(hello(open_node.url))
    await support.within_limit(in_redis.wait())
    may_leave = support.hold_leaves(service)
    await goes.leave()
    assert await desk.get() == {"type": "peer-left", "peer": goes.id, "reason": "bye"}
    go_on.set()
    comes = await joining
    assert (await desk.get())["peer"] == comes.id
    may_leave.set()
    await until(lambda: not service.reconciler._tasks)
    for peer, others in ((desk, []), (comes, [desk.id])):
        await peer.send(type="ping")
        assert [(await peer.get())["peer"] for _ in others] == others
        assert (await peer.get())["type"] == "pong"


@pytest.fixture
async def pair(redis_url: str) -> AsyncIterator[tuple[RunningNode, RunningNode]]:
    """Two nodes of one cluster."""
    settings = support.base_settings(redis_url, pairing=False)
    async with node(settings) as one, node(settings) as two:
        yield one, two


async def _fall_silent(running: RunningNode) -> Callable[[], Awaitable[None]]:
    """The node's key has run out as if it had stood still; what is returned is its next beat."""
    reconciler = running.service.reconciler
    beat = reconciler.beat

    async def none() -> None:
        pass

    reconciler.beat = none  # type: ignore[method-assign]
    # The node's own connection: a beat that is on its way comes before this.
    await running.service._link.current().call("DEL", f"tb:node:{running.service.node.id}")
    return beat


def _lost_until(redis_url: str, peer: str, room: str = "r") -> int:
    row = redis.Redis.from_url(redis_url).hget(f"tb:room:{room}", f"m:{peer}")
    assert isinstance(row, bytes)
    return int(row.split()[4])


async def test_node_that_stood_still_takes_its_members_back(
    pair: tuple[RunningNode, RunningNode], redis_url: str
) -> None:
    one, two = pair
    desk, page = await host(one.url), await hello(two.url)
    left, right = await plain(one.url), await plain(two.url)
    beat = await _fall_silent(one)
    await two.service.store.reap(RoomId("r"))
    assert _lost_until(redis_url, desk.id) > 0
    await two.service.reconciler.reap(RoomId("p"))
    assert await receive(right) == {"type": "peer-disconnected"}
    await beat()
    assert _lost_until(redis_url, desk.id) == 0
    await left.send(json.dumps({"type": "offer", "sdp": "still here"}))
    assert (await receive(right))["sdp"] == "still here"
    await desk.get("peer-joined")
    await page.get("peer-joined")
    await page.send(type="ping")
    assert await page.get() == {"type": "pong"}


async def test_node_does_not_take_itself_for_dead(open_node: RunningNode, redis_url: str) -> None:
    desk = await host(open_node.url)
    await _fall_silent(open_node)
    record = await open_node.service.store.reap(RoomId("r"))
    assert [member.peer for member in record.members] == [desk.id]
    assert _lost_until(redis_url, desk.id) == 0


async def test_room_written_again_loses_whose_grace_is_over(
    open_node: RunningNode, redis_url: str
) -> None:
    desk = await host(open_node.url)
    client = redis.Redis.from_url(redis_url)
    client.hset(
        "tb:room:r",
        mapping={
            "m:ghost": "gone player tightbeam 1 1 1",
            "m:left": f"{'0' * 16} player plain 1 0 1",
        },
    )
    await open_node.service.reconciler.register(RoomId("r"))
    assert set(client.hgetall("tb:room:r")) == {b"cap", b"v", f"m:{desk.id}".encode()}


async def test_grace_that_is_not_over_by_the_clock_of_redis_is_looked_at_again(
    redis_url: str,
) -> None:
    settings = support.base_settings(redis_url, pairing=False, timing=support.SHORT_GRACE)
    async with node(settings) as here:
        desk, page = await host(here.url), await hello(here.url)
        await desk.get("peer-joined")
        ahead = replace(settings.timing, resume_grace_s=-1.0)
        here.service.reconciler._timing = ahead  # by a clock that is
        page.socket.transport.abort()
        assert await desk.get() == {"type": "peer-left", "peer": page.id, "reason": "lost"}
        await until(lambda: not here.service.reconciler._tasks)
        assert len((await here.service.store.reap(RoomId("r"))).members) == 1


async def test_work_that_had_no_room_is_made_good_at_the_next_beat(
    open_node: RunningNode, monkeypatch: pytest.MonkeyPatch, redis_url: str
) -> None:
    here, sessions = open_node.service.reconciler, open_node.service.node.sessions
    desk, page = await host(open_node.url), await hello(open_node.url)
    left = await plain(open_node.url)
    await until(lambda: not here._tasks)
    with monkeypatch.context() as patch:
        patch.setattr(reconciler, "MAX_TASKS", 0)
        here.read_again(RoomId("r"))
        await page.leave()
        left.transport.abort()
        await until(lambda: len(sessions) == 1)
    client = redis.Redis.from_url(redis_url)
    await until(lambda: not client.exists("tb:room:p"))
    await until(lambda: not client.hexists("tb:room:r", f"m:{page.id}"))
    assert client.hexists("tb:room:r", f"m:{desk.id}")
    assert not here._leaving
    assert not here._reading


async def test_message_that_comes_before_the_reply_of_the_join_is_not_lost(redis_url: str) -> None:
    settings = support.base_settings(redis_url, pairing=False)
    async with node(settings) as one, node(settings) as two:
        in_redis, go_on = support.hold_joins(two.service)
        late = asyncio.create_task(plain(two.url))
        await support.within_limit(in_redis.wait())
        early = await plain(one.url)  # its record lists the other one, whose node does not know yet
        for number in range(3):
            await early.send(json.dumps({"type": "offer", "sdp": f"v={number}"}))
        await until(lambda: [len(kept) for kept in two.service.node._early.values()] == [3])
        go_on.set()
        heard = [await receive(await late) for _ in range(3)]
        assert [message["sdp"] for message in heard] == ["v=0", "v=1", "v=2"]
        assert not two.service.node._early


async def test_message_for_a_resuming_peer_comes_after_its_welcome(redis_url: str) -> None:
    settings = support.base_settings(redis_url, pairing=False)
    async with node(settings) as one, node(settings) as two:
        desk, page = await host(one.url), await hello(one.url)
        await desk.get("peer-joined")
        in_redis, go_on = support.hold_joins(two.service)
        page.socket.transport.abort()
        back = asyncio.create_task(hello(two.url, resume=page.welcome["resume"]))
        await support.within_limit(in_redis.wait())
        await one.service.reconciler.reap(
            RoomId("r")
        )  # so that the host's node knows where the page is
        sent = await desk.sync(page.id)
        await until(lambda: any(two.service.node._early.values()))
        go_on.set()
        resumed = await back
        assert resumed.welcome["resumed"] is True
        assert await resumed.get("sync") == json.loads(sent)


async def test_who_speaks_before_the_reply_of_the_join_is_known_to_the_one_who_joins(
    redis_url: str,
) -> None:
    settings = support.base_settings(redis_url, pairing=False)
    async with node(settings) as one, node(settings) as two:
        in_redis, go_on = support.hold_joins(two.service)
        late = asyncio.create_task(host(two.url))
        await support.within_limit(in_redis.wait())
        page = await hello(one.url)
        desk_id = (await page.get("peer-joined"))["peer"]
        sent = await page.sync(desk_id)
        await until(lambda: any(two.service.node._early.values()))
        go_on.set()
        desk = await late
        assert (await desk.get())["peer"] == page.id
        assert await desk.get() == json.loads(sent)
        answer = await desk.sync(page.id)
        assert await page.get("sync") == json.loads(answer)


async def test_stranger_whose_join_is_under_way_when_the_host_comes_is_no_member(
    redis_url: str,
) -> None:
    settings = support.base_settings(redis_url)
    async with node(settings) as one, node(settings) as two:
        in_redis, go_on = support.hold_joins(one.service)
        stranger = asyncio.create_task(plain(one.url, "r"))
        await support.within_limit(in_redis.wait())
        desk = await host(two.url)
        go_on.set()
        assert await closing(await stranger) == (1008, "Unauthorized")
        heard = [await desk.get() for _ in range(2)]
        assert [message["type"] for message in heard] == ["peer-joined", "peer-left"]
        assert not one.service.node.sessions


async def test_message_of_a_local_peer_waits_for_the_welcome_too(open_node: RunningNode) -> None:
    here = open_node.service.node
    desk, page = await host(open_node.url), await hello(open_node.url)
    await desk.get("peer-joined")
    peer = PeerId(page.id)
    here._early[peer] = []  # as if its join were just being answered
    sent = await desk.sync(page.id)
    await until(lambda: here._early[peer])
    here._deliver_early(here.sessions[peer])
    assert await page.get("sync") == json.loads(sent)


async def test_peer_that_resumed_elsewhere_is_not_thrown_out_by_its_old_node(
    redis_url: str,
) -> None:
    settings = support.base_settings(redis_url, pairing=False)
    async with node(settings) as one, node(settings) as two:
        desk, page = await host(one.url), await hello(one.url)
        await desk.get("peer-joined")
        old = one.service.node.sessions[PeerId(page.id)].member
        page.socket.transport.abort()
        back = await hello(two.url, resume=page.welcome["resume"])
        assert back.welcome["resumed"] is True
        room = one.service.node.rooms[RoomId("r")]
        await until(lambda: room.members[PeerId(page.id)].node == two.service.node.id)
        one.service.node.remove_here(room.id, old, "lost")
        assert PeerId(page.id) in room.members


async def test_room_has_one_host_after_the_node_of_the_first_was_cut_off(redis_url: str) -> None:
    timing = replace(support.SHORT_GRACE, node_life_s=0.8)
    settings = support.base_settings(redis_url, pairing=False, timing=timing)
    async with node(settings) as one, node(settings) as two:
        first, page, witness = await host(one.url), await hello(one.url), await hello(two.url)
        links = (one.service._link, one.service.bus._subscription)
        url = links[0]._url
        for link in links:
            link._url = RedisUrl.parse(f"redis://127.0.0.1:{free_port()}")
            link.restart()
        there = two.service.node.rooms[RoomId("r")]
        await until(lambda: not there.has_host)
        second = await host(two.url)
        for link in links:
            link._url = url
        assert await first.closed() == (1000, "superseded")
        while (said := await page.get("peer-joined"))["peer"] != second.id:
            pass
        assert said["role"] == "host"
        await until(lambda: page.id in there.members)
        for room in (there, one.service.node.rooms[RoomId("r")]):
            hosts = [member.peer for member in room.members.values() if member.is_host]
            assert hosts == [second.id]
        await witness.sync(second.id)
        await second.get("sync")


async def test_nobody_joins_before_a_node_has_written_what_it_holds(
    open_node: RunningNode,
) -> None:
    here = open_node.service.node
    assert here.ready
    open_node.service.reconciler.redis_back()
    assert not here.ready
    await until(lambda: here.ready)


async def test_leave_that_a_lagging_replica_did_not_know_leaves_no_ghost(
    open_node: RunningNode, redis_url: str
) -> None:
    client = redis.Redis.from_url(redis_url)
    ghost = new_id()
    await host(open_node.url)
    client.hset("tb:room:r", f"m:{ghost}", f"{open_node.service.node.id} player tightbeam 1 0 1")
    await hello(open_node.url)  # its record shows the ghost
    await until(lambda: not client.hexists("tb:room:r", f"m:{ghost}"))


async def test_mailbox_is_heard_where_the_commands_go(open_node: RunningNode) -> None:
    bus = open_node.service.bus
    server, old = open_node.service.store._server, bus._subscription.current()
    bus.follow(server)
    assert bus._subscription.current() is old
    old.server = "the primary before, which a firewall swallowed"
    bus.follow(server)
    await until(lambda: bus.up and bus._subscription.current() is not old)
