"""Which browsers may talk to a node: a foreign page, a rebound name, the page's own files."""

from __future__ import annotations

import asyncio
import http.client
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.access import AccessRule, parse_authority, same_origin
from cluster.page import POLICY
from cluster.server import health_port
from tests.cluster import support
from tests.cluster.support import RunningNode, closing, plain, until
from tests.fuzz import fuzz_cases
from tests.ports import free_port

LOOPBACK = AccessRule.make("127.0.0.1", ["desk.example"], ["https://game.example"], loopback=True)
NETWORK = AccessRule.make("0.0.0.0", [], [], loopback=False)


@pytest.mark.parametrize(
    ("rule", "origin", "host", "verdict"),
    [
        (LOOPBACK, None, None, "ok"),
        (LOOPBACK, None, "evil.example", "ok"),
        (LOOPBACK, "http://127.0.0.1:8080", "127.0.0.1:8080", "ok"),
        (LOOPBACK, "http://localhost:8080", "localhost:8080", "ok"),
        (LOOPBACK, "http://[::1]:8080", "[::1]:8080", "ok"),
        (LOOPBACK, "https://desk.example", "desk.example", "ok"),
        (LOOPBACK, "https://desk.example", "desk.example:443", "ok"),
        (LOOPBACK, "https://game.example", "anything", "ok"),
        (LOOPBACK, "http://evil.example", "127.0.0.1:8080", "origin"),
        (LOOPBACK, "http://127.0.0.1:9999", "127.0.0.1:8080", "origin"),
        (LOOPBACK, "http://evil.example:8080", "evil.example:8080", "host"),
        (LOOPBACK, "http://192.168.1.5:8080", "192.168.1.5:8080", "host"),
        (LOOPBACK, "null", "127.0.0.1:8080", "origin"),
        (LOOPBACK, "file://", "127.0.0.1:8080", "origin"),
        (LOOPBACK, "http://127.0.0.1:8080", None, "host"),
        (LOOPBACK, "http://127.0.0.1.evil.example", "127.0.0.1.evil.example", "host"),
        (NETWORK, "https://192.168.1.5:8080", "192.168.1.5:8080", "ok"),
        (NETWORK, "https://evil.example:8080", "evil.example:8080", "host"),
    ],
)
def test_browsers_are_judged(rule: AccessRule, origin: Any, host: Any, verdict: str) -> None:
    assert rule.judge(origin, host) == verdict


def test_authorities_are_read_strictly() -> None:
    for text in (
        "",
        ".",
        ":80",
        "[::1",
        "[x]:1",
        "a:b",
        "a:123456",
        "a/b",
        "u@h",
        "a b",
        "a\r:1",
        "[::1]x",
    ):
        assert parse_authority(text) is None, text
    assert not same_origin("ftp://a", "a")
    assert same_origin("http://A:80", "a")


HEADERS = st.text("a1.:[]/@?#\\ -é\x00", max_size=20) | st.text(max_size=20)


@fuzz_cases(2000)
@given(origin=HEADERS | HEADERS.map("http://{}".format), host=HEADERS)
def test_whatever_a_browser_says_is_read_or_refused(origin: str, host: str) -> None:
    authority = parse_authority(host)
    if authority is not None:
        assert authority.name
        assert not set(authority.name) & set("/@?#\\ ")
        assert authority.port is None or 0 <= authority.port < 100_000
        bracketed = f"[{authority.name}]" if ":" in authority.name else authority.name
        port = "" if authority.port is None else f":{authority.port}"
        assert parse_authority(bracketed + port) == authority
    if LOOPBACK.judge(origin, host) == "ok":
        assert origin == "https://game.example" or same_origin(origin, host)


@pytest.mark.parametrize(
    ("origin", "host", "reason"),
    [
        ("http://evil.example", None, "Origin not allowed"),
        ("http://evil.example:1", "evil.example:1", "Host not allowed"),
    ],
)
async def test_foreign_page_is_refused_before_anything_is_joined(
    open_node: RunningNode, origin: str, host: str | None, reason: str
) -> None:
    url = f"ws://{host}" if host else open_node.url
    target: dict[str, Any] = {"host": "127.0.0.1", "port": open_node.port}
    for _ in range(3):
        socket = await plain(url, origin=origin, **target)
        assert await closing(socket) == (1008, reason)
        socket = await support.open_socket(url, origin=origin, **target)
        assert await closing(socket) == (1008, reason)
    own = f"http://127.0.0.1:{open_node.port}"
    one = await plain(open_node.url, origin=own)
    two = await plain(open_node.url, origin=own)
    assert len(open_node.service.node.sessions) == 2
    await one.close()
    await two.close()
    await until(lambda: not open_node.service.node.sessions)


def _get(port: int, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.putrequest("GET", path, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    reply = connection.getresponse()
    body = reply.read()
    connection.close()
    return reply.status, {k.lower(): v for k, v in reply.getheaders()}, body


async def test_metrics_are_served(node: RunningNode) -> None:
    one = await plain(node.url)
    status, headers, body = await asyncio.to_thread(_get, node.port, "/metrics")
    assert status == 200
    assert headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = body.decode().splitlines()
    assert "tightbeam_redis_subscribed 1.0" in lines
    assert 'tightbeam_websocket_connections{dialect="plain",role="player"} 1.0' in lines
    await one.close()


async def test_metrics_are_read_by_any_address_and_not_by_a_name_that_was_rebound(
    redis_url: str,
) -> None:
    settings = support.base_settings(
        redis_url, health_port=free_port(), allowed_hosts=("node.example",)
    )
    without = replace(settings, health_port=None)
    async with (
        support.node(without) as alone,
        support.node(settings) as beside,
        health_port(beside.service.health(), settings),
    ):
        assert settings.health_port is not None
        for host, status in {
            "10.1.2.3:8080": 200,
            "[2001:db8::7]:9090": 200,
            "localhost": 200,
            "node.example:8080": 200,
            "evil.example": 403,
            "10.1.2.3.evil.example": 403,
            "": 403,
        }.items():
            for service, port in ((alone, alone.port), (beside, settings.health_port)):
                found, _, body = await asyncio.to_thread(_get, port, "/metrics", Host=host)
                assert found == status, (host, service.port)
                assert (b"tightbeam_rooms" in body) == (status == 200)


async def test_page_files_types_policy_and_cache(node: RunningNode) -> None:
    async def get(path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        return await asyncio.to_thread(_get, node.port, path, **headers)

    status, headers, body = await get("/messages.js")
    assert (status, headers["content-type"]) == (200, "text/javascript; charset=utf-8")
    assert headers["content-security-policy"] == POLICY
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-cache"
    assert body
    status, _, body = await get("/messages.js", If_None_Match=headers["etag"])
    assert (status, body) == (304, b"")
    for path in (
        "/__init__.py",
        "/../pyproject.toml",
        "/..%2f..%2fpyproject.toml",
        "/%2e%2e/cluster/app.py",
        "/input",
        "/input/",
        "/nothing.js",
        "//etc/passwd",
        "/./messages.js/x.js",
        "/%00.js",
    ):
        status, headers, _ = await get(path)
        assert status == 404, path
        assert headers["content-security-policy"] == POLICY
    assert (await get("/messages.js", Host="evil.example"))[0] == 403
    assert (await get("/healthz", Host="evil.example"))[0] == 200
