"""The plain dialect on one node, and rooms where both dialects meet."""

from __future__ import annotations

import json

import pytest

from tests.cluster import support
from tests.cluster.support import RunningNode, closing, host, plain, receive, until

OFFER = {"type": "offer", "sdp": "v=0"}


async def test_messages_reach_the_other_member_without_unknown_keys(node: RunningNode) -> None:
    one, two = await plain(node.url), await plain(node.url, path="/ws")
    messages: list[dict[str, object]] = [
        {**OFFER},
        {"type": "answer", "sdp": "v=0 é"},
        {"type": "candidate", "candidate": "", "sdpMid": "0", "sdpMLineIndex": 0},
        {"type": "candidate", "candidate": "c", "usernameFragment": "u"},
        {"type": "control", "action": "a", "payload": {"x": [1, None]}},
    ]
    for message in messages:
        await one.send(json.dumps({**message, "extra": 1}))
        assert await receive(two) == message
    await one.send(json.dumps({"type": "candidate", "candidate": "", "sdpMid": None}))
    assert await receive(two) == {"type": "candidate", "candidate": "", "sdpMid": None}


@pytest.mark.parametrize(
    "frame",
    [
        "{",
        "[]",
        '"x"',
        "{}",
        '{"type":"offer"}',
        '{"type":"offer","sdp":1}',
        '{"type":"sync"}',
        '{"type":"control","action":""}',
        '{"type":["offer"],"sdp":"x"}',
        b"binary",
    ],
)
async def test_invalid_message_is_answered_and_the_socket_goes_on(
    node: RunningNode, frame: str | bytes
) -> None:
    one, two = await plain(node.url), await plain(node.url)
    await one.send(frame)
    assert await receive(one) == {"type": "control", "action": "schema-error"}
    await one.send(json.dumps(OFFER))
    assert await receive(two) == OFFER


async def test_offer_sent_at_open_is_never_lost(node: RunningNode) -> None:
    for number in range(20):
        one = await plain(node.url, f"room-{number}")
        await one.send(json.dumps(OFFER))  # nobody is there yet: kept for the first who comes
        two = await plain(node.url, f"room-{number}")
        await two.send(json.dumps({"type": "answer", "sdp": "at open"}))
        assert await receive(two) == OFFER
        assert (await receive(one))["sdp"] == "at open"


async def test_dropped_message_takes_no_place_from_the_offer_after_it(node: RunningNode) -> None:
    one = await plain(node.url)
    small, big = ({"type": "control", "action": "a", "payload": "x" * n} for n in (10_000, 255_000))
    for message in (small, big, OFFER):
        await one.send(json.dumps(message))
    await one.send("{")
    await receive(one)  # the answer to the last one: all are taken
    two = await plain(node.url)
    assert [await receive(two), await receive(two)] == [small, OFFER]


async def test_third_member_is_refused_and_a_leaver_makes_room(node: RunningNode) -> None:
    one, two = await plain(node.url), await plain(node.url)
    assert await closing(await plain(node.url)) == (1000, "Room is full")
    await two.close()
    assert await receive(one) == {"type": "peer-disconnected"}
    await until(lambda: len(node.service.node.sessions) == 1)
    three = await plain(node.url)
    await three.send(json.dumps(OFFER))
    assert await receive(one) == OFFER


@pytest.mark.parametrize("room", ["", "a%20b", "x" * 65, "a/b", "%0a"])
async def test_bad_room_ids_are_refused(node: RunningNode, room: str) -> None:
    assert await closing(await plain(node.url, room)) == (1008, "Invalid roomId")


async def test_offered_subprotocol_is_answered(node: RunningNode) -> None:
    one = await plain(node.url, subprotocols=["other"])
    assert one.subprotocol == "other"
    assert (await plain(node.url)).subprotocol is None


async def test_tightbeam_is_not_chosen_where_the_plain_dialect_is_spoken(node: RunningNode) -> None:
    assert (await plain(node.url, subprotocols=["tightbeam.v1", "b"])).subprotocol == "b"
    one = await plain(node.url, "q", subprotocols=["tightbeam.v1"])
    assert one.subprotocol is None
    await one.send('{"type":"hello"}')
    assert (await receive(one))["action"] == "schema-error"


async def test_messages_keep_their_order(redis_url: str) -> None:
    settings = support.base_settings(redis_url, messages_per_10s=10**6)
    async with support.node(settings) as node:
        one, two = await plain(node.url), await plain(node.url)
        for number in range(500):
            await one.send(json.dumps({"type": "control", "action": str(number)}))
        got = [int((await receive(two))["action"]) for _ in range(500)]
        assert got == list(range(500))


async def test_draining_closes_plain_sockets_with_1012(node: RunningNode) -> None:
    one = await plain(node.url)
    node.server.stop()
    assert await closing(one) == (1012, "Server draining")


async def test_host_and_plain_peer_talk_through_translation(
    node: RunningNode, redis_url: str
) -> None:
    desk = await host(node.url, "mixed")
    assert await closing(await plain(node.url, "mixed")) == (1008, "Unauthorized")
    link = support.pairing(redis_url, "mixed")
    guest = await plain(node.url, "mixed", query=f"&token={link}")
    joined = await desk.get("peer-joined")
    assert joined["dialect"] == "plain"
    await guest.send(json.dumps(OFFER))
    assert await desk.get() == OFFER | {"from": joined["peer"]}
    await desk.send(type="answer", sdp="a", to=joined["peer"], **{"from": desk.id})
    assert await receive(guest) == {"type": "answer", "sdp": "a"}
    await desk.leave()
    assert await receive(guest) == {"type": "peer-disconnected"}


async def test_plain_players_of_a_host_do_not_hear_each_other_go(
    node: RunningNode, redis_url: str
) -> None:
    desk = await host(node.url, "mixed")
    links = [support.pairing(redis_url, "mixed") for _ in range(2)]
    stays, goes = [await plain(node.url, "mixed", query=f"&token={link}") for link in links]
    first = (await desk.get("peer-joined"))["peer"]
    await desk.get("peer-joined")
    await goes.close()
    await desk.get("peer-left")
    await desk.send(type="answer", sdp="a", to=first, **{"from": desk.id})
    assert await receive(stays) == {"type": "answer", "sdp": "a"}


async def test_stranger_in_a_room_is_sent_away_when_a_host_comes(node: RunningNode) -> None:
    stranger = await plain(node.url, "mixed")
    await stranger.send(json.dumps(OFFER))
    desk = await host(node.url, "mixed")
    assert await closing(stranger) == (1008, "Unauthorized")
    await desk.send(type="ping")
    assert (await desk.get("pong")) == {"type": "pong"}


async def test_plain_peer_that_vanishes_is_told_at_once(node: RunningNode) -> None:
    one, two = await plain(node.url), await plain(node.url)
    go_on = support.hold_leaves(node.service)
    one.transport.abort()
    assert await receive(two) == {"type": "peer-disconnected"}  # before Redis knows of it
    go_on.set()
