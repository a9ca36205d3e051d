"""A node's log: whole lines of JSON that name connection and room, and never a secret, at debug level too."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import redis
import websockets

from cluster.auth import Grant, Signer, new_id
from cluster.protocol.messages import RoomId
from cluster.up.links import make_pairing
from tests.cluster import operator, support
from tests.cluster.processes import NodeProcess, node_process
from tests.cluster.support import closing, hello, host, plain, until
from tests.redis_server import RedisServer

PASSWORD = "redis-password-9f1c"
TURN_SECRET = "turn-secret-" + "t" * 32
OPERATORS = "operators-secret-" + "o" * 32
SDP = "v=0 sdp-marker-5b2e"
CANDIDATE = "candidate:marker-77aa"


def _http(url: str, method: str = "GET", **headers: str) -> int:
    request = urllib.request.Request(url, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        return error.code


def _raw(port: int, head: str) -> None:
    """A request that is none."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(head.encode())
        with contextlib.suppress(OSError):
            client.recv(4096)


class Secrets:
    """Everything that must not be read in a log."""

    def __init__(self) -> None:
        self.known = {support.SECRET, PASSWORD, TURN_SECRET, OPERATORS, SDP, CANDIDATE}

    def add(self, *values: str) -> str:
        self.known |= set(values)
        return values[0]

    def of(self, welcome: dict[str, Any]) -> dict[str, Any]:
        self.add(welcome["session"], welcome["resume"])
        for server in welcome["iceServers"]:
            self.add(server["credential"], server["username"])
        return welcome

    def found_in(self, text: str) -> list[str]:
        return [secret for secret in sorted(self.known) if secret in text]


async def _successes(node: NodeProcess, client: redis.Redis, secrets: Secrets) -> None:
    desk = await host(node.url, "desk")
    secrets.of(desk.welcome)
    pairing = secrets.add(make_pairing(client, "desk", "player"))
    page = await hello(node.url, "desk", token=pairing)
    secrets.of(page.welcome)
    await page.sync(desk.id, SDP)
    await desk.get("sync")
    await desk.sync(page.id, SDP, items=[{"type": "candidate", "candidate": CANDIDATE}])
    await page.get("sync")
    back = await hello(node.url, "desk", resume=page.welcome["resume"])
    secrets.of(back.welcome)
    again = await hello(node.url, "desk", session=page.welcome["session"])
    secrets.of(again.welcome)
    mine = secrets.add(operator.token(key=OPERATORS, rooms=["open"]))
    one = await plain(node.url, "open", query=f"&token={mine}")
    two = await plain(node.url, "open", query=f"&token={mine}")
    for text in ({"type": "offer", "sdp": SDP}, {"type": "candidate", "candidate": CANDIDATE}):
        await one.send(json.dumps(text))
        await support.receive(two)
    two.transport.abort()
    await one.close()
    await again.leave()
    await desk.leave()


def _bad_credentials(secrets: Secrets) -> list[dict[str, str]]:
    wrong = Signer("w" * 32).issue(Grant("session", RoomId("desk"), "player"), 1_700_000_000)
    old = Signer(support.SECRET).issue(Grant("session", RoomId("desk"), "player"), 1_700_000_000)
    elsewhere = support.token("session", "elsewhere", "player")
    head, body, signature = elsewhere.split(".")
    broken = [f"{head}.{body[::-1]}.{signature}", f"{body}.{head}.{signature}", "a.b.secret-tail"]
    for token in (wrong, old, elsewhere, *broken):
        secrets.add(token)
    unknown = secrets.add(new_id())
    found = [{"session": token} for token in (wrong, old, elsewhere, *broken)]
    return [*found, {"resume": elsewhere}, {"token": unknown}, {"token": wrong}]


async def _failures(node: NodeProcess, secrets: Secrets) -> None:
    for keys in _bad_credentials(secrets):
        refused = await hello(node.url, "desk", **keys)
        assert refused.welcome["type"] == "error"
        token = next(iter(keys.values()))
        await closing(await plain(node.url, "open", query=f"&token={token}"))
        assert await asyncio.to_thread(_http, f"{node.http}/nothing?token={token}") == 404
        drained = {"Authorization": f"Bearer {token}"}
        assert await asyncio.to_thread(_http, f"{node.http}/drain", "POST", **drained) == 401
    late = await host(node.url, "late")
    secrets.of(late.welcome)
    for frame in (f'{{"type":"{SDP}"', json.dumps({"type": "sync", "sdp": SDP}), SDP.encode()):
        await late.socket.send(frame)
        await late.get("error")
    await late.send(type="hello", room="late", role="host", token=secrets.add("a-second-hello"))
    await late.get("error")
    await late.socket.send(SDP * 20_000)  # beyond the largest message
    await closing(late.socket)
    token = secrets.add("token-in-a-refused-query")
    for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}):
        with contextlib.suppress(websockets.WebSocketException):
            await closing(
                await plain(node.url, "open", query=f"&token={token}", additional_headers=headers)
            )
    for head in (
        f"GET /?roomId=a&token={token} HTTP/9.9\r\n\r\n",
        f"GET /ws?token={token} HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        f"GET / HTTP/1.1\r\nCookie: {token}\r\nbroken\r\n\r\n",
    ):
        await asyncio.to_thread(_raw, node.port, head)


async def test_a_log_never_has_a_secret_and_says_which_connection_and_room(tmp_path: Path) -> None:
    secrets = Secrets()
    server = RedisServer(tmp_path, "--requirepass", PASSWORD)
    url = server.url.replace("://", f"://:{PASSWORD}@")
    environment = {
        "TIGHTBEAM_LOG_LEVEL": "debug",
        "TIGHTBEAM_PAIRING": "1",
        "TURN_URLS": "turn:127.0.0.1:3478",
        "TURN_SECRET": TURN_SECRET,
        "JWT_SECRET": OPERATORS,
        "ENABLE_AUTH": "true",
    }
    try:
        with node_process(url, tmp_path, **environment) as node:
            await until(node.ready, 30)
            client = redis.Redis.from_url(url)
            await _successes(node, client, secrets)
            await _failures(node, secrets)
            server.stop()  # and what the loss of Redis makes it say
            await until(lambda: not node.ready())
            secrets.add("a-token-without-redis")
            await closing(await plain(node.url, "open", query="&token=a-token-without-redis"))
            server.start()
            await until(node.ready, 30)
            secrets.of((await host(node.url, "last")).welcome)
            node.process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(node.process.wait, 20) == 0
            text = node.log.read_text()
    finally:
        server.stop()
    assert secrets.found_in(text) == []
    lines = [json.loads(line) for line in text.splitlines()]
    assert {"debug", "info", "warning"} <= {line["level"] for line in lines}
    kinds = {"joined", "left"}
    for line in lines:
        assert {"time", "level", "logger", "message"} <= line.keys()
        if line["message"] in kinds:
            assert {"connection", "room", "peer"} <= line.keys(), line
        if line["message"].startswith(("refused:", "bad message:", "credential refused:")):
            assert {"connection", "room"} <= line.keys(), line
    said = [line["message"] for line in lines]
    assert said.count("joined") == said.count("left") >= 8
    assert sum(message.startswith("credential refused:") for message in said) >= 10


@pytest.mark.parametrize(
    ("name", "environment"),
    [
        ("TIGHTBEAM_SECRET", {"TIGHTBEAM_SECRET": "a-short-secret"}),
        ("TURN_SECRET", {"TURN_URLS": "turn:a", "TURN_SECRET": "a-short-secret"}),
        ("REDIS_URL", {"REDIS_URL": "redis://u:a-short-secret@h:port"}),
        ("JWT_SECRET", {"JWT_SECRET": "a-short-secret", "ENABLE_AUTH": "true"}),
        ("TIGHTBEAM_LOG_LEVEL", {"TIGHTBEAM_LOG_LEVEL": "loud"}),
    ],
)
def test_a_refused_setting_is_named_without_its_value(
    name: str, environment: dict[str, str]
) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "cluster.cli", "node", "--port", "0"],
        env=dict(os.environ) | environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 1
    assert name in ended.stderr
    assert "a-short-secret" not in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
