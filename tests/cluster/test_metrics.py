"""The node's metrics: true after churn, exact where they count, and the page that lists them."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.requests import Request

from cluster import metrics
from cluster.exporter.app import Exporter
from cluster.protocol.telemetry import SessionFigures, Telemetry, encode
from cluster.settings import Settings
from tests.cluster import support
from tests.cluster.support import RunningNode, hello, host, plain, receive, sample, until
from tests.redis_server import RedisServer, stopping

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
NODE, FLEET = PAGE.read_text().split("## The fleet")
ROW = re.compile(r"^\| `(\w+)` \| (\w+) \| ([^|]*) \| (.+) \|$", re.MULTILINE)
GAUGES = ("tightbeam_websocket_connections", "tightbeam_websockets", "tightbeam_rooms")


@pytest.fixture
async def pair(redis_url: str) -> AsyncIterator[tuple[RunningNode, RunningNode]]:
    settings = support.base_settings(redis_url, pairing=False, drain_s=0.5)
    async with support.node(settings) as one, support.node(settings) as two:
        yield one, two


def _relays() -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for family in metrics.REGISTRY.collect():
        for entry in family.samples:
            if entry.name == "tightbeam_messages_total":
                found[entry.labels["type"], entry.labels["path"]] = int(entry.value)
    return found


def _standing() -> dict[str, float]:
    """What the gauges of sockets and rooms say now."""
    return {
        f"{entry.name}{entry.labels}": entry.value
        for family in metrics.REGISTRY.collect()
        if family.name in GAUGES
        for entry in family.samples
        if entry.value
    }


async def test_relays_are_counted_exactly_by_type_and_way(
    pair: tuple[RunningNode, RunningNode],
) -> None:
    here, there = pair
    before = _relays()
    desk, near, far = await host(here.url), await hello(here.url), await hello(there.url)
    for _ in range(2):
        await desk.get("peer-joined")
    for peer, times in ((near, 3), (far, 5)):
        for _ in range(times):
            await peer.sync(desk.id)
            await desk.get("sync")
            await desk.sync(peer.id)
            await peer.get("sync")
    await near.sync("A" * 22)  # to nobody: not counted
    await near.get("error")
    await near.sync(desk.id, **{"from": far.id})  # not its own name: not counted
    await near.get("error")
    assert _relays() - before == {("sync", "local"): 6, ("sync", "remote"): 10}

    before = _relays()
    one, two = await plain(here.url, "p"), await plain(here.url, "p")
    offer = json.dumps({"type": "offer", "sdp": "v=0"})
    candidate = json.dumps({"type": "candidate", "candidate": ""})
    await one.send(offer)
    await receive(two)
    for _ in range(4):
        await two.send(candidate)
        await receive(one)
    assert _relays() - before == {("offer", "local"): 1, ("candidate", "local"): 4}


async def test_plain_relays_are_counted_on_both_ways_and_to_a_host(
    pair: tuple[RunningNode, RunningNode],
) -> None:
    here, there = pair
    before = _relays()
    one, two = await plain(here.url, "q"), await plain(there.url, "q")
    for kind in ("offer", "answer"):
        await one.send(json.dumps({"type": kind, "sdp": "v=0"}))
        await receive(two)
    await two.send(json.dumps({"type": "control", "action": "x"}))
    await receive(one)
    assert _relays() - before == {
        ("offer", "remote"): 1,
        ("answer", "remote"): 1,
        ("control", "remote"): 1,
    }

    before = _relays()
    desk, guest = await host(here.url, "mixed"), await plain(there.url, "mixed")
    joined = await desk.get("peer-joined")
    await guest.send(json.dumps({"type": "offer", "sdp": "v=0"}))
    await desk.get("offer")
    await desk.send(type="answer", sdp="v=0", to=joined["peer"], **{"from": desk.id})
    await receive(guest)
    assert _relays() - before == {("offer", "remote"): 1, ("answer", "remote"): 1}


async def _churn(here: RunningNode, there: RunningNode, number: int) -> None:
    """Every way in and out."""
    room = f"r{number}"
    desk, page = await host(here.url, room), await hello(there.url, room)
    await host(there.url, room)  # refused: there is one
    await hello(here.url, room, session="not.a.token")  # refused
    back = await hello(here.url, room, resume=page.welcome["resume"])  # supersedes
    await support.closing(page.socket)
    viewer = await hello(there.url, room, role="viewer")
    one, two = await plain(here.url, f"p{number}"), await plain(there.url, f"p{number}")
    full = await plain(there.url, f"p{number}")
    assert (await support.closing(full))[1] == "Room is full"
    await support.closing(await plain(here.url, "not%20a%20room"))
    unborn = await support.open_socket(here.url)  # never says hello
    guest = await plain(there.url, room)
    assert _standing()
    match number % 3:
        case 0:
            for client in (one, two, guest, back.socket, viewer.socket, desk.socket, unborn):
                client.transport.abort()
        case 1:
            await desk.leave()
            await back.leave()
            for client in (one, two, guest, unborn):
                await client.close()
        case _:
            one.transport.abort()  # the rest is there when the drain begins


async def test_gauges_are_zero_after_churn_and_a_drain(
    pair: tuple[RunningNode, RunningNode],
) -> None:
    here, there = pair
    assert _standing() == {}
    before = sum(_closes().values())
    for number in range(6):
        await _churn(here, there, number)
    for running in pair:
        running.server.stop()
        assert sample("tightbeam_draining") == 1
        assert 0 < sample("tightbeam_drain_deadline_timestamp_seconds") - time.time() <= 0.5
    await until(lambda: not here.service.door.sessions and not there.service.door.sessions)
    await until(lambda: _standing() == {})
    await until(lambda: sample("tightbeam_draining") == 0)
    assert sample("tightbeam_drain_deadline_timestamp_seconds") == 0
    assert sum(_closes().values()) - before == 6 * 12  # every socket was closed once
    for running in pair:
        assert running.service.node.rooms == {}
        assert running.service.node.sessions == {}
    text = metrics.exposition().decode()
    assert not re.search(r'="(r|p)\d"', text), "a room is a label"


def _closes() -> dict[str, float]:
    return {
        entry.labels["code"]: entry.value
        for family in metrics.REGISTRY.collect()
        if family.name == "tightbeam_websocket_closes"
        for entry in family.samples
        if entry.name.endswith("_total")
    }


async def test_a_redis_that_stands_still_is_no_subscription(tmp_path: Path) -> None:
    frozen = RedisServer(tmp_path)
    with stopping(frozen):
        async with support.node(support.base_settings(frozen.url)) as running:

            async def subscribed() -> str:
                text = (
                    await running.service.metrics(Request({"type": "http", "headers": []}))
                ).body
                (line,) = re.findall(rb"^tightbeam_redis_subscribed (.+)$", text, re.MULTILINE)
                return str(line.decode())

            assert await subscribed() == "1.0"
            frozen.pause()
            await until(lambda: not running.service.store.up)
            assert running.service.bus.up, "its connection is open still"
            assert await subscribed() == "0.0"
            frozen.resume()


async def test_a_node_renews_its_lease_with_every_beat(node: RunningNode) -> None:
    before = sample("tightbeam_leases_renewed_total")
    await until(lambda: sample("tightbeam_leases_renewed_total") >= before + 3)


def _known() -> dict[str, tuple[str, frozenset[str]]]:
    """Name, as it is scraped, to type and labels."""
    known: dict[str, tuple[str, frozenset[str]]] = {}
    for collector in metrics.REGISTRY._collector_to_names:
        for family in collector.collect():
            name = family.name + ("_total" if family.type == "counter" else "")
            known[name] = (family.type, frozenset(_labels(collector)))
    return known


def _labels(collector: Any) -> tuple[str, ...]:
    if isinstance(collector, metrics.Tally):
        return collector._family[2]
    if collector is metrics.PROCESS:
        return ()
    names: tuple[str, ...] = collector._labelnames
    return names


def _closed_set(name: str, label: str) -> set[str]:
    """The label's values that exist before anything has happened."""
    return {
        entry.labels[label]
        for family in metrics.REGISTRY.collect()
        for entry in family.samples
        if entry.name == name
    }


def test_the_page_lists_every_metric_as_it_is() -> None:
    listed = {name: (kind, labels) for name, kind, labels, _ in ROW.findall(NODE)}
    known = _known()
    assert listed.keys() == known.keys()
    for name, (kind, labels) in listed.items():
        assert kind == known[name][0], name
        assert {match[0] for match in _label_rows(labels)} == known[name][1], name


def test_the_page_lists_the_values_of_every_counters_labels() -> None:
    for name, kind, labels, _ in ROW.findall(NODE):
        for label, values in _label_rows(labels):
            if kind == "counter":
                listed = {value.strip("` ") for value in values.split(",")}
                assert listed == _closed_set(name, label), f"{name}{{{label}}}"


def test_the_page_lists_every_metric_of_the_exporter_as_it_is() -> None:
    exporter = Exporter(Settings(redis_url="redis://127.0.0.1"))
    whole = SessionFigures(
        *("h264", "x264", "direct", "hold", 1, 1, 1.0, 1.0, 1.0),
        *({"encode": 0.1}, {"replaced": 1}, 1.0, 0.1, 0.1, 0.1, 1, {"click_to_photon": 0.03}),
    )
    desk = Telemetry("0.1.0", "streaming", 1.0, (whole,), 0.1, 0.1, 0.1)
    exporter.fleet.note("desk", encode(desk), 1.0)
    exporter.fleet.complete(1.0)
    text = exporter.exposition().decode()
    found: dict[str, tuple[str, set[str]]] = {}
    for family in text_string_to_metric_families(text):
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = {label for entry in family.samples for label in entry.labels} - {"le"}
        by_process = name.startswith("tightbeam_fleet_process_")
        if not name.endswith("_created") and (not by_process or name.endswith("_total")):
            found[name] = (family.type, labels)
    listed = {
        name: (kind, set(re.findall(r"`(\w+)`", re.sub(r"\([^)]*\)", "", labels))))
        for name, kind, labels, _ in ROW.findall(re.sub(r"\]\([^)]*\)", "]", FLEET))
    }
    assert listed == found


def _label_rows(labels: str) -> list[tuple[str, str]]:
    """`name` (`value`, `value`); separated by semicolons."""
    return re.findall(r"`(\w+)` \(([^)]*)\)", labels)


def test_every_name_has_the_prefix_and_a_base_unit() -> None:
    for name, (kind, labels) in _known().items():
        assert name.startswith("tightbeam_")
        assert not labels & {"room", "peer", "connection", "address", "host"}, name
        assert not name.endswith(("_ms", "_milliseconds", "_kb")), name
        if kind == "histogram":
            assert name.endswith(("_seconds", "_bytes", "_commands")), name


def test_what_is_scraped_is_what_the_registry_has() -> None:
    text = metrics.exposition().decode()
    for name in _known():
        assert f"# HELP {name} " in text or f"# HELP {name.removesuffix('_total')} " in text


def test_every_script_of_redis_has_its_series_from_the_start() -> None:
    """A node had more series after its first `reap` than before, and a soak found what never went."""
    from cluster.store.redis import SCRIPTS

    page = metrics.exposition().decode()
    for script in SCRIPTS:
        assert f'tightbeam_redis_script_seconds_count{{script="{script}"}}' in page
