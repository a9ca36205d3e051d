"""The drain: spread over its window, ended in time whatever clients do, asked for by signal or command."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import websockets
from hypothesis import given
from hypothesis import strategies as st

from agent.roster import Event, Offered, Trickled
from agent.signaling import Signaling, SignalingSettings
from cluster.auth import Signer, TokenRefused
from cluster.drain import SPREAD, Phases, turns
from cluster.drain_request import Remote
from cluster.protocol.messages import Answer, Candidate, Item, PeerId
from tests.cluster import support
from tests.cluster.processes import NodeProcess, node_process, status_of
from tests.cluster.support import closing, hello, plain, until
from tests.ports import free_port

PAGES = Path(__file__).parents[1] / "client" / "pages.js"
LIMIT_S = 12.0
SLACK_S = 10.0
"""For a machine that does other things, too; a node that waited for its clients would stay for ever."""


@given(st.integers(1, 500), st.floats(0.1, 600), st.integers())
def test_turns_are_spread_evenly_and_in_random_order(
    count: int, window_s: float, seed: int
) -> None:
    moments = turns(count, window_s, random.Random(seed))
    assert len(moments) == count
    assert all(0 <= moment <= SPREAD * window_s for moment in moments)
    tenths = Counter(min(9, int(moment / (SPREAD * window_s) * 10)) for moment in moments)
    assert max(tenths.values()) <= count / 10 + 2
    if count >= 20:
        assert len(tenths) == 10
        assert moments != sorted(moments)


@given(st.floats(0, 3600))
def test_the_phases_of_a_drain_fit_into_its_time(limit_s: float) -> None:
    phases = Phases.within(limit_s)
    parts = (phases.window_s, phases.last_call_s, phases.server_s, phases.leaves_s)
    assert min(parts) >= 0
    assert sum(parts) <= limit_s
    assert phases.window_s >= limit_s / 4 * 0.999


def test_a_drain_of_a_minute_leaves_its_window_almost_all_of_it() -> None:
    assert Phases.within(60.0) == Phases(55.5, 2.5, 1.0, 0.5)


def test_nobody_has_no_turn() -> None:
    assert turns(0, 60, random.Random(1)) == []


async def _closed_at(client: Any, began: float) -> tuple[float, int | None]:
    code, _ = await _end_of(client)
    return time.monotonic() - began, code


async def _end_of(client: Any) -> tuple[int | None, str | None]:
    with contextlib.suppress(websockets.ConnectionClosed):
        while True:
            await client.recv()
    return client.close_code, client.close_reason


def _mute(node: NodeProcess, room: str) -> socket.socket:
    """A plain client that never reads again and never answers a close."""
    client = socket.create_connection(("127.0.0.1", node.port))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.sendall(
        f"GET /?roomId={room} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    assert client.recv(12) == b"HTTP/1.1 101"
    return client


async def test_a_drain_is_spread_and_ends_whatever_clients_do(
    redis_url: str, tmp_path: Path
) -> None:
    environment = {
        "DRAIN_TIMEOUT_MS": str(round(LIMIT_S * 1000)),
        "BACKPRESSURE_CLOSE_THRESHOLD_BYTES": str(1 << 28),
    }
    with node_process(redis_url, tmp_path, **environment) as there:
        await until(there.ready)
        plains = [await plain(there.url, f"p{number}") for number in range(60)]
        peers = [await hello(there.url, f"r{number}") for number in range(60)]
        mutes = [_mute(there, f"m{number}") for number in range(5)]
        talker = await plain(there.url, "m0")
        for _ in range(60):  # beyond what both kernels take: the rest waits in the node
            await talker.send(json.dumps({"type": "offer", "sdp": "x" * 60_000}))
        silent = socket.create_connection(("127.0.0.1", there.port))

        began = time.monotonic()
        there.process.send_signal(signal.SIGTERM)
        closes = [asyncio.create_task(_closed_at(client, began)) for client in plains]
        hints = [await peer.get("reconnect") for peer in peers]
        for path, status in {"readyz": 503, "readyz?local=1": 503, "healthz": 200}.items():
            assert await asyncio.to_thread(status_of, f"{there.http}/{path}") == status
        text = await asyncio.to_thread(_text, f"{there.http}/metrics")
        assert "tightbeam_draining 1.0" in text
        assert await closing(await plain(there.url)) == (1012, "Server draining")
        late = await support.open_socket(there.url)
        assert await closing(late) == (1012, "Server draining")

        window_s = Phases.within(LIMIT_S).window_s
        tenth_ms = SPREAD * window_s * 100
        planned = Counter(int(hint["afterMs"] / tenth_ms) for hint in hints)
        # Of 126 turns each tenth has 12 or 13; 60 of these are page's, drawn at random.
        assert max(planned.values()) <= 13
        assert len(planned) >= 8
        ended = [await task for task in closes]
        assert {code for _, code in ended} == {1012}
        seen = Counter(int(after_s / (window_s / 10)) for after_s, _ in ended)
        assert max(seen.values()) <= 30  # all 60 where they are closed in one instant
        assert len(seen) >= 4
        for peer in peers:  # none of these went when its time came
            assert await peer.closed() == (1012, "Server draining")
        code = await asyncio.to_thread(there.process.wait, LIMIT_S + SLACK_S)
        assert code == 0
        assert time.monotonic() - began <= LIMIT_S  # a promise, which an idle machine keeps by 2 s
        assert "Traceback" not in there.log.read_text()
        for client in (*mutes, silent):
            client.close()


def _text(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as reply:
        return str(reply.read().decode())


@pytest.mark.parametrize("limit_ms", [0, 1, 1000])
async def test_a_drain_in_no_time_closes_everybody_too(
    redis_url: str, tmp_path: Path, limit_ms: int
) -> None:
    with node_process(redis_url, tmp_path, DRAIN_TIMEOUT_MS=str(limit_ms)) as there:
        await until(there.ready)
        one, page = await plain(there.url), await hello(there.url)
        mute = _mute(there, "m")
        there.process.send_signal(signal.SIGTERM)
        assert await closing(one) == (1012, "Server draining")
        assert (await page.get("reconnect"))["afterMs"] <= limit_ms
        assert await page.closed() == (1012, "Server draining")
        assert await asyncio.to_thread(there.process.wait, SLACK_S) == 0
        mute.close()


async def test_a_second_signal_ends_at_once(redis_url: str, tmp_path: Path) -> None:
    with node_process(redis_url, tmp_path, DRAIN_TIMEOUT_MS="3600000") as there:
        await until(there.ready)
        page = await hello(there.url)
        there.process.send_signal(signal.SIGTERM)
        await page.get("reconnect")
        there.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(there.process.wait, SLACK_S) == 0


def _ask(
    node: NodeProcess | support.RunningNode, token: str | None, method: str = "POST"
) -> tuple[int, Any]:
    request = urllib.request.Request(f"http://127.0.0.1:{node.port}/drain", method=method)
    if token is not None:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=5) as reply:
            return reply.status, json.loads(reply.read())
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def admin(secret: str = support.SECRET, age_s: int = 0) -> str:
    return Signer(secret).issue_admin(int(time.time()) - age_s)


async def test_only_an_admin_token_drains(open_node: support.RunningNode) -> None:
    page = await hello(open_node.url)
    peer = PeerId("A" * 22)
    refused = {
        "none": None,
        "host": support.token("host"),
        "session": page.welcome["session"],
        "resume": page.welcome["resume"],
        "a resume token as host": support.token("resume", role="host", peer=peer),
        "another secret": admin("x" * 32),
        "old": admin(age_s=61),
        "nonsense": "x.y.z",
    }
    for name, token in refused.items():
        status, _ = await asyncio.to_thread(_ask, open_node, token)
        assert status == 401, name
    for method in ("PUT", "DELETE"):
        assert (await asyncio.to_thread(_ask, open_node, admin(), method))[0] == 405
    status, answer = await asyncio.to_thread(_ask, open_node, admin(), "GET")
    assert (status, answer["draining"], answer["sockets"]) == (200, False, 1)
    assert answer["node"] == open_node.service.node.id
    assert not open_node.service.door.drain.active


def test_an_admin_token_opens_no_room() -> None:
    signer = Signer(support.SECRET)
    for kind in ("host", "session", "resume"):
        with pytest.raises(TokenRefused):
            signer.read(admin(), kind)
    signer.check_admin(admin())


async def test_draining_twice_is_draining_once(redis_url: str, tmp_path: Path) -> None:
    with node_process(redis_url, tmp_path, DRAIN_TIMEOUT_MS="3600000") as there:
        await until(there.ready)
        page = await hello(there.url)
        first = await asyncio.to_thread(_ask, there, admin())
        again = await asyncio.to_thread(_ask, there, admin())
        assert first == again
        assert first[1] | {"node": ""} == {
            "node": "",
            "draining": True,
            "sockets": 1,
            "windowMs": 3_600_000,
        }
        assert (await page.get("reconnect"))["afterMs"] <= 3_600_000
        there.process.send_signal(signal.SIGTERM)  # as an orchestrator sends it next: it goes on
        await asyncio.to_thread(_ask, there, admin(), "GET")
        page.socket.transport.abort()
        assert await asyncio.to_thread(there.process.wait, SLACK_S) == 0


async def _command(*arguments: str, **environment: str) -> tuple[int, str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TIGHTBEAM")}
    ended = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "cluster.cli", "drain", *arguments],
        env=clean | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.returncode, ended.stdout, ended.stderr


async def test_the_command_drains_a_node_until_it_is_gone(redis_url: str, tmp_path: Path) -> None:
    with node_process(redis_url, tmp_path, DRAIN_TIMEOUT_MS="2000") as there:
        await until(there.ready)
        page = await hello(there.url)
        code, out, err = await _command(there.http, "--json", TIGHTBEAM_SECRET=support.SECRET)
        assert (code, err) == (0, "")
        lines = [json.loads(line) for line in out.splitlines()]
        assert lines[0]["sockets"] == 1
        assert lines[-1]["outcome"] in ("gone", "empty")
        assert lines[-1]["sockets"] == 0
        assert (await page.get("reconnect"))["afterMs"] <= 2000
        assert await asyncio.to_thread(there.process.wait, SLACK_S) == 0


async def test_the_command_finds_the_secret_in_redis(redis_url: str, tmp_path: Path) -> None:
    with node_process(redis_url, tmp_path, TIGHTBEAM_SECRET="") as there:
        await until(there.ready)
        code, out, _ = await _command(there.http, REDIS_URL=redis_url)
        assert code == 0
        assert "0 sockets to go" in out


async def test_the_command_says_what_is_left_at_its_limit(redis_url: str, tmp_path: Path) -> None:
    with node_process(redis_url, tmp_path, DRAIN_TIMEOUT_MS="3600000") as there:
        await until(there.ready)
        await hello(there.url)
        code, out, _ = await _command(
            there.http, "--timeout", "0.1", TIGHTBEAM_SECRET=support.SECRET
        )
        assert code == 3
        assert "1 sockets left" in out


async def test_the_command_says_why_it_could_not_drain(open_node: support.RunningNode) -> None:
    url = f"http://127.0.0.1:{open_node.port}"
    wrong = "x" * 32
    code, out, err = await _command(url, TIGHTBEAM_SECRET=wrong)
    assert (code, out) == (1, "")
    assert "refused (401)" in err
    assert wrong not in err
    nobody = f"http://127.0.0.1:{free_port()}"
    for url in (nobody, "127.0.0.1:8080", "ftp://127.0.0.1"):
        code, _, err = await _command(url, TIGHTBEAM_SECRET=support.SECRET)
        assert code == 1
        assert err.startswith("tightbeam drain: ")
        assert "Traceback" not in err


@contextlib.asynccontextmanager
async def balancer(nodes: list[NodeProcess]) -> AsyncIterator[str]:
    """What stands before a cluster: each new connection goes to the first node that says it is ready."""
    tasks: set[asyncio.Task[None]] = set()

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(65536):
                writer.write(chunk)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for node in nodes:
            if await asyncio.to_thread(node.ready):
                back = await asyncio.open_connection("127.0.0.1", node.port)
                for pair in ((reader, back[1]), (back[0], writer)):
                    task = asyncio.create_task(pipe(*pair))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                return
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()


class Desk:
    """The agent's side of the room: answers each offer, and keeps what it is told."""

    def __init__(self, url: str) -> None:
        self.heard: dict[PeerId, list[Item | type[Event]]] = {}
        self.offers: list[Offered] = []
        self.signaling = Signaling(SignalingSettings(url, "desk", support.token(room="desk")), self)

    def on_signal(self, event: Event) -> None:
        told = self.heard.setdefault(event.peer, [])
        if isinstance(event, Trickled):
            told.append(event.candidate)
            return
        told.append(type(event))
        if isinstance(event, Offered):
            self.offers.append(event)
            assert self.signaling.say(event.peer, event.negotiation, Answer("answer"))

    def say(self, item: Item) -> None:
        for offer in self.offers:
            assert self.signaling.say(offer.peer, offer.negotiation, item)


@dataclass
class Pages:
    """The page's own code (tests/client/pages.js), several times in one process; `said`: what each reports."""

    said: list[list[dict[str, Any]]]

    def of(self, what: str) -> list[list[Any]]:
        return [[entry[what] for entry in said if what in entry] for said in self.said]


@contextlib.asynccontextmanager
async def pages(url: str, room: str, count: int) -> AsyncIterator[Pages]:
    command = ("node", str(PAGES), f"{url}/ws", room, str(count))
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    there = Pages([[] for _ in range(count)])

    async def read() -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            entry = json.loads(line)
            there.said[entry["page"]].append(entry)

    reading = asyncio.create_task(read())
    try:
        yield there
    finally:
        process.kill()
        await process.wait()
        await reading


async def test_agent_and_pages_move_to_another_node_and_nothing_is_lost(
    redis_url: str, tmp_path: Path
) -> None:
    environment = {"DRAIN_TIMEOUT_MS": "8000", "TIGHTBEAM_SINGLE_NODE": "0"}
    with (
        node_process(redis_url, tmp_path, **environment) as first,
        node_process(redis_url, tmp_path, **environment) as second,
    ):
        await until(first.ready, 30)
        await until(second.ready, 30)
        async with balancer([first, second]) as url:
            desk, count = Desk(url), 3
            watcher = await hello(second.url, "desk", role="viewer")
            agent = asyncio.create_task(desk.signaling.run())
            assert (await watcher.get("peer-joined"))["role"] == "host"
            async with pages(url, "desk", count) as there:
                await until(lambda: all("playing" in states for states in there.of("state")))
                joined = [await watcher.get() for _ in range(count)]
                assert {message["type"] for message in joined} == {"peer-joined"}

                first.process.send_signal(signal.SIGTERM)
                said = [Candidate(f"of desk:{number}") for number in range(20)]
                for item in said:
                    desk.say(item)
                    await asyncio.sleep(0.2)  # all through the window
                assert await asyncio.to_thread(first.process.wait, SLACK_S) == 0
                whole = ["answer", *(item.candidate for item in said)]
                await until(
                    lambda: [list(map(_text_of, a)) for a in there.of("applied")] == [whole] * count
                )
                heard = [Candidate(f"of page:{number}") for number in range(20)]
                await until(lambda: list(desk.heard.values()) == [[Offered, *heard]] * count)
                # No storm: each came to the first node once, and to the second once.
                assert [len(sockets) for sockets in there.of("socket")] == [2] * count
                assert (
                    there.of("state")
                    == [["joining", "waiting", "negotiating", "negotiating", "playing"]] * count
                )
                assert not any(notice for notices in there.of("notice") for notice in notices)
                await watcher.send(type="ping")
                rest = await watcher.get()
                assert rest["type"] == "pong", "somebody was told of a leave or a join"
            agent.cancel()
            await asyncio.wait([agent])


def _text_of(item: dict[str, Any]) -> str:
    return str(item.get("sdp") or item.get("candidate"))


def test_a_node_that_is_not_there_is_named() -> None:
    remote = Remote(f"http://127.0.0.1:{free_port()}", support.SECRET, None)
    with pytest.raises(ConnectionRefusedError, match="nothing listens at"):
        remote.ask("GET")
