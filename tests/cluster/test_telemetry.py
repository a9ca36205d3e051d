"""Telemetry of hosts: from the socket to Redis, whatever comes and however fast."""

from __future__ import annotations

import asyncio
from typing import Any

import msgpack
import redis

from cluster import metrics
from cluster.protocol.telemetry import Telemetry, decode, encode
from cluster.store.base import StoreUnavailable
from cluster.telemetry import EVERY_S, Intake
from tests.cluster import support
from tests.cluster.support import RunningNode, hello, host, until


def _frame(uptime_s: float = 1.0, **more: Any) -> bytes:
    known = msgpack.unpackb(encode(Telemetry("0.1.0", "idle", uptime_s, ())))
    return bytes(msgpack.packb(known | more))


def _outcome(name: str) -> float:
    return float(metrics.TELEMETRY.labels(name)._value.get())


async def test_a_hosts_telemetry_is_kept_under_its_own_room_with_a_lease(
    node: RunningNode, redis_url: str
) -> None:
    client = redis.Redis.from_url(redis_url)
    desk = await host(node.url, "desk")
    await desk.socket.send(_frame(room="another", host="another", id="another"))
    await until(lambda: client.exists("tb:host:desk"))
    assert client.keys("tb:host:*") == [b"tb:host:desk"]
    kept: Any = client.get("tb:host:desk")
    assert decode(kept) == Telemetry("0.1.0", "idle", 1.0, ())
    assert b"another" not in kept
    lease_ms: Any = client.pttl("tb:host:desk")
    assert 0 < lease_ms <= 12_000


async def test_the_newest_of_many_frames_is_kept(node: RunningNode, redis_url: str) -> None:
    client = redis.Redis.from_url(redis_url)
    before = {name: _outcome(name) for name in ("kept", "replaced")}
    desk = await host(node.url)
    for number in range(50):
        await desk.socket.send(_frame(float(number)))

    def newest() -> bool:
        kept: Any = client.get("tb:host:r")
        return kept is not None and decode(kept).uptime_s == 49

    await until(newest)
    kept, replaced = (_outcome(name) - before[name] for name in ("kept", "replaced"))
    assert kept + replaced == 50
    assert replaced >= 40


async def test_only_a_host_may_say_telemetry(node: RunningNode, redis_url: str) -> None:
    page = await hello(node.url, token=support.pairing(redis_url))
    await page.socket.send(_frame())
    assert (await page.get("error"))["code"] == "bad-message"
    early = support.Peer(await support.open_socket(node.url), {})
    await early.socket.send(_frame())
    assert (await early.get("error"))["code"] == "bad-message"
    assert (await early.closed())[0] == 1008
    assert redis.Redis.from_url(redis_url).keys("tb:host:*") == []


async def test_an_invalid_frame_is_answered_and_counted_and_the_tenth_closes(
    node: RunningNode, redis_url: str
) -> None:
    before = _outcome("invalid")
    desk = await host(node.url)
    for frame in [_frame(version=2), b"", b"\xc1", _frame(uptime_s=-1.0), b"x" * 100_000]:
        await desk.socket.send(frame)
        error = await desk.get("error")
        assert error["code"] == "bad-message"
        assert error["message"].startswith("telemetry: ")
    assert _outcome("invalid") == before + 5
    assert redis.Redis.from_url(redis_url).keys("tb:host:*") == []
    for _ in range(5):
        await desk.socket.send(b"")
    assert await desk.closed() == (1008, "Bad message")


async def test_while_redis_is_away_nothing_is_kept_back() -> None:
    with support.valkey() as server:
        async with support.node(support.base_settings(server.url)) as running:
            desk = await host(running.url)
            before = _outcome("redis-away")
            server.stop()
            await until(lambda: not running.service.store.up)
            await desk.socket.send(_frame())
            await until(lambda: _outcome("redis-away") == before + 1)
            await desk.send(type="ping")
            assert (await desk.get())["type"] == "pong"


async def test_an_intake_holds_one_frame_and_writes_once_a_second() -> None:
    loop = asyncio.get_running_loop()
    written: list[tuple[float, float]] = []
    away = False

    def keep(payload: bytes) -> None:
        if away:
            raise StoreUnavailable("away")
        written.append((loop.time(), decode(payload).uptime_s))

    intake = Intake(keep)
    for number in range(10):
        intake.take(_frame(float(number)))
    assert [value for _, value in written] == [0]
    await until(lambda: len(written) == 2)
    assert written[1][1] == 9
    assert written[1][0] - written[0][0] >= EVERY_S
    away = True
    intake.take(_frame(10.0))
    await until(lambda: intake._newest is None)
    away = False
    intake.take(_frame(11.0))
    await until(lambda: len(written) == 3)
    assert written[2][1] == 11, "what came while Redis was away is gone"
    intake.take(_frame(12.0))
    intake.close()
    await asyncio.sleep(2 * EVERY_S)
    assert len(written) == 3
