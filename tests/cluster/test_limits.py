"""The limits that a client can see (docs/protocol.md 3.3): each is answered, counted, and forgets in time."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import redis
import websockets
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection

from cluster import limits, metrics
from cluster.auth import new_id
from cluster.limits import KEPT, OFFICE, RESUMES, WINDOW_S, Allowance, Limits, Windows
from cluster.protocol.messages import PeerId, RoomId, Sync, encode
from cluster.proxies import ClientAddress, networks
from cluster.session import EARLY_FRAMES
from cluster.store.base import Admission, JoinRefused, JoinRequest, Store
from tests.cluster import support
from tests.cluster.support import Peer, RunningNode, closing, hello, host, plain, until
from tests.fuzz import fuzz_cases

HERE, THERE = ClientAddress("192.0.2.1"), ClientAddress("192.0.2.2")
ROOM = RoomId("r")
PING = '{"type":"ping"}'
CONTROL = '{"type":"control","action":"x"}'
OF_LOOPBACK = "tb:ip:127.0.0.1"


def _refusals(kind: str) -> float:
    return support.sample("tightbeam_rate_limited_total", kind=kind)


@contextlib.contextmanager
def counted(kind: str) -> Iterator[None]:
    """What happens within is a refusal of this kind, and of no other."""
    before = {name: _refusals(name) for name in metrics.RATE_LIMITS}
    yield
    grown = {name for name in metrics.RATE_LIMITS if _refusals(name) > before[name]}
    assert grown == {kind}


def arrive(shared: Limits, address: ClientAddress = HERE, room: RoomId = ROOM) -> Allowance:
    allowance = shared.arrive(address)
    assert allowance is not None
    allowance.enter(room, 0.0)
    return allowance


def accepted(allowance: Allowance, tries: int, now: float = 0.0) -> int:
    return [allowance.take(now) for _ in range(tries)].count(None)


# The core


def test_a_connection_is_refused_for_the_rest_of_its_window() -> None:
    one = arrive(Limits(2, 10, 10))
    assert [one.take(1.0) for _ in range(4)] == [None, None, "messages", "messages"]
    assert one.retry_after_ms(4.0) == 6001
    assert not one.patience_is_over
    one.take(9.9)
    assert one.patience_is_over
    assert one.take(10.0) is None
    assert not one.patience_is_over


def test_connections_of_an_address_share_its_limit_in_all_rooms() -> None:
    shared = Limits(10, 12, 100)
    one, two = arrive(shared), arrive(shared, room=RoomId("s"))
    assert accepted(one, 10) == 10
    assert accepted(two, 3) == 2
    assert two.take(0.0) == "ip-messages"
    assert accepted(arrive(shared, THERE), 10) == 10
    assert accepted(two, 10, now=10.0) == 10


def test_members_of_a_room_share_its_limit() -> None:
    shared = Limits(10, 12, 12)
    one, two = arrive(shared), arrive(shared, THERE)
    assert accepted(one, 10) == 10
    assert accepted(two, 9) == 2
    assert two.take(0.0) == "room-messages"
    assert accepted(arrive(shared, THERE, RoomId("t")), 10) == 10  # these did not count for THERE


def test_who_floods_takes_no_more_than_its_own_limit_from_the_others() -> None:
    shared = Limits(10, 20, 20)
    flood, other = arrive(shared), arrive(shared)
    assert accepted(flood, 1000) == 10
    assert accepted(other, 10) == 10


def test_each_connection_of_a_crowd_has_its_share_of_the_limit_of_their_address() -> None:
    shared = Limits(10, 6, 10_000, share=2)
    crowd = [arrive(shared) for _ in range(2)]
    assert sum(accepted(one, 10) for one in crowd) == 6
    crowd = [arrive(shared, THERE) for _ in range(5)]
    assert accepted(crowd[0], 10) == 10
    assert crowd[1].take(0.0) == "ip-messages"
    crowd += [arrive(shared, THERE) for _ in range(OFFICE)]
    assert sum(accepted(one, 10) for one in crowd) == 2 * OFFICE - 10
    for one in crowd:
        one.leave(1.0)
    assert arrive(shared, THERE).take(1.0) == "ip-messages"
    assert accepted(arrive(shared, THERE), 10, now=10.0) == 6


def test_who_has_left_before_it_has_joined_holds_nothing() -> None:
    shared = Limits(10, 10, 10)
    early = shared.arrive(HERE)
    assert early is not None
    early.leave(0.0)
    early.enter(ROOM, 0.0)
    assert (len(shared.addresses), len(shared.rooms)) == (0, 0)
    assert not shared.waiting


def test_coming_back_does_not_begin_to_count_anew() -> None:
    shared = Limits(10, 10, 10)
    one = arrive(shared)
    assert accepted(one, 10) == 10
    one.leave(1.0)
    again = arrive(shared)
    assert again.take(2.0) == "ip-messages"
    assert again.take(10.0) is None


def test_windows_are_forgotten_when_nobody_is_left_and_they_have_ended() -> None:
    shared = Limits(10, 10, 10)
    first, silent = arrive(shared), arrive(shared, THERE, RoomId("s"))
    first.take(1.0)
    for allowance in (first, silent):
        allowance.leave(2.0)
        allowance.leave(2.0)
    assert (len(shared.addresses), len(shared.rooms)) == (1, 1)
    for windows in (shared.addresses, shared.rooms):
        windows.sweep(9.9)
        assert len(windows) == 1
        windows.sweep(10.0)
        assert len(windows) == 0
    assert not shared.waiting


def test_no_more_windows_are_kept_than_fit() -> None:
    windows = Windows("ip-messages", 5, kept=3)
    for number in range(10):
        window = windows.hold(str(number), 0.0)
        window.count += 1
        windows.release(window, 0.0)
    assert len(windows) == 3
    assert KEPT >= 10_000


def test_sockets_that_have_not_joined_are_limited_by_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "WAITING", 2)
    shared = Limits(1, 1, 1)
    one, two = shared.arrive(HERE), shared.arrive(HERE)
    assert one is not None
    assert two is not None
    assert shared.arrive(HERE) is None
    assert shared.arrive(THERE) is not None
    one.enter(ROOM, 0.0)
    three = shared.arrive(HERE)
    assert three is not None
    assert shared.arrive(HERE) is None
    two.leave(0.0)
    assert shared.arrive(HERE) is not None


STEPS = st.lists(
    st.tuples(st.sampled_from(["come", "go", "say", "say", "say"]), st.integers(0, 5)), max_size=80
)


@fuzz_cases(500)
@given(STEPS, st.lists(st.floats(0, 4), min_size=80, max_size=80))
def test_no_window_takes_more_than_its_limit_and_nothing_stays(
    steps: list[tuple[str, int]], pauses: list[float]
) -> None:
    shared, now = Limits(4, 6, 8), 0.0
    present: list[tuple[Allowance, str, str]] = []
    taken: Counter[tuple[float, str]] = Counter()
    for (step, number), pause in zip(steps, pauses, strict=False):
        now += pause
        if step == "come":
            address, room = f"192.0.2.{number % 2}", f"r{number % 3}"
            allowance = shared.arrive(ClientAddress(address))
            assert allowance is not None
            allowance.enter(RoomId(room), now)
            present.append((allowance, address, room))
        elif present and step == "go":
            present.pop(number % len(present))[0].leave(now)
        elif present:
            allowance, address, room = present[number % len(present)]
            if allowance.take(now) is None:
                window = now // WINDOW_S
                taken.update([(window, address), (window, room)])
    for (_, key), count in taken.items():
        assert count <= (8 if key.startswith("r") else 6)
    for allowance, _, _ in present:
        allowance.leave(now)
    for windows in (shared.addresses, shared.rooms):
        windows.sweep(now + WINDOW_S)
        assert len(windows) == 0
    assert not shared.waiting


# Real sockets


async def flood(
    socket: ClientConnection, message: str
) -> tuple[list[dict[str, Any]], tuple[int | None, str | None]]:
    """Say the same until the node closes; what came back, and the close."""

    async def say() -> None:
        with contextlib.suppress(websockets.ConnectionClosed):
            while True:
                await socket.send(message)
                await asyncio.sleep(0)

    answers = []
    async with asyncio.timeout(3 * support.LIMIT_S):
        saying = asyncio.create_task(say())
        with contextlib.suppress(websockets.ConnectionClosed):
            while True:
                answers.append(json.loads(await socket.recv()))
        await saying
    return answers, (socket.close_code, socket.close_reason)


def from_address(*addresses: str) -> dict[str, Any]:
    """Options of a connection that a proxy passes on."""
    return {"additional_headers": {"X-Forwarded-For": ", ".join(addresses)}}


BEHIND_PROXY: dict[str, Any] = {"pairing": False, "trusted_proxies": networks("127.0.0.1")}


def counted_addresses(redis_url: str) -> set[str]:
    keys = redis.Redis.from_url(redis_url, decode_responses=True).keys("tb:ip:*")
    return {str(key).removeprefix("tb:ip:") for key in keys}


async def assert_refused_in_words(page: Peer) -> None:
    me = PeerId(page.id)
    answers, close = await flood(page.socket, encode(Sync(me, me, new_id(), 0, (), 0)))
    assert close == (1013, "Rate limited")
    errors = [answer for answer in answers if answer["type"] == "error"]
    assert {error["code"] for error in errors} == {"rate-limited"}
    assert all(0 < error["retryAfterMs"] <= 10_001 for error in errors)


async def test_messages_of_a_connection_are_answered_then_closed(redis_url: str) -> None:
    settings = support.base_settings(redis_url, pairing=False, messages_per_10s=10)
    async with support.node(settings) as node:
        page = await hello(node.url)
        assert page.welcome["limits"] == {"messageBytes": 262_144, "messagesPer10s": 10}
        with counted("messages"):
            await assert_refused_in_words(page)
        one = await plain(node.url)
        with counted("messages"):
            assert (await flood(one, CONTROL))[1] == (1013, "Rate limited")


async def test_messages_of_an_address_are_limited_across_rooms_and_dialects(redis_url: str) -> None:
    settings = support.base_settings(redis_url, ip_messages_per_10s=20, **BEHIND_PROXY)
    async with support.node(settings) as node:
        page = await hello(node.url, "one", options=from_address("192.0.2.1"))
        other = await hello(node.url, "two", options=from_address("192.0.2.2"))
        with counted("ip-messages"):
            await assert_refused_in_words(page)
            one = await plain(node.url, "three", **from_address("192.0.2.1"))
            assert (await flood(one, CONTROL))[1] == (1013, "Rate limited")
        await other.send(type="ping")
        assert await other.get() == {"type": "pong"}


async def test_heartbeats_of_many_pages_do_not_use_up_the_limit_of_their_address(
    redis_url: str,
) -> None:
    settings = support.base_settings(
        redis_url, pairing=False, ip_messages_per_10s=1, room_messages_per_10s=1
    )
    async with support.node(settings) as node:
        pages = [await hello(node.url) for _ in range(2)]
        for page in pages * 5:
            await page.socket.send(PING)
            assert await page.get("pong") == {"type": "pong"}


async def test_messages_in_a_room_are_limited_whoever_says_them(redis_url: str) -> None:
    settings = support.base_settings(redis_url, room_messages_per_10s=20, **BEHIND_PROXY)
    async with support.node(settings) as node:
        page = await hello(node.url, "one", options=from_address("192.0.2.1"))
        member = await hello(node.url, "one", options=from_address("192.0.2.2"))
        other = await hello(node.url, "two", options=from_address("192.0.2.1"))
        with counted("room-messages"):
            await assert_refused_in_words(page)
            await assert_refused_in_words(member)
        one = await plain(node.url, "three")
        with counted("room-messages"):
            assert (await flood(one, CONTROL))[1] == (1013, "Rate limited")
        await other.send(type="ping")
        assert await other.get() == {"type": "pong"}


async def test_made_up_addresses_of_an_untrusted_client_are_ignored(redis_url: str) -> None:
    settings = support.base_settings(redis_url, pairing=False, connections_per_10s=3)
    async with support.node(settings) as node, asyncio.timeout(support.LIMIT_S):
        with counted("connections"):
            for number in range(100):
                page = await hello(node.url, options=from_address(f"192.0.2.{number}"))
                if page.welcome["type"] == "error":
                    break
    assert page.welcome["code"] == "rate-limited"
    assert counted_addresses(redis_url) == {"127.0.0.1"}


async def test_addresses_behind_a_trusted_proxy_are_counted_apart(redis_url: str) -> None:
    settings = support.base_settings(redis_url, connections_per_10s=3, **BEHIND_PROXY)
    async with support.node(settings) as node:
        for entry in ("192.0.2.1", "::ffff:192.0.2.2", "2001:db8:0:1::1", "2001:db8:0:1:2::2"):
            page = await hello(node.url, options=from_address("6.6.6.6", entry))
            assert page.welcome["type"] == "welcome"
    assert counted_addresses(redis_url) == {"192.0.2.1", "192.0.2.2", "2001:db8:0:1::/64"}


async def test_connections_of_an_address_are_counted_on_all_nodes_together(redis_url: str) -> None:
    settings = support.base_settings(redis_url, pairing=False, connections_per_10s=4)
    async with support.node(settings) as one, support.node(settings) as two:
        with counted("connections"):
            welcomes = [await hello(node.url, "r") for node in (one, two, one, two, one, two)]
            assert [page.welcome["type"] for page in welcomes] == ["welcome"] * 4 + ["error"] * 2
            for refused in welcomes[4:]:
                assert refused.welcome["code"] == "rate-limited"
                assert 0 < refused.welcome["retryAfterMs"] <= 10_000
                assert await refused.closed() == (1013, "Rate limited")
            assert await closing(await plain(two.url)) == (1013, "Rate limited")
        store = redis.Redis.from_url(redis_url)
        assert 0 < store.pttl(OF_LOOPBACK) <= 10_000
        store.delete(OF_LOOPBACK)
        assert (await hello(one.url)).welcome["type"] == "welcome"


async def test_refused_joins_count_too(redis_url: str) -> None:
    settings = support.base_settings(redis_url, pairing=False, connections_per_10s=3)
    async with support.node(settings) as node:
        await host(node.url)
        for code in ("host-present", "host-present", "rate-limited"):
            assert (await host(node.url)).welcome["code"] == code


async def test_count_from_a_clock_that_was_ahead_ends_all_the_same(redis_url: str) -> None:
    redis.Redis.from_url(redis_url).set(OF_LOOPBACK, 1000, px=3_600_000)
    settings = support.base_settings(redis_url, pairing=False, connections_per_10s=3)
    async with support.node(settings) as node:
        assert (await hello(node.url)).welcome["type"] == "welcome"
    assert int(redis.Redis.from_url(redis_url).pttl(OF_LOOPBACK)) <= 10_000


async def test_an_office_comes_back_while_strangers_of_its_address_are_refused(
    redis_url: str,
) -> None:
    """A node was lost: 500 members resume on another one, from one address, with 30 fresh joins among them."""
    store = redis.Redis.from_url(redis_url)

    async def keep_window_open() -> None:  # however slow this machine is
        while True:
            store.set(OF_LOOPBACK, 1000, px=10_000)
            await asyncio.sleep(1)

    at_once = asyncio.Semaphore(50)

    async def come(node: RunningNode, room: str, **keys: Any) -> Peer:
        async with at_once:
            return await hello(node.url, room, **keys)

    generous = support.base_settings(redis_url, pairing=False)
    strict = support.base_settings(
        redis_url, pairing=False, connections_per_10s=20, ip_messages_per_10s=400
    )
    async with support.node(generous) as lost, support.node(strict) as node:
        office = await asyncio.gather(*(come(lost, f"r{number % 100}") for number in range(500)))
        assert {page.welcome["type"] for page in office} == {"welcome"}
        window = asyncio.create_task(keep_window_open())
        back = [come(node, page.welcome["room"], resume=page.welcome["resume"]) for page in office]
        strangers = [come(node, "r0") for _ in range(30)]
        came = await asyncio.gather(*back, *strangers)
        window.cancel()
        for before, page in zip(office, came[:500], strict=True):
            assert page.welcome["resumed"]
            assert page.id == before.id
        assert {page.welcome.get("code") for page in came[500:]} == {"rate-limited"}
        # They negotiate anew: more than the 400 messages of an address with some sockets.
        for page in came[:500]:
            for _ in range(4):
                await page.sync(page.id)
            await page.send(type="ping")
        for page in came[:500]:
            while (heard := await page.get())["type"] != "pong":
                assert heard["type"] != "error", heard
        await asyncio.gather(*(page.socket.close() for page in came + office))


async def test_peer_that_resumes_in_a_loop_is_told_to_wait(redis_url: str) -> None:
    settings = support.base_settings(redis_url, pairing=False)
    async with support.node(settings) as one, support.node(settings) as two:
        page, other = await hello(one.url), await hello(one.url)
        key = f"tb:resumes:{page.id}"
        store = redis.Redis.from_url(redis_url)
        with counted("resumes"):
            for number in range(RESUMES):
                page = await hello((two, one)[number % 2].url, resume=page.welcome["resume"])
                assert page.welcome["resumed"]
                store.expire(key, 10, xx=True)  # however slow this machine is
            refused = await hello(two.url, resume=page.welcome["resume"])
            assert refused.welcome["code"] == "rate-limited"
            assert 0 < refused.welcome["retryAfterMs"] <= 10_000
            assert await refused.closed() == (1013, "Rate limited")
        assert (await hello(two.url, resume=other.welcome["resume"])).welcome["resumed"]
        await page.send(type="ping")  # the socket that it has is left alone
        assert (await page.get("pong"))["type"] == "pong"
        store.delete(key)
        assert (await hello(two.url, resume=page.welcome["resume"])).welcome["resumed"]


async def test_sockets_that_say_nothing_are_limited_by_address(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "WAITING", 5)
    settings = support.base_settings(redis_url, **BEHIND_PROXY)
    async with support.node(settings) as node:
        door = node.service.door
        silent = [
            await support.open_socket(node.url, **from_address("192.0.2.1")) for _ in range(5)
        ]
        with counted("waiting"):
            more = await support.open_socket(node.url, **from_address("192.0.2.1"))
            assert await closing(more) == (1013, "Rate limited")
            more = await plain(node.url, **from_address("192.0.2.1"))
            assert await closing(more) == (1013, "Rate limited")
        page = await hello(node.url, options=from_address("192.0.2.2"))
        assert page.welcome["type"] == "welcome"
        for socket in silent:
            socket.transport.abort()
        await until(lambda: not door.limits.waiting)
        page = await hello(node.url, options=from_address("192.0.2.1"))
        assert page.welcome["type"] == "welcome"


async def test_what_is_said_before_the_welcome_is_kept_within_bounds(
    open_node: RunningNode,
) -> None:
    in_redis, go_on = support.hold_joins(open_node.service)
    socket = await support.open_socket(open_node.url)
    page = Peer(socket, {})
    await page.send(type="hello", room="r", role="player")
    await support.within_limit(in_redis.wait())
    for _ in range(EARLY_FRAMES + 1):
        await page.send(type="ping")
    error = await page.get()
    assert (error["type"], error["code"]) == ("error", "bad-message")
    go_on.set()
    assert (await page.get())["type"] == "welcome"
    for _ in range(EARLY_FRAMES):
        assert await page.get() == {"type": "pong"}


async def test_nothing_is_kept_of_those_who_have_gone(redis_url: str) -> None:
    async with support.node(support.base_settings(redis_url, **BEHIND_PROXY)) as node:
        shared = node.service.door.limits
        sockets: list[ClientConnection] = []
        for number in range(5):
            address = from_address(f"192.0.2.{number}")
            desk = await host(node.url, f"r{number}", options=address)
            page = await hello(node.url, f"r{number}", options=address)
            resumed = await hello(
                node.url, f"r{number}", resume=page.welcome["resume"], options=address
            )
            one = await plain(node.url, f"p{number}", **address)
            await closing(await plain(node.url, "a@b", **address))
            await one.send(CONTROL)
            await resumed.send(type="ping")
            await resumed.get("pong")
            sockets += (desk.socket, resumed.socket, one)
        assert len(shared.addresses) == 5  # while they are held: a window may end meanwhile
        for socket in sockets:
            socket.transport.abort()
        await until(lambda: not node.service.door.sessions and not shared.waiting)
        for windows in (shared.addresses, shared.rooms):
            windows.sweep(asyncio.get_running_loop().time() + WINDOW_S)
            assert len(windows) == 0


async def _join(store: Store, address: str, resume: Admission | None = None) -> Admission:
    request = JoinRequest(
        room=RoomId(f"r-{address}"),
        peer=PeerId(new_id()),
        role="player",
        dialect="tightbeam",
        capacity=9,
        resume=resume.member.peer if resume else None,
        generation=resume.member.generation if resume else 0,
        address=ClientAddress(address),
        address_limit=3,
    )
    return await store.join(request)


async def test_only_a_resume_with_a_current_token_is_exempt(node: RunningNode) -> None:
    store = node.service.store
    first = await _join(store, "192.0.2.1")
    await _join(store, "192.0.2.1")
    await _join(store, "192.0.2.1")
    admission = first
    for _ in range(5):
        admission = await _join(store, "192.0.2.1", admission)
        assert admission.resumed
    for resume in (None, first):
        with pytest.raises(JoinRefused) as refused:
            await _join(store, "192.0.2.1", resume)
        assert refused.value.code == "rate-limited"
    await _join(store, "192.0.2.2")


def test_who_joins_after_its_socket_has_gone_holds_nothing() -> None:
    shared = Limits(200, 400, 800)
    allowance = shared.arrive(ClientAddress("192.0.2.1"))
    assert allowance is not None
    allowance.leave(0.0)
    allowance.enter(RoomId("r"), 0.0)
    assert (len(shared.addresses), len(shared.rooms), shared.waiting) == (0, 0, {})
