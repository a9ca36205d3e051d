"""Who comes in at the door, in which mode, and what a refusal says and costs: nothing."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis
from websockets.asyncio.client import connect

from cluster import app, websocket
from cluster.proxies import networks
from cluster.settings import load
from cluster.up import tls
from tests.cluster import operator, support
from tests.cluster.support import RunningNode, closing, hello, host, plain, receive, sample, until
from tests.ports import free_port

OFFER = {"type": "offer", "sdp": "v=0"}
UNAUTHORIZED, FORBIDDEN = (1008, "Unauthorized"), (1008, "Forbidden")
AUTH: dict[str, Any] = {"enable_auth": True, "jwt_secret": operator.SECRET}


def query(token: str) -> str:
    return f"&token={token}"


async def meet(url: str, room: str = "p", **options: Any) -> None:
    """Two peers come in and hear each other: the room had two free places."""
    one, two = await plain(url, room, **options), await plain(url, room, **options)
    await one.send(json.dumps(OFFER))
    assert await receive(two) == OFFER
    await two.send(json.dumps({"type": "answer", "sdp": "a"}))
    assert await receive(one) == {"type": "answer", "sdp": "a"}


def without_joins(node: RunningNode) -> list[str]:
    """The rooms that the node asks Redis to join from now on."""
    asked, join = [], node.service.store.join

    async def counted(request: Any) -> Any:
        asked.append(request.room)
        return await join(request)

    node.service.store.join = counted  # type: ignore[method-assign]
    return asked


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        (None, UNAUTHORIZED),
        ("", UNAUTHORIZED),
        ("a.b.c", UNAUTHORIZED),
        (operator.token(key="x" * 32), UNAUTHORIZED),
        (operator.token(exp=int(time.time()) - 60), UNAUTHORIZED),
        (operator.token(exp=None), UNAUTHORIZED),
        (operator.token("ES256"), UNAUTHORIZED),
        (operator.token(role="root"), UNAUTHORIZED),
        (operator.token(rooms=None), FORBIDDEN),
        (operator.token(rooms=["q", "pp", "*"]), FORBIDDEN),
        (operator.token(rooms="P"), FORBIDDEN),
        (operator.token(role="viewer"), FORBIDDEN),
        (support.token("session", "q", "player"), FORBIDDEN),
        (support.token("resume", "p", "player", peer="A" * 22), UNAUTHORIZED),
        (support.token("host", "p"), UNAUTHORIZED),
    ],
)
@pytest.mark.parametrize("mode", [AUTH, AUTH | {"mode": "secure", "enable_auth": False}])
async def test_token_that_does_not_grant_the_room_is_refused_before_redis_is_asked(
    redis_url: str, mode: dict[str, Any], token: str | None, expected: tuple[int, str]
) -> None:
    async with support.node(support.base_settings(redis_url, **mode)) as node:
        asked = without_joins(node)
        for _ in range(3):
            guest = await plain(node.url, query="" if token is None else query(token))
            assert await closing(guest) == expected
        assert asked == []
        assert redis.Redis.from_url(redis_url).keys("tb:room:*") == []
        await meet(node.url, query=query(operator.token(rooms=["x", "p"])))
        assert asked == ["p", "p"]


async def test_operators_tokens_and_ours_meet_in_a_secure_room(redis_url: str) -> None:
    async with support.node(support.base_settings(redis_url, mode="secure", **AUTH)) as node:
        one = await plain(node.url, query=query(operator.token(rooms="p")))
        link = support.pairing(redis_url, "p")
        two = await plain(node.url, query=query(link))
        await one.send(json.dumps(OFFER))
        assert await receive(two) == OFFER
        assert await closing(await plain(node.url, query=query(link))) == UNAUTHORIZED
        other = support.pairing(redis_url, "q")
        assert await closing(await plain(node.url, query=query(other))) == FORBIDDEN
        await two.close()
        assert await receive(one) == {"type": "peer-disconnected"}
        await until(lambda: len(node.service.node.sessions) == 1)
        session = support.token("session", "p", "player")
        three = await plain(node.url, query=query(session))
        await three.send(json.dumps(OFFER))
        assert await receive(one) == OFFER


async def test_secure_without_an_issuer_takes_our_tokens_only(redis_url: str) -> None:
    async with support.node(support.base_settings(redis_url, mode="secure")) as node:
        assert await closing(await plain(node.url)) == UNAUTHORIZED
        assert await closing(await plain(node.url, query=query(operator.token()))) == UNAUTHORIZED
        links = [support.pairing(redis_url, "p") for _ in range(2)]
        one, two = [await plain(node.url, query=query(link)) for link in links]
        await one.send(json.dumps(OFFER))
        assert await receive(two) == OFFER


async def test_operators_token_is_a_credential_in_a_hosts_room_without_auth(redis_url: str) -> None:
    settings = support.base_settings(redis_url, jwt_secret=operator.SECRET)
    async with support.node(settings) as node:
        await meet(node.url, "open")
        desk = await host(node.url, "mixed")
        assert await closing(await plain(node.url, "mixed")) == UNAUTHORIZED
        other = operator.token(rooms=["open"])
        assert await closing(await plain(node.url, "mixed", query=query(other))) == FORBIDDEN
        guest = await plain(node.url, "mixed", query=query(operator.token(rooms=["mixed"])))
        await guest.send(json.dumps(OFFER))
        assert (await desk.get("offer"))["sdp"] == "v=0"


@pytest.mark.parametrize("algorithm", ["HS256", "ES256", "EdDSA", "RS256"])
async def test_operators_tokens_serve_in_the_tightbeam_dialect(
    redis_url: str, algorithm: str
) -> None:
    settings = support.base_settings(
        redis_url, jwt_secret=operator.setting(algorithm), jwt_alg=algorithm
    )
    async with support.node(settings) as node:
        ends = int(time.time()) + 600
        master = operator.token(algorithm, rooms=["r"], role="host", exp=ends)
        desk = await hello(node.url, role="host", token=master)
        assert desk.welcome["role"] == "host"
        for role, claims in {"player": {}, "viewer": {"role": "viewer"}}.items():
            guest = await hello(
                node.url, role=role, token=operator.token(algorithm, rooms="r", **claims)
            )
            assert (guest.welcome["type"], guest.welcome["role"]) == ("welcome", role)
            again = await hello(node.url, role=role, resume=guest.welcome["resume"])
            assert again.welcome["resumed"]
            session = await hello(node.url, role=role, session=guest.welcome["session"])
            assert session.welcome["type"] == "welcome"
        viewer = await hello(node.url, role="viewer", token=operator.token(algorithm, rooms="r"))
        assert viewer.welcome["role"] == "viewer"  # less than granted


REFUSED_HELLOS: dict[str, tuple[dict[str, Any], str]] = {
    "player's token for a host": (
        {"role": "host", "token": operator.token(rooms=["r"])},
        "forbidden",
    ),
    "host's token for a player": (
        {"token": operator.token(rooms=["r"], role="host")},
        "forbidden",
    ),
    "viewer's token for a player": (
        {"token": operator.token(rooms=["r"], role="viewer")},
        "forbidden",
    ),
    "another room's": ({"token": operator.token(rooms=["q"])}, "forbidden"),
    "no room's": ({"token": operator.token(rooms=None, room="r")}, "forbidden"),
    "as a session": ({"session": operator.token(rooms=["r"])}, "unauthorized"),
    "as a resume": ({"resume": operator.token(rooms=["r"])}, "unauthorized"),
    "of another key": ({"token": operator.token(rooms=["r"], key="y" * 32)}, "unauthorized"),
    "that says it is ours": (
        {"token": operator.token(rooms=["r"], iss="tightbeam", aud="tightbeam:host", role="host")},
        "unauthorized",
    ),
    "that says so, for a host": (
        {
            "role": "host",
            "token": operator.token(
                room="r", iss="tightbeam", aud="tightbeam:host", role="host", iat=0
            ),
        },
        "unauthorized",
    ),
}


@pytest.mark.parametrize("name", REFUSED_HELLOS)
async def test_operators_token_grants_no_more_than_it_says(redis_url: str, name: str) -> None:
    keys, code = REFUSED_HELLOS[name]
    settings = support.base_settings(redis_url, jwt_secret=operator.SECRET)
    async with support.node(settings) as node:
        asked = without_joins(node)
        peer = await hello(node.url, **keys)
        assert peer.welcome["code"] == code
        assert (await peer.closed())[0] == 1008
        assert asked == []


async def test_session_ends_with_the_operators_token(redis_url: str) -> None:
    settings = support.base_settings(redis_url, jwt_secret=operator.SECRET)
    async with support.node(settings) as node:
        ends = int(time.time()) + 3
        guest = await hello(node.url, token=operator.token(rooms=["r"], exp=ends))
        await until(lambda: time.time() > ends + 1)
        for kind in ("session", "resume"):
            late = await hello(node.url, **{kind: guest.welcome[kind]})
            assert late.welcome["code"] == "unauthorized"


async def test_pure_mode_is_one_room_for_two_sockets(redis_url: str) -> None:
    settings = support.base_settings(redis_url, mode="pure", room_capacity=5)
    async with support.node(settings) as node, support.node(settings) as other:
        one = await plain(node.url, "a")
        two = await connect(f"{node.url}/ws", compression=None)
        await one.send(json.dumps(OFFER))
        assert await receive(two) == OFFER
        assert await closing(await plain(node.url, "b", query="&token=x")) == (1000, "Room is full")
        await meet(other.url)  # another node is another room
        await two.close()
        assert await receive(one) == {"type": "peer-disconnected"}
        await until(lambda: len(node.service.node.sessions) == 1)
        three = await connect(f"{node.url}/?roomId=%20", compression=None)
        await three.send(json.dumps(OFFER))
        assert await receive(one) == OFFER


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"origin": "https://evil.example"}, (1008, "Origin not allowed")),
        ({"subprotocols": ["b"]}, (1008, "Subprotocol required")),
        ({"room": "a%20b", "subprotocols": ["app"]}, (1008, "Invalid roomId")),
        ({"query": "&token=a.b.c", "subprotocols": ["app"]}, UNAUTHORIZED),
    ],
)
async def test_refusal_costs_no_place_and_no_question(
    redis_url: str, options: dict[str, Any], expected: tuple[int, str]
) -> None:
    async with support.node(support.base_settings(redis_url, subprotocol="app")) as node:
        asked = without_joins(node)
        for _ in range(3):
            assert await closing(await plain(node.url, **options)) == expected
        assert asked == []
        await meet(node.url, subprotocols=["app"])


async def test_required_subprotocol_is_chosen_and_asked_of_plain_clients_only(
    redis_url: str,
) -> None:
    async with support.node(support.base_settings(redis_url, subprotocol="app")) as node:
        one = await plain(node.url, subprotocols=["tightbeam.v1", "b", "app"])
        assert one.subprotocol == "app"
        refused = await plain(node.url, "q", subprotocols=["b"])
        assert refused.subprotocol == "b"
        assert await closing(refused) == (1008, "Subprotocol required")
        assert await closing(await plain(node.url, "q")) == (1008, "Subprotocol required")
        assert (await host(node.url)).welcome["type"] == "welcome"


async def test_require_wss_refuses_what_did_not_come_by_tls(redis_url: str, tmp_path: Path) -> None:
    made = tls.ensure(tmp_path, ["127.0.0.1", "localhost"])
    wss_only = support.base_settings(redis_url, require_wss=True)
    async with support.node(wss_only) as node:
        forged = {"X-Forwarded-Proto": "https"}  # by nobody who is trusted
        refused = await plain(node.url, additional_headers=forged)
        assert await closing(refused) == (1008, "WSS required")
        socket = await support.open_socket(node.url)
        assert await closing(socket) == (1008, "WSS required")
    behind_proxy = replace(wss_only, trusted_proxies=networks("127.0.0.1"))
    async with support.node(behind_proxy) as node:
        await meet(node.url, additional_headers=forged)
        http = {"X-Forwarded-Proto": "http"}
        refused = await plain(node.url, "q", additional_headers=http)
        assert await closing(refused) == (1008, "WSS required")
    with_tls = support.base_settings(
        redis_url, require_wss=True, tls_cert=str(made.certificate), tls_key=str(made.key)
    )
    context = ssl.create_default_context(cafile=str(made.authority))
    async with support.node(with_tls) as node:
        await meet(node.url.replace("ws:", "wss:"), ssl=context)


async def test_chosen_code_closes_plain_sockets_at_the_end(redis_url: str) -> None:
    settings = support.base_settings(redis_url, shutdown_close_code=4001, drain_s=0.1)
    async with support.node(settings) as node:
        one = await plain(node.url)
        page = await host(node.url)
        go_on = support.hold_leaves(node.service)
        node.server.stop()
        assert await closing(one) == (4001, "Server draining")
        assert (await page.get("reconnect"))["type"] == "reconnect"
        assert await page.closed() == (1012, "Server draining")
        go_on.set()


async def test_late_comer_of_a_drain_is_told_to_go_elsewhere(redis_url: str) -> None:
    settings = support.base_settings(redis_url, shutdown_close_code=4001, drain_s=30)
    async with support.node(settings) as node:
        await host(node.url)  # keeps the drain waiting
        node.server.stop()
        await until(lambda: node.service.door.drain.active)
        assert await closing(await plain(node.url)) == (4001, "Server draining")
        late = await support.open_socket(node.url)
        assert await closing(late) == (1012, "Server draining")


async def test_our_own_fault_says_internal_error_and_costs_no_place(
    node: RunningNode, caplog: pytest.LogCaptureFixture
) -> None:
    join = node.service.store.join

    async def broken(_request: Any) -> Any:
        raise ZeroDivisionError

    node.service.store.join = broken  # type: ignore[method-assign, assignment]
    assert await closing(await plain(node.url)) == (1011, "Internal error")
    page = await support.open_socket(node.url)
    await page.send(
        json.dumps({"type": "hello", "room": "r", "role": "host", "token": support.token()})
    )
    assert await closing(page) == (1011, "Internal error")
    assert "ZeroDivisionError" in caplog.text
    node.service.store.join = join  # type: ignore[method-assign]
    await meet(node.url)


async def test_fault_in_a_message_closes_its_socket_only(
    node: RunningNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = await plain(node.url), await plain(node.url)
    with monkeypatch.context() as patch:
        patch.setattr("cluster.plain.check_item", lambda _obj: 1 / 0)
        await one.send(json.dumps(OFFER))
        assert await closing(one) == (1011, "Internal error")
    assert await receive(two) == {"type": "peer-disconnected"}
    await until(lambda: len(node.service.node.sessions) == 1)
    three = await plain(node.url)
    await two.send(json.dumps(OFFER))
    assert await receive(three) == OFFER


async def test_client_that_does_not_read_is_told_when_it_does_again(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "CLOSE_LIMIT_S", 60.0)  # however slow this machine is
    settings = support.base_settings(
        redis_url, messages_per_10s=10**6, room_messages_per_10s=10**6, send_buffer_bytes=1 << 16
    )
    async with support.node(settings) as node:
        slow, fast = await plain(node.url, max_queue=1), await plain(node.url)
        slow.transport.pause_reading()
        big, sent = json.dumps({"type": "offer", "sdp": "x" * 60_000}), 0
        while len(node.service.node.sessions) == 2 and sent < 2000:
            await fast.send(big)
            await asyncio.sleep(0)
            sent += 1
        assert await receive(fast) == {"type": "peer-disconnected"}  # it is told at once
        slow.transport.resume_reading()
        assert await closing(slow) == (1013, "Server overloaded")


async def test_idle_peer_keeps_neither_a_task_nor_its_request(open_node: RunningNode) -> None:
    state = open_node.server.server_state
    one, desk = await plain(open_node.url), await host(open_node.url)
    await until(lambda: not state.tasks)
    assert len(open_node.service.node.sessions) == 2
    for connection in state.connections:
        assert isinstance(connection, websocket.Connection)
        assert not any(isinstance(value, dict) for value in vars(connection).values())
        assert not hasattr(connection, "_upgrade")
    one.transport.abort()
    await desk.socket.close()
    await until(lambda: not open_node.service.door.sessions)


def _get(port: int, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        return error.code


async def test_health_port_answers_health_and_nothing_else(redis_url: str) -> None:
    settings = support.base_settings(redis_url, health_port=free_port(), drain_s=30)
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    serving = asyncio.create_task(app.serve(settings, listener, alone=True))
    health = settings.health_port
    assert health is not None

    async def status(at: int, path: str) -> int:
        return await asyncio.to_thread(_get, at, path)

    async with asyncio.timeout(30):
        page = None
        while page is None:
            try:
                page = await host(f"ws://127.0.0.1:{port}")
            except OSError:
                await asyncio.sleep(0.02)
        for at in (port, health):
            for path in ("/healthz", "/readyz", "/readyz?local=1"):
                assert await status(at, path) == 200
        assert await status(health, "/metrics") == 200
        assert await status(port, "/metrics") == 404  # where clients are, it is nobody's
        assert await status(port, "/") == 200
        assert await status(health, "/") == 404
        with pytest.raises(Exception, match="HTTP"):
            await plain(f"ws://127.0.0.1:{health}")
        await page.leave()
        await until(lambda: not sample("tightbeam_websockets"))  # as other tests want to find it
        serving.cancel()
        await asyncio.wait([serving])
        with pytest.raises(OSError, match="refused"):
            await status(health, "/healthz")


async def test_taken_health_port_is_said_in_words(redis_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = support.base_settings(redis_url, health_port=port)
        with (
            socket.create_server(("127.0.0.1", 0)) as listener,
            pytest.raises(OSError, match=f"{port}.*another program.*HEALTH_PORT"),
        ):
            await app.serve(settings, listener, alone=True)


@pytest.mark.parametrize(
    ("address", "environ", "warned"),
    [
        ("0.0.0.0", {}, True),
        ("0.0.0.0", {"TIGHTBEAM_MODE": "pure"}, True),
        ("0.0.0.0", {"TIGHTBEAM_MODE": "secure"}, False),
        ("0.0.0.0", {"ENABLE_AUTH": "true", "JWT_SECRET": operator.SECRET}, False),
        ("127.0.0.1", {}, False),
    ],
)
def test_open_rooms_beyond_loopback_are_warned_of(
    address: str, environ: dict[str, str], warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.WARNING),
        socket.create_server((address, 0)) as listener,
    ):
        app.warn_of_open_rooms(load(None, environ), listener)
    assert ("plain rooms are open" in caplog.text) == warned
    assert load(None, {}).host == "127.0.0.1"
