"""The fleet exporter: from hosts' real frames in a real Valkey to what Prometheus reads."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families

from cluster import server
from cluster.exporter import app
from cluster.exporter.app import Exporter
from cluster.exporter.exposition import exposition
from cluster.exporter.fleet import MAX_VERSIONS, OFFLINE_LIFE_S, Fleet
from cluster.exporter.verdict import POSSIBLE, Verdict, judge
from cluster.protocol.telemetry import ENCODERS, SessionFigures, Telemetry, encode
from cluster.settings import Settings
from tests.cluster import support
from tests.cluster.support import RunningNode, host, until
from tests.eventually import eventually
from tests.ports import free_port
from tests.redis_server import RedisServer, Sentinel, stopping

PACE_S = 0.05
SLOW_S = 30.0
"""What anything may take where the machine is busy."""


def session(**changes: Any) -> SessionFigures:
    known: dict[str, Any] = {
        "codec": "h264",
        "encoder": "x264",
        "path": "direct",
        "congestion": "hold",
        "width": 1280,
        "height": 720,
        "encode_fps": 59.5,
        "target_bps": 2e7,
        "sent_bps": 1.5e7,
        "stages_s": {"capture": 0.001, "encode": 0.004},
        "dropped": {"replaced": 3, "paced": 1},
        "rtt_s": 0.02,
        "loss": 0.0,
    }
    return SessionFigures(**(known | changes))


def frame(*sessions: SessionFigures, uptime_s: float = 1.0, **changes: Any) -> bytes:
    state = "streaming" if sessions else "idle"
    known: dict[str, Any] = {"agent": "0.1.0", "state": state, "uptime_s": uptime_s}
    return encode(Telemetry(**(known | {"sessions": sessions} | changes)))


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample, as the reference parser reads it; raises when the text is none."""
    return {
        (entry.name, frozenset(entry.labels.items())): entry.value
        for family in text_string_to_metric_families(text)
        for entry in family.samples
    }


def value(fleet: Fleet, name: str, **labels: str) -> float | None:
    return samples(exposition(fleet).decode()).get(
        (f"tightbeam_fleet_{name}", frozenset(labels.items()))
    )


def look(fleet: Fleet, now: float, **frames: bytes) -> None:
    for name, payload in frames.items():
        fleet.note(name, payload, now)
    fleet.complete(now)


# The fleet


def test_hosts_are_counted_by_state_and_keep_their_last_figures() -> None:
    fleet = Fleet()
    busy = frame(session(), session(loss=0.05, encode_fps=30.0), cpu=0.5)
    look(fleet, 100.0, idle=frame(), busy=busy, sick=frame(session(), state="failing"))
    assert [value(fleet, "hosts", state=s) for s in ("idle", "streaming", "failing")] == [1, 1, 1]
    assert value(fleet, "host_state", host="busy", state="streaming") == 1
    assert value(fleet, "host_info", host="busy", version="0.1.0") == 1
    assert value(fleet, "host_last_seen_timestamp_seconds", host="busy") == 100
    assert value(fleet, "host_sessions", host="busy") == 2
    assert value(fleet, "host_sessions_impaired", host="busy") == 1
    assert value(fleet, "host_sessions", host="idle") == 0
    assert value(fleet, "host_cpu_ratio", host="busy") == 0.5
    assert value(fleet, "host_cpu_ratio", host="idle") is None, "what is not known is not shown"
    assert value(fleet, "host_encode_fps", host="busy") == 30, "the worst session's"
    assert value(fleet, "host_target_bits_per_second", host="busy") == 4e7
    assert value(fleet, "host_loss_ratio", host="busy") == 0.05
    assert value(fleet, "host_stage_seconds", host="busy", stage="encode") == 0.004
    assert value(fleet, "host_frames_dropped", host="busy", reason="replaced") == 6
    assert value(fleet, "sessions", codec="h264", encoder="x264", path="direct") == 3
    assert value(fleet, "sessions_by_congestion", congestion="hold") == 3
    verdicts = {("healthy", "none"): 1, ("degraded", "loss"): 1, ("failed", "host"): 1}
    for (verdict, reason), count in verdicts.items():
        assert value(fleet, "sessions_by_verdict", verdict=verdict, reason=reason) == count


def test_a_host_that_is_not_in_a_whole_look_is_offline_for_an_hour() -> None:
    fleet = Fleet()
    look(fleet, 100.0, desk=frame(session()))
    fleet.note("desk", b"junk", 105.0)  # a look that is not whole yet
    assert value(fleet, "hosts", state="offline") == 0
    look(fleet, 105.0)
    assert value(fleet, "hosts", state="offline") == 1
    assert value(fleet, "host_last_seen_timestamp_seconds", host="desk") == 100
    assert value(fleet, "host_sessions", host="desk") is None
    assert value(fleet, "sessions", codec="h264", encoder="x264", path="direct") is None
    look(fleet, 110.0, desk=frame(session()))
    assert value(fleet, "hosts", state="offline") == 0, "it came back with the very same frame"
    look(fleet, 100.0 + OFFLINE_LIFE_S)
    look(fleet, 101.0 + OFFLINE_LIFE_S)
    assert fleet.hosts == {}


def test_a_frame_counts_once_in_histograms_however_often_it_is_seen() -> None:
    fleet = Fleet()
    for number in range(5):
        look(fleet, float(number), desk=frame(session()))
    labels = {"stage": "encode", "encoder": "x264", "codec": "h264"}
    assert value(fleet, "stage_seconds_count", **labels) == 1
    look(fleet, 9.0, desk=frame(session(stages_s={"encode": 3.0}, rtt_s=0.3), uptime_s=3.0))
    assert value(fleet, "stage_seconds_count", **labels) == 2
    assert value(fleet, "stage_seconds_bucket", le="0.005", **labels) == 1
    assert value(fleet, "stage_seconds_bucket", le="+Inf", **labels) == 2
    assert value(fleet, "stage_seconds_sum", **labels) == pytest.approx(3.004)
    assert value(fleet, "rtt_seconds_bucket", le="0.25", path="direct") == 1
    assert value(fleet, "rtt_seconds_count", path="direct") == 2


def test_what_pages_measured_is_shown_by_leg_and_the_worst_click_by_host() -> None:
    fleet = Fleet()
    quick = session(legs_s={"click_to_photon": 0.03, "network": 0.004})
    slow = session(legs_s={"click_to_photon": 0.2}, path="relay")
    look(fleet, 1.0, desk=frame(quick, slow, session()), other=frame(session(legs_s={})))
    assert value(fleet, "host_click_to_photon_seconds", host="desk") == 0.2
    assert value(fleet, "host_click_to_photon_seconds", host="other") is None
    labels = {"leg": "click_to_photon", "path": "relay"}
    assert value(fleet, "leg_seconds_count", **labels) == 1
    assert value(fleet, "leg_seconds_sum", **labels) == 0.2
    assert value(fleet, "leg_seconds_bucket", le="0.005", leg="network", path="direct") == 1


def test_drops_never_go_down_when_a_session_begins_anew() -> None:
    fleet = Fleet()
    look(fleet, 1.0, desk=frame(session(dropped={"replaced": 10})))
    look(fleet, 2.0, desk=frame(session(dropped={"replaced": 14}), uptime_s=2.0))
    assert value(fleet, "frames_dropped_total", reason="replaced") == 4
    look(fleet, 3.0, desk=frame(session(dropped={"replaced": 1}), uptime_s=3.0))
    look(fleet, 4.0, desk=frame(uptime_s=4.0))
    assert value(fleet, "frames_dropped_total", reason="replaced") == 4


def test_no_host_makes_a_series_by_its_words() -> None:
    fleet = Fleet(max_hosts=40)
    chance = random.Random(7)
    for number in range(60):
        odd = session(codec=f"c{number}", encoder=f"e{number}", path=f"p{number}")
        payload = frame(odd, agent=f"9.{number}", state=f"s{number}")
        fleet.note(f"desk-{number}", payload, chance.random())
    for name in ("a b", 'x"} 1', "", "é", "y" * 65):
        fleet.note(name, frame(), 1.0)
    fleet.complete(1.0)
    found = samples(exposition(fleet).decode())
    values: dict[str, set[str]] = {}
    for _, labels in found:
        for key, word in labels:
            values.setdefault(key, set()).add(word)
    assert len(values["host"]) == 40
    assert len(values["version"]) == MAX_VERSIONS + 1
    assert values["codec"] == values["encoder"] == values["path"] == {"other"}
    assert values["state"] == {"idle", "streaming", "failing", "other", "offline"}
    assert value(fleet, "hosts_left_out") == 25
    look(fleet, 2.0, new=frame())
    assert value(fleet, "hosts_left_out") == 1, "for one look, who was there keeps its place"
    look(fleet, 3.0, new=frame())
    assert value(fleet, "hosts_left_out") == 0, "who is offline gives way"


def test_before_the_first_whole_look_no_number_of_hosts_is_shown() -> None:
    """Else a restart while Redis is away says that every host has gone."""
    fleet = Fleet()
    fleet.note("desk", frame(), 1.0)
    assert value(fleet, "hosts", state="idle") is None
    fleet.complete(1.0)
    assert value(fleet, "hosts", state="idle") == 1


def test_a_frame_of_another_version_is_counted_and_shows_no_host() -> None:
    fleet = Fleet()
    look(fleet, 1.0, desk=b"\x81\xa7version\x02", junk=b"\xc1")
    assert value(fleet, "telemetry_total", outcome="invalid") == 2
    assert fleet.hosts == {}


@pytest.mark.parametrize(
    ("changes", "name", "reason"),
    [
        ({}, "healthy", "none"),
        ({"loss": None, "rtt_s": None}, "healthy", "none"),
        ({"loss": 0.02}, "degraded", "loss"),
        ({"loss": 0.10}, "failed", "loss"),
        ({"rtt_s": 0.12}, "degraded", "rtt"),
        ({"rtt_s": 0.5}, "failed", "rtt"),
        ({"jitter_s": 0.04}, "degraded", "jitter"),
        ({"stages_s": {"capture": 0.03, "encode": 0.03}}, "degraded", "latency"),
        ({"stages_s": {"send": 0.3}}, "failed", "latency"),
        ({"loss": 0.11, "rtt_s": 0.39}, "failed", "loss"),
        ({"loss": 0.03, "rtt_s": 0.3}, "degraded", "rtt"),
    ],
)
def test_a_verdict_has_the_reason_that_weighs_most(
    changes: dict[str, Any], name: str, reason: str
) -> None:
    verdict = judge(session(**changes), failing=False)
    assert (verdict.name, verdict.reason) == (name, reason)
    assert verdict in POSSIBLE
    assert judge(session(**changes), failing=True) == Verdict("failed", "host")


# With Redis


@contextlib.asynccontextmanager
async def running(redis_url: str) -> AsyncIterator[tuple[Exporter, str]]:
    """An exporter at a quick pace, and its address."""
    exporter = Exporter(Settings(redis_url=redis_url), PACE_S)
    with server.listen(Settings(port=0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with exporter.serving(listener):
            while not await asyncio.to_thread(answers, f"{url}/healthz"):  # noqa: ASYNC110
                await asyncio.sleep(PACE_S)
            yield exporter, url


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=SLOW_S) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def answers(url: str) -> bool:
    with contextlib.suppress(OSError):
        return get(url)[0] == 200
    return False


async def asked(url: str) -> tuple[int, str]:
    return await asyncio.to_thread(get, url)


async def shows(url: str, line: str) -> None:
    """Wait until a line is in /metrics."""
    deadline = asyncio.get_running_loop().time() + SLOW_S
    while line not in (text := (await asked(f"{url}/metrics"))[1]).splitlines():
        assert asyncio.get_running_loop().time() < deadline, f"no {line!r} in:\n{text}"
        await asyncio.sleep(PACE_S)


async def test_a_hosts_frame_is_shown_from_its_socket_to_the_page(
    node: RunningNode, redis_url: str
) -> None:
    async with running(redis_url) as (_, url):
        desk = await host(node.url, "desk")
        await desk.socket.send(frame(session()))
        await shows(url, 'tightbeam_fleet_host_rtt_seconds{host="desk"} 0.02')
        await shows(url, 'tightbeam_fleet_hosts{state="streaming"} 1')
        assert await asked(f"{url}/readyz") == (200, "ready\n")
        redis.Redis.from_url(redis_url).delete("tb:host:desk")
        await shows(url, 'tightbeam_fleet_hosts{state="offline"} 1')


async def test_a_web_page_that_rebinds_its_name_reads_no_names_of_hosts(redis_url: str) -> None:
    redis.Redis.from_url(redis_url).set("tb:host:desk", frame())
    async with running(redis_url) as (_, url):
        rebound = urllib.request.Request(f"{url}/metrics", headers={"Host": "evil.example"})
        with pytest.raises(urllib.error.HTTPError) as refusal:
            await asyncio.to_thread(urllib.request.urlopen, rebound, timeout=5)
        assert refusal.value.code == 403
        assert b"desk" not in refusal.value.read()
        refusal.value.close()


async def test_a_thousand_hosts_among_other_keys_are_all_found(redis_url: str) -> None:
    client = redis.Redis.from_url(redis_url)
    for number in range(1200):
        client.set(f"tb:host:d{number}", frame(uptime_s=float(number)))
        client.hset(f"tb:room:d{number}", "x", "y")
        client.set(f"other:tb:host:{number}", "z")
    async with running(redis_url) as (exporter, url):
        await until(lambda: exporter.fleet.totals.hosts["idle"] == 1200)
        text = (await asked(f"{url}/metrics"))[1]
        assert len(samples(text)) > 1200 * 5
        assert text.count("tightbeam_fleet_host_sessions{") == 1200


async def test_while_redis_is_away_it_serves_says_so_and_comes_back(tmp_path: Path) -> None:
    redis_server = RedisServer(tmp_path)
    with stopping(redis_server):
        redis_server.client.set("tb:host:desk", frame())
        async with running(redis_server.url) as (exporter, url):
            await shows(url, 'tightbeam_fleet_hosts{state="idle"} 1')
            await shows(url, "tightbeam_fleet_redis_up 1.0")
            redis_server.pause()
            await until(lambda: exporter._link.current().waits_s > 0, limit_s=SLOW_S)
            redis_server.stop()  # in the middle of a look, always: that one says why it is not whole
            await shows(url, "tightbeam_fleet_redis_up 0.0")
            # It does not call anybody offline whom it cannot see.
            await shows(url, 'tightbeam_fleet_hosts{state="idle"} 1')
            exporter._looked_at = (exporter._looked_at or 0.0) - 2 * app.STALE_S
            status, words = await asked(f"{url}/readyz")
            assert status == 503
            assert re.fullmatch(
                r"not ready: the last whole look at Redis is \d+ s old: .*connection .* lost\n",
                words,
            )
            assert await asked(f"{url}/healthz") == (200, "ok\n")
            redis_server.start()
            await shows(url, "tightbeam_fleet_redis_up 1.0")
            await shows(url, 'tightbeam_fleet_hosts{state="offline"} 1')
            assert (await asked(f"{url}/readyz"))[0] == 200


async def test_its_end_is_not_lost_when_redis_comes_back_at_that_moment(redis_url: str) -> None:
    exporter = Exporter(Settings(redis_url=redis_url), 60.0)
    link = asyncio.create_task(exporter._link.run())
    looking = asyncio.create_task(exporter._look())
    await until(lambda: exporter._looked_at)
    await asyncio.sleep(PACE_S)
    exporter._back.set()
    looking.cancel()
    await asyncio.wait([looking], timeout=support.LIMIT_S)
    assert looking.cancelled()
    link.cancel()
    await asyncio.wait([link])


async def test_a_refusal_of_redis_is_said_in_its_words(tmp_path: Path) -> None:
    redis_server = RedisServer(tmp_path)
    with stopping(redis_server):
        rule = "on >pw ~tb:host:* -@all +ping +select +info|server +role +mget"
        redis_server.command("ACL", "SETUSER", "eyes", *rule.split())
        eyes = redis_server.url.replace("//", "//eyes:pw@")
        async with running(eyes) as (exporter, url):
            await until(lambda: exporter._words)
            status, words = await asked(f"{url}/readyz")
            assert status == 503
            assert "scan" in words.lower()
            assert "pw" not in words


async def test_the_rule_for_a_user_of_its_own_is_enough_and_the_least(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "redis.md").read_text()
    (rule,) = re.findall(r"^user tightbeam-exporter (.*)$", page, re.MULTILINE)
    redis_server = RedisServer(tmp_path)
    with stopping(redis_server):
        redis_server.command("ACL", "SETUSER", "eyes", *rule.replace("PASSWORD", "pw").split())
        redis_server.client.set("tb:host:desk", frame())
        async with running(redis_server.url.replace("//", "//eyes:pw@")) as (_, url):
            await shows(url, 'tightbeam_fleet_hosts{state="idle"} 1')
        eyes = redis.Redis(port=redis_server.port, username="eyes", password="pw")
        with pytest.raises(redis.exceptions.NoPermissionError):
            eyes.get("tb:secret")
        with pytest.raises(redis.exceptions.NoPermissionError):
            eyes.mget(["tb:secret"])


async def test_the_primary_is_found_by_sentinel(tmp_path: Path) -> None:
    primary = RedisServer(tmp_path)
    sentinel = Sentinel(tmp_path, primary)
    with stopping(primary, sentinel):
        primary.client.set("tb:host:desk", frame())
        async with running(sentinel.primary_url) as (_, url):
            await shows(url, 'tightbeam_fleet_hosts{state="idle"} 1')


# The command


@contextlib.contextmanager
def command(**env: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "cluster.cli", "fleet-exporter"],
        env=dict(os.environ) | env,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_the_command_shares_a_nodes_environment_and_ends_by_sigterm(redis_url: str) -> None:
    port = free_port()
    shared = {"REDIS_URL": redis_url, "PORT": str(port), "ENABLE_AUTH": "true", "HEALTH_PORT": "1"}
    with command(**shared) as process:
        eventually(lambda: answers(f"http://127.0.0.1:{port}/readyz"), "the exporter", SLOW_S)
        process.send_signal(signal.SIGTERM)
        assert process.wait(SLOW_S) == 0


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"REDIS_URL": "", "PORT": "0"}, "REDIS_URL: the exporter reads the Redis of the cluster"),
        ({"REDIS_URL": "http://x", "PORT": "0"}, "REDIS_URL: expected one of"),
        ({"REDIS_URL": "redis://x", "PORT": "x"}, "PORT: expected a whole number"),
    ],
)
def test_what_cannot_be_used_is_refused_in_words(env: dict[str, str], words: str) -> None:
    with command(**env) as process:
        assert process.wait(SLOW_S) == 1
        assert process.stderr is not None
        assert words in process.stderr.read()


def test_every_label_has_a_closed_set_and_every_name_the_prefix() -> None:
    fleet = Fleet()
    look(fleet, 1.0, desk=frame(session(), cpu=0.1, gpu=0.1, gpu_encoder=0.1))
    for name, labels in samples(exposition(fleet).decode()):
        assert name.startswith("tightbeam_fleet_")
        keys = {key for key, _ in labels}
        assert not keys & {"room", "peer", "address"}
        assert "host" not in keys or name.startswith("tightbeam_fleet_host_")
    assert "x264" in ENCODERS
