"""The ways to Redis: URLs, TLS, an ACL user, Sentinel; and what is believed of a server that is another one."""

from __future__ import annotations

import asyncio
import re
import subprocess
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import websockets

from cluster.auth import new_id, pairing_digest
from cluster.bus.base import Forward
from cluster.link import Link, connect
from cluster.protocol.messages import PeerId, RoomId
from cluster.redis_url import Credentials, RedisUrl, Server
from cluster.resp import RedisUnavailable, RespConnection
from cluster.room import NodeId
from cluster.settings import Timing
from cluster.store.base import Beat
from cluster.store.redis import pairing_key, pairing_record
from cluster.up import links
from tests.cluster import support
from tests.cluster.support import closing, hello, host, node, plain, sample, until
from tests.outages.network import Relay
from tests.ports import free_port
from tests.redis_server import RedisServer, Sentinel, stopping

NOBODY = Credentials(None, None)
DOCUMENT = Path(__file__).parents[2] / "docs" / "redis.md"


def address(servers: tuple[Server, ...] = (), **changes: object) -> RedisUrl:
    plain_url = RedisUrl(servers, None, None, NOBODY, NOBODY, 0, None, {})
    return replace(plain_url, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://", address((Server("localhost", 6379),))),
        ("redis://h", address((Server("h", 6379),))),
        ("redis://[::1]:7/3", address((Server("::1", 7),), db=3)),
        ("redis://h?db=4", address((Server("h", 6379),), db=4)),
        ("redis://u:p%40%2F@h", address((Server("h", 6379),), user=Credentials("u", "p@/"))),
        ("redis://:p@h", address((Server("h", 6379),), user=Credentials(None, "p"))),
        ("unix:///run/r.sock?db=2", address(path="/run/r.sock", db=2)),
        (
            "redis+sentinel://u:p@a,b:1/mine/5?sentinel_password=s",
            address(
                (Server("a", 26379), Server("b", 1)),
                primary="mine",
                user=Credentials("u", "p"),
                sentinel_user=Credentials(None, "s"),
                db=5,
            ),
        ),
    ],
)
def test_urls_are_read(url: str, expected: RedisUrl) -> None:
    assert RedisUrl.parse(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "http://secret@h",
        "redis://u:se/cret@h",
        "redis://u:secret@h:99999",
        "redis://u:secret@h:port",
        "redis://u:secret@h/name",
        "redis://u:secret@h?ssl=1",
        "redis+sentinel://u:secret@h",
        "rediss://u:secret@h?ssl_ca_certs=/nowhere",
        "",
    ],
)
def test_url_that_is_none_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ValueError, match=r"^REDIS_URL: ") as refusal:
        RedisUrl.parse(url)
    assert "cret" not in str(refusal.value)


@pytest.fixture
def identity(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for localhost that is its own authority, and its key."""
    made, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(
        [*command, "-keyout", str(key), "-out", str(made)], check=True, capture_output=True
    )
    return made, key


async def test_tls_with_an_own_authority(tmp_path: Path, identity: tuple[Path, Path]) -> None:
    certificate, key = identity
    port = free_port()
    options = ["--tls-port", str(port), "--tls-cert-file", str(certificate)]
    options += ["--tls-key-file", str(key), "--tls-ca-cert-file", str(certificate)]
    with stopping(RedisServer(tmp_path, *options)):
        url = f"rediss://localhost:{port}?ssl_ca_certs={certificate}"
        url += f"&ssl_certfile={certificate}&ssl_keyfile={key}"
        async with node(support.base_settings(url, pairing=False)) as running:
            assert (await hello(running.url)).welcome["type"] == "welcome"
            links.make_pairing(links.connect(url), "r", "player")
        with pytest.raises(RedisUnavailable, match="certificate"):  # no authority of this machine's
            await connect(RedisUrl.parse(f"rediss://localhost:{port}"))


async def test_documented_rule_is_enough_for_a_node(tmp_path: Path) -> None:
    rule = re.search(r"^user tightbeam (.*)$", DOCUMENT.read_text(), re.MULTILINE)
    assert rule is not None
    server = RedisServer(tmp_path)
    with stopping(server):
        words = rule[1].replace("PASSWORD", "word").split()
        server.command("ACL", "SETUSER", "tightbeam", *words)
        server.command("ACL", "SETUSER", "default", "off")
        url = f"redis://tightbeam:word@127.0.0.1:{server.port}"
        settings = support.base_settings(url, secret=None)
        async with node(settings, alone=False) as one, node(settings) as two:
            secret = await one.service.store.secret()
            desk = await hello(one.url, role="host", token=links.host_token(secret, "r"))
            page = await hello(two.url, token=links.make_pairing(links.connect(url), "r", "player"))
            sent = await page.sync(desk.id)
            await desk.get("peer-joined")
            assert await support.within_limit(desk.socket.recv()) == sent
            await page.leave()
            assert (await desk.get("peer-left"))["reason"] == "bye"
            client = links.connect(url)
            client.set("tb:node:ghost", client.info("server")["run_id"], ex=600)
            one.service.bus.send(NodeId("ghost"), Forward(PeerId(new_id()), b"x"))
            await until(lambda: client.get("tb:node:ghost") is None)
        with pytest.raises(Exception, match="permissions"):
            client.get("foreign")


async def test_nodes_follow_a_failover_and_rooms_stay_whole(tmp_path: Path) -> None:
    primary = RedisServer(tmp_path)
    replica = RedisServer(tmp_path, "--replicaof", "127.0.0.1", str(primary.port))
    sentinel = Sentinel(tmp_path, primary)
    with stopping(sentinel, replica, primary):
        await until(lambda: primary.client.info()["connected_slaves"] == 1)
        await until(lambda: sentinel.command("SENTINEL", "REPLICAS", "desks"))
        settings = support.base_settings(sentinel.primary_url, timing=Timing(beat_s=0.3))
        async with (
            node(settings, alone=False) as one,
            node(settings, alone=False) as two,
        ):
            desk = await host(one.url)
            client = links.connect(sentinel.primary_url)
            used, unused = (links.make_pairing(client, "r", "player") for _ in range(2))
            page = await hello(two.url, token=used)
            guests = [await plain(running.url) for running in (one, two)]
            await desk.get("peer-joined")
            # What a replica that lags would know: the link was not used yet.
            record = pairing_record("r", "player", client.info("server")["run_id"])
            before = one.service.store._server
            client.set(pairing_key(pairing_digest(used)), record, ex=600)
            await until(lambda: replica.client.get(pairing_key(pairing_digest(used))))
            primary.stop()
            for running in (one, two):
                await until(
                    lambda running=running: (
                        running.service.node.ready  # type: ignore[misc]
                        and running.service.store._server not in ("", before)
                    ),
                    limit_s=40,
                )
            for token in (used, unused):
                assert (await hello(one.url, token=token)).welcome["code"] == "unauthorized"
            sent = await page.sync(desk.id)
            assert await support.within_limit(desk.socket.recv()) == sent
            assert (await closing(await plain(one.url)))[1] == "Room is full"
            await guests[0].send('{"type":"offer","sdp":"v=0"}')
            assert (await support.receive(guests[1]))["type"] == "offer"


async def test_dead_node_gives_its_places_up_before_its_key_ends(redis_url: str) -> None:
    client = links.connect(redis_url)
    async with node(support.base_settings(redis_url)) as running:
        server = client.info("server")["run_id"]
        client.set("tb:node:ghost", server, ex=600)
        for _ in range(2):
            client.hset("tb:room:p", f"m:{new_id()}", "ghost player plain 1 0 0")
        refused = 0

        async def join() -> bool:
            nonlocal refused
            socket = await plain(running.url)
            try:
                await socket.ping()
                await asyncio.wait_for(socket.recv(), 0.2)
            except TimeoutError:
                return True
            except websockets.ConnectionClosed:
                refused += 1
            return False

        async with asyncio.timeout(support.LIMIT_S):
            while not await join():
                pass
        assert refused  # one silence is not enough
        assert await join()
        assert client.ttl("tb:node:ghost") == -2


async def test_newcomer_hears_nothing_of_the_ghost_whose_place_it_takes(redis_url: str) -> None:
    client = links.connect(redis_url)
    async with node(support.base_settings(redis_url)) as running:
        stays = await plain(running.url)
        client.set("tb:node:ghost", client.info("server")["run_id"], ex=600)
        client.hset("tb:room:p", f"m:{new_id()}", "ghost player plain 1 0 0")
        await running.service.reconciler.reap(RoomId("p"))
        client.delete("tb:node:ghost")
        comes = await plain(running.url)
        assert (await support.receive(stays))["type"] == "peer-disconnected"
        await stays.send('{"type":"offer","sdp":"v=0"}')
        assert (await support.receive(comes))["type"] == "offer"


async def test_silence_of_all_nodes_gives_nobody_up(redis_url: str) -> None:
    """As when Redis stood still, or was out of reach of all, for longer than a node lives."""
    client = links.connect(redis_url)
    settings = support.base_settings(redis_url)
    async with node(settings, alone=False) as one, node(settings, alone=False) as two:
        guests = [await plain(running.url) for running in (one, two)]
        await until(lambda: len(one.service.node.rooms[RoomId("p")].members) == 2)
        beat, go_on = two.service.store.beat, asyncio.Event()

        async def held(others: Sequence[NodeId]) -> Beat:
            await go_on.wait()
            return await beat(others)

        two.service.store.beat = held  # type: ignore[method-assign]
        await asyncio.sleep(0)
        client.set("tb:epoch:heard", int(time.time() * 1000) - 60_000)
        client.delete(f"tb:node:{two.service.node.id}")
        await one.service.reconciler.beat()
        go_on.set()
        await guests[0].send('{"type":"offer","sdp":"v=0"}')
        assert (await support.receive(guests[1]))["type"] == "offer"
        await guests[1].send('{"type":"answer","sdp":"v=1"}')
        assert (await support.receive(guests[0]))["type"] == "answer"
        assert (await closing(await plain(one.url)))[1] == "Room is full"


async def test_letters_that_nobody_hears_end_their_node(redis_url: str) -> None:
    client = links.connect(redis_url)
    settings = support.base_settings(redis_url, pairing=False, timing=support.SHORT_GRACE)
    async with node(settings) as running:
        desk, page = await host(running.url), await hello(running.url)
        await desk.get("peer-joined")
        client.set("tb:node:ghost", client.info("server")["run_id"], ex=600)
        lost = new_id()
        client.hset("tb:room:r", f"m:{lost}", "ghost player tightbeam 1 0 1")
        await running.service.reconciler.reap(RoomId("r"))
        assert (await desk.get("peer-joined"))["peer"] == lost
        await desk.sync(lost)
        left = await desk.get("peer-left")
        assert (left["peer"], left["reason"]) == (lost, "lost")
        assert (await page.get("peer-left"))["peer"] == lost


async def test_deadline_of_a_clock_that_was_ahead_is_cut(redis_url: str) -> None:
    settings = support.base_settings(redis_url, pairing=False, timing=support.SHORT_GRACE)
    async with node(settings) as running:
        desk, page = await host(running.url), await hello(running.url)
        await desk.get("peer-joined")
        client = links.connect(redis_url)
        key = "tb:room:r"
        page.socket.transport.abort()
        await until(lambda: page.id not in running.service.node.sessions)
        hour_ahead = int((time.time() + 3600) * 1000)
        member = f"{running.service.node.id} player tightbeam 1 {hour_ahead} 1"
        client.hset(key, f"m:{page.id}", member)
        assert (await desk.get("peer-left"))["peer"] == page.id


async def test_absence_is_told_once_and_again_in_other_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    url = RedisUrl.parse(f"redis://127.0.0.1:{free_port()}")

    async def never(_connection: RespConnection) -> None:
        raise AssertionError("nobody listens there")

    link = Link(url, never)
    before = sample("tightbeam_redis_errors_total", kind="connect")
    running = asyncio.create_task(link.run())
    await until(lambda: sample("tightbeam_redis_errors_total", kind="connect") >= before + 3)
    running.cancel()
    await asyncio.wait([running])
    told = [record.getMessage() for record in caplog.records if record.name == "cluster.link"]
    assert len(told) == 1
    assert "cannot connect to 127.0.0.1" in told[0]


@pytest.mark.parametrize(
    "answer", [b"*2\r\n$1\r\nh\r\n$5\r\n70000\r\n", b"*0\r\n", b"+what\r\n", b"*-1\r\n", b":1\r\n"]
)
async def test_odd_answer_of_a_sentinel_is_only_another_absence(answer: bytes) -> None:
    async def answer_oddly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(4096):
            writer.write(b"+PONG\r\n" if b"PING" in data else answer)
        writer.close()

    server = await asyncio.start_server(answer_oddly, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(RedisUnavailable, match="no sentinel names the primary"):
        await connect(RedisUrl.parse(f"redis+sentinel://127.0.0.1:{port}/mine"))
    server.close()


async def test_host_name_that_is_none_is_only_an_absence() -> None:
    with pytest.raises(RedisUnavailable, match=r"cannot connect to a\.\.b"):
        await connect(RedisUrl.parse("redis://a..b"))


async def test_a_subscription_that_a_network_swallows_is_not_waited_for_when_that_is_over(
    tmp_path: Path,
) -> None:
    server = RedisServer(tmp_path)
    with stopping(server):
        async with Relay(server.port) as relay, node(support.base_settings(relay.url)) as running:
            bus, store = running.service.bus, running.service.store
            relay.swallow()
            await until(lambda: not store.up, limit_s=30)
            relay.heal()
            await until(lambda: running.service.node.ready, limit_s=30)
            heard = asyncio.Event()
            bus._receive = lambda _letter: heard.set()
            bus.send(running.service.node.id, Forward(PeerId(new_id()), b"x"))
            await support.within_limit(heard.wait())


async def test_server_that_stands_still_is_an_absence_with_a_reason(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    with stopping(server):
        server.pause()
        with pytest.raises(RedisUnavailable, match=r"^Redis, PING: no answer$"):
            await connect(RedisUrl.parse(server.url))


def test_embedded_server_starts_again_after_its_guard_was_killed() -> None:
    with support.valkey() as server:
        assert server._guard is not None
        server._guard.kill()
        server._guard.wait()
        server.start()
        assert links.connect(server.url).ping()
