"""Candidates and servers as the wire has them, for aioice."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.transport.candidates import IceServer, addresses, from_wire, ice_servers, to_wire
from cluster.protocol.messages import Candidate
from tests.fuzz import fuzz_cases

HOST = "candidate:1 1 udp 2113937151 192.0.2.2 36798 typ host generation 0 ufrag z6ce network-id 1"


def test_a_browsers_candidate_is_read_and_written() -> None:
    parsed = from_wire(Candidate(HOST, "0", 0))
    assert parsed is not None
    assert (parsed.host, parsed.port, parsed.type) == ("192.0.2.2", 36798, "host")
    again = to_wire(parsed, "0")
    assert again.candidate.startswith("candidate:1 1 udp 2113937151 192.0.2.2 36798 typ host")
    assert (again.sdp_mid, again.sdp_mline_index) == ("0", 0)


@pytest.mark.parametrize(
    "text",
    [HOST.replace("udp", "tcp"), HOST.replace("1 1 udp", "1 2 udp"), HOST.replace("36798", "0")],
)
def test_what_aioice_cannot_use_is_left_out(text: str) -> None:
    assert from_wire(Candidate(text)) is None


@given(st.text(max_size=100))
@fuzz_cases(500)
def test_nonsense_raises_value_error_only(text: str) -> None:
    with contextlib.suppress(ValueError):
        from_wire(Candidate(text))


def test_servers_of_a_welcome_become_addresses() -> None:
    servers = ice_servers(
        [
            {"urls": "stun:stun.example:19302"},
            {
                "urls": ["turn:turn.example?transport=udp", "turns:turn.example?transport=tcp"],
                "username": "user",
                "credential": "secret",
            },
            {"urls": []},
            {"urls": ["https://nonsense"]},
        ]
    )
    usable = addresses(servers)
    assert [(a.kind, a.host, a.port, a.transport, a.tls) for a in usable] == [
        ("stun", "stun.example", 19302, "udp", False),
        ("turn", "turn.example", 3478, "udp", False),
        ("turn", "turn.example", 5349, "tcp", True),
    ]
    assert "secret" not in repr(servers) + repr(usable)
    assert addresses([IceServer(("turns:x?transport=udp", "stuns:y"))]) == ()
