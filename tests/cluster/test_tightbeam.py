"""The Tightbeam dialect on one node."""

from __future__ import annotations

import json

import pytest

from cluster.protocol.messages import MAX_MESSAGE_BYTES
from cluster.session import HELLO_BYTES
from tests.cluster import support
from tests.cluster.support import RunningNode, closing, hello, host, sample, until


async def test_host_and_player_find_each_other_and_logs_pass_byte_for_byte(
    node: RunningNode, redis_url: str
) -> None:
    desk = await host(node.url)
    assert desk.welcome["type"] == "welcome"
    assert desk.welcome["role"] == "host"
    page = await hello(node.url, token=support.pairing(redis_url))
    assert page.welcome["resumed"] is False
    assert (await page.get())["peer"] == desk.id
    joined = await desk.get()
    assert joined == {
        "type": "peer-joined",
        "peer": page.id,
        "role": "player",
        "dialect": "tightbeam",
    }
    sent = await page.sync(desk.id, "v=0 é \U0001f600")
    assert await support.within_limit(desk.socket.recv()) == sent
    await page.leave()
    assert await desk.get() == {"type": "peer-left", "peer": page.id, "reason": "bye"}


async def test_pairing_token_is_used_once_and_session_serves_after_it(
    node: RunningNode, redis_url: str
) -> None:
    link = support.pairing(redis_url)
    first = await hello(node.url, token=link)
    await first.leave()
    second = await hello(node.url, token=link)
    assert second.welcome["code"] == "unauthorized"
    assert (await second.closed())[0] == 1008
    again = await hello(node.url, session=first.welcome["session"])
    assert again.welcome["type"] == "welcome"


async def test_refused_join_does_not_burn_the_pairing_token(
    node: RunningNode, redis_url: str
) -> None:
    link = support.pairing(redis_url, "other")
    assert (await hello(node.url, token=link)).welcome["code"] == "forbidden"
    assert (await hello(node.url, "other", token=link)).welcome["type"] == "welcome"


async def test_credentials_grant_their_room_and_role_only(node: RunningNode) -> None:
    answers = {
        "nothing": {},
        "garbage": {"token": "a.b.c"},
        "unknown pairing": {"token": "A" * 22},
        "host token for a player": {"token": support.token()},
        "session of another kind": {"session": support.token()},
    }
    for name, keys in answers.items():
        peer = await hello(node.url, **keys)
        assert peer.welcome["code"] == "unauthorized", name
        assert (await peer.closed())[0] == 1008
    session = support.token("session", role="viewer")
    assert (await hello(node.url, session=session)).welcome["code"] == "forbidden"
    assert (await hello(node.url, "x", "viewer", session=session)).welcome["code"] == "forbidden"
    assert (await hello(node.url, role="host", session=session)).welcome["code"] == "forbidden"
    assert (await hello(node.url, role="viewer", session=session)).welcome["type"] == "welcome"
    player = support.token("session", role="player")
    assert (await hello(node.url, role="viewer", session=player)).welcome["role"] == "viewer"


async def test_second_host_is_refused_and_a_lost_one_is_replaced(node: RunningNode) -> None:
    first = await host(node.url)
    second = await host(node.url)
    assert second.welcome["code"] == "host-present"
    assert (await second.closed())[0] == 1008
    first.socket.transport.abort()
    await until(lambda: not node.service.node.sessions)
    third = await host(node.url)
    assert third.welcome["type"] == "welcome"


async def test_room_takes_its_capacity_from_the_host(open_node: RunningNode) -> None:
    await host(open_node.url, capacity=3)
    assert (await hello(open_node.url)).welcome["type"] == "welcome"
    assert (await hello(open_node.url)).welcome["type"] == "welcome"
    third = await hello(open_node.url)
    assert third.welcome["code"] == "room-full"


async def test_lost_peer_resumes_with_its_id_and_the_others_hear_nothing(
    open_node: RunningNode,
) -> None:
    desk = await host(open_node.url)
    page = await hello(open_node.url)
    await desk.get("peer-joined")
    page.socket.transport.abort()
    await until(lambda: len(open_node.service.node.sessions) == 1)
    back = await hello(open_node.url, resume=page.welcome["resume"])
    assert back.welcome["resumed"] is True
    assert back.id == page.id
    await back.sync(desk.id, "again")
    assert (await desk.get())["type"] == "sync"


async def test_lost_peer_leaves_after_the_grace(redis_url: str) -> None:
    settings = support.base_settings(redis_url, pairing=False, timing=support.SHORT_GRACE)
    async with support.node(settings) as node:
        desk = await host(node.url)
        page = await hello(node.url)
        await desk.get("peer-joined")
        page.socket.transport.abort()
        assert await desk.get() == {"type": "peer-left", "peer": page.id, "reason": "lost"}
        back = await hello(node.url, resume=page.welcome["resume"])
        assert back.welcome["resumed"] is False
        assert back.id != page.id


async def test_newest_resume_wins_and_an_old_token_is_refused(open_node: RunningNode) -> None:
    first = await hello(open_node.url)
    second = await hello(open_node.url, resume=first.welcome["resume"])
    assert second.welcome["resumed"] is True
    assert await first.closed() == (1000, "superseded")
    third = await hello(open_node.url, resume=second.welcome["resume"])
    assert third.welcome["resumed"] is True
    fourth = await hello(open_node.url, resume=third.welcome["resume"])
    assert fourth.id == first.id
    stale = await hello(open_node.url, resume=first.welcome["resume"])
    assert stale.welcome["code"] == "unauthorized"
    assert list(open_node.service.node.sessions) == [first.id]


async def test_messages_that_break_the_rules_are_answered(open_node: RunningNode) -> None:
    desk = await host(open_node.url)
    page = await hello(open_node.url)
    await page.get("peer-joined")
    await page.socket.send("{")
    assert (await page.get())["code"] == "bad-message"
    await page.sync(desk.id, **{"from": desk.id})
    assert (await page.get())["code"] == "bad-message"
    await page.send(type="hello", room="r", role="player")
    assert (await page.get())["code"] == "bad-message"
    await page.sync("A" * 22)
    assert (await page.get())["code"] == "no-such-peer"
    await page.send(type="ping")
    assert await page.get() == {"type": "pong"}
    kinds: tuple[object, ...] = ("unknown", "welcome", None, 1, [], {})
    for kind in kinds:
        await page.send(type=kind)
        assert (await page.get())["code"] == "bad-message"
    await page.socket.send(b"binary")
    assert (await page.get())["code"] == "bad-message"
    assert (await page.closed())[0] == 1008


async def test_first_message_must_be_hello(node: RunningNode) -> None:
    socket = await support.open_socket(node.url)
    await socket.send(json.dumps({"type": "ping"}))
    assert (await support.receive(socket))["code"] == "bad-message"
    assert (await support.closing(socket))[0] == 1008


async def test_silent_socket_is_closed(redis_url: str) -> None:
    settings = support.base_settings(redis_url, hello_timeout_s=0.1)
    async with support.node(settings) as node:
        socket = await support.open_socket(node.url)
        assert (await support.receive(socket))["code"] == "hello-timeout"
        assert (await support.closing(socket))[0] == 1008


@pytest.mark.parametrize("fragments", [1, 4])
async def test_stranger_is_held_to_the_size_of_a_hello(
    open_node: RunningNode, fragments: int
) -> None:
    socket = await support.open_socket(open_node.url)
    part = "x" * (HELLO_BYTES // fragments + 1)
    await socket.send(part if fragments == 1 else [part] * fragments)
    assert (await closing(socket))[0] == 1009


async def test_log_passes_whatever_a_plain_client_may_say(redis_url: str) -> None:
    settings = support.base_settings(redis_url, pairing=False, message_bytes=1024)
    async with support.node(settings) as node:
        desk, page = await host(node.url), await hello(node.url)
        assert page.welcome["limits"]["messageBytes"] == MAX_MESSAGE_BYTES
        await desk.get("peer-joined")
        sent = await page.sync(desk.id, "v" * 60_000)
        assert await support.within_limit(desk.socket.recv()) == sent
        guest = await support.plain(node.url, "p")
        await guest.send("x" * 1025)
        assert (await closing(guest))[0] == 1009


async def test_oversized_message_is_closed_with_1009(open_node: RunningNode) -> None:
    desk = await host(open_node.url)
    page = await hello(open_node.url)
    await desk.get("peer-joined")
    before = sample("tightbeam_websocket_closes_total", code="1009")
    await page.socket.send("x" * (256 * 1024 + 1))
    assert (await page.closed())[0] == 1009
    await until(lambda: sample("tightbeam_websocket_closes_total", code="1009") == before + 1)
    await desk.send(type="ping")
    assert (await desk.get())["type"] == "pong"


async def test_slow_consumer_is_closed_and_the_sender_is_not_held_up(redis_url: str) -> None:
    settings = support.base_settings(
        redis_url, pairing=False, messages_per_10s=10**6, send_buffer_bytes=1 << 16
    )
    async with support.node(settings) as node:
        desk = await host(node.url)
        page = await hello(node.url, options={"max_queue": 1})
        await desk.get("peer-joined")
        page.socket.transport.pause_reading()
        before, sent = sample("tightbeam_slow_consumers_total"), 0
        while page.id in node.service.node.sessions and sent < 2000:
            await desk.sync(page.id, "x" * 60_000)
            sent += 1
        assert sent < 2000
        assert sample("tightbeam_slow_consumers_total") == before + 1
        await desk.send(type="ping")
        assert (await desk.get("pong"))["type"] == "pong"
        page.socket.transport.abort()
        await until(lambda: sample("tightbeam_websockets") == 1)


async def test_drain_asks_tightbeam_peers_to_reconnect(redis_url: str) -> None:
    settings = support.base_settings(redis_url, pairing=False, drain_s=0.3)
    async with support.node(settings) as node:
        page = await hello(node.url)
        node.server.stop()
        assert 0 <= (await page.get("reconnect"))["afterMs"] <= 300
        assert await page.closed() == (1012, "Server draining")


async def test_dead_connection_is_found_within_two_heartbeats(redis_url: str) -> None:
    settings = support.base_settings(redis_url, pairing=False, heartbeat_s=0.2)
    async with support.node(settings) as node:
        page = await hello(node.url)
        page.socket.transport.pause_reading()  # no pong will come
        await until(lambda: page.id not in node.service.node.sessions)
