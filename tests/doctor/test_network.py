"""STUN, TURN and the kind of NAT, with a real coturn; behind real NATs where network namespaces can be made."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from agent.doctor.network import server_checks
from agent.doctor.report import Check
from agent.transport.candidates import ServerAddress
from agent.transport.nat import classify, explore
from cluster import turn
from cluster.protocol.messages import PeerId
from tests.agent.process import ROOT
from tests.coturn import SECRET, Coturn, coturn
from tests.outages.network import NAMESPACES_NEED, Namespace, _run, namespaces_work
from tests.ports import free_port, free_udp_range, udp_taken

LOCAL = "127.0.0.1"
INSIDE = "192.168.77.2"
"""Our address behind the NAT."""


def relay(server: Coturn, **changes: Any) -> ServerAddress:
    """The server as a node names it."""
    username, password = turn.credential(SECRET, PeerId("peer"), int(time.time()) + 600)
    address = ServerAddress("turn", LOCAL, server.port, username=username, credential=password)
    return replace(address, **changes)


def by_name(rows: list[Check]) -> dict[str, Check]:
    return {row.name: row for row in rows}


def test_the_kind_of_nat_by_what_servers_see() -> None:
    own = {("10.0.0.2", 5000)}
    a, b, c = ("1.1.1.1", 3478), ("2.2.2.2", 3478), ("1.1.1.1", 3479)
    seen, other = ("9.9.9.9", 5000), ("9.9.9.9", 5001)
    assert classify({}, own) == "unknown"
    assert classify({a: ("10.0.0.2", 5000)}, own) == "none"
    assert classify({a: seen}, own) == "unknown"
    assert classify({a: seen, c: seen}, own) == "unknown"
    assert classify({a: seen, b: seen}, own) == "endpoint-independent"
    assert classify({a: seen, b: other}, own) == "address-dependent"
    assert classify({a: seen, c: other}, own) == "address-dependent"


async def test_a_server_with_two_addresses_tells_mapping_and_filtering() -> None:
    with coturn(addresses=(LOCAL, "127.0.0.2")) as server:
        found = await explore([(LOCAL, server.port)])
    assert found.mapping == "none"
    assert found.filtering == "endpoint-independent"
    assert len(found.answered) == 3


async def test_servers_that_do_not_answer_or_refuse_are_told_in_words() -> None:
    with coturn() as server:
        dead = free_port()
        rows = by_name(
            await server_checks(
                [
                    ServerAddress("turn", LOCAL, server.port, username="1:x", credential="wrong"),
                    relay(server, port=server.tls_port, transport="tcp", tls=True),
                    ServerAddress("stun", LOCAL, dead),
                    ServerAddress("stun", "nobody.invalid", 3478),
                ]
            )
        )
    assert "refuses the node's credential (401)" in rows[f"turn:{LOCAL}:{server.port}"].words
    secure = rows[f"turns:{LOCAL}:{server.tls_port}?transport=tcp"]
    assert "certificate is not trusted" in secure.words
    assert "may drop UDP" in rows[f"stun:{LOCAL}:{dead}"].words
    assert "not known" in rows["stun:nobody.invalid:3478"].words
    assert {row.state for name, row in rows.items() if name != "nat"} == {"fails"}
    assert rows["nat"].state == "works"  # the TURN server answers STUN, whoever asks


async def test_a_network_without_udp_is_told_and_the_relay_by_tcp_noted() -> None:
    with coturn("no-udp") as server:
        rows = by_name(await server_checks([relay(server, transport="tcp"), relay(server)]))
    assert rows[f"turn:{LOCAL}:{server.port}?transport=tcp"].state == "works"
    assert rows[f"turn:{LOCAL}:{server.port}"].state == "fails"
    assert rows["nat"].state == "fails"
    assert "lets no UDP out; the relay by TCP or TLS works" in rows["nat"].words


async def test_the_servers_are_asked_from_the_ports_of_sessions_and_from_others_when_all_are_taken() -> (
    None
):
    first, last = free_udp_range(2)
    with coturn() as server:
        name = f"stun:{LOCAL}:{server.port}"
        asked = [ServerAddress("stun", LOCAL, server.port)]
        seen = by_name(await server_checks(asked, (first, last)))
        assert seen[name].words in {f"sees this host as {LOCAL}:{port}" for port in (first, last)}
        with udp_taken(first, last):
            rows = by_name(await server_checks(asked, (first, last)))
    assert "udp_ports" not in seen
    assert rows["udp_ports"].state == "fails"
    assert f"no UDP port from {first} to {last} is free" in rows["udp_ports"].words
    assert (rows[name].state, rows["nat"].state) == ("works", "works")


@contextmanager
def behind_a_nat(*how: str) -> Iterator[tuple[Namespace, str]]:
    """A machine whose address is INSIDE, and a second address of ours that it can reach."""
    with Namespace() as there:
        second = there.here.removesuffix(".1") + ".5"
        _run("ip", "address", "add", f"{second}/32", "dev", there._cable)
        inside = there.prefix
        _run(*inside, "ip", "address", "add", f"{INSIDE}/32", "dev", "lo")
        network = there.here.removesuffix(".1") + ".0/30"
        _run(*inside, "ip", "route", "replace", network, "dev", "eth0", "src", INSIDE)
        via = ("via", there.here, "dev", "eth0", "src", INSIDE)
        _run(*inside, "ip", "route", "add", "default", *via)
        nat = ("iptables", "-t", "nat", "-A", "POSTROUTING", "-o", "eth0", "-j", "MASQUERADE")
        _run(*inside, *nat, *how)
        new = ("-m", "conntrack", "--ctstate", "NEW", "-j", "DROP")
        _run(*inside, "iptables", "-A", "INPUT", "-i", "eth0", *new)
        yield there, second


@pytest.mark.skipif(not namespaces_work(), reason=NAMESPACES_NEED)
@pytest.mark.parametrize(
    ("how", "mapping"), [((), "endpoint-independent"), (("--random-fully",), "address-dependent")]
)
def test_the_kind_of_a_real_nat(how: tuple[str, ...], mapping: str) -> None:
    code = (
        "import asyncio, json, sys; from agent.transport.nat import explore\n"
        "found = asyncio.run(explore([(sys.argv[1], int(sys.argv[2]))]))\n"
        "print(json.dumps([found.mapping, found.filtering, list(found.answered.values())]))"
    )
    with (
        behind_a_nat(*how) as (there, second),
        coturn(addresses=(there.here, second)) as server,
    ):
        command = (*there.prefix, sys.executable, "-c", code, there.here, str(server.port))
        said = subprocess.check_output(command, cwd=ROOT, text=True, timeout=60)
    found, filtering, seen = json.loads(said)
    assert {host for host, _ in seen} == {there.there}
    assert found == mapping
    assert filtering == "address-and-port-dependent"
