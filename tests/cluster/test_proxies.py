"""Whose word counts about a client's address and about TLS: a table, and anything a client may send."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.proxies import UNKNOWN, Client, Proxies, networks, parse_address
from tests.fuzz import fuzz_cases

FOR, PROTO = "x-forwarded-for", "x-forwarded-proto"
TRUSTED = Proxies(networks("10.0.0.0/8, 192.0.2.1, fd00::/8"))


def client(
    proxies: Proxies, peer: str | None, *lines: tuple[str, str], tls: bool = False
) -> Client:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in lines]
    return proxies.client(peer, headers, tls=tls)


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "address"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),  # no proxy of ours: not believed
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        (
            "10.0.0.1",
            ["6.6.6.6, 198.51.100.1"],
            "198.51.100.1",
        ),  # what the client made up is to the left
        ("10.0.0.1", ["6.6.6.6", "198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1, 10.9.9.9"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1, 192.0.2.1,10.9.9.9"], "198.51.100.1"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),  # somebody inside
        ("10.0.0.1", ["198.51.100.1, rubbish"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1, "], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1, rubbish, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["unknown"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1:x"], "10.0.0.1"),
        ("10.0.0.1", ["[2001:db8:1:2:3::4]:4711"], "2001:db8:1:2::/64"),
        ("10.0.0.1", ["[2001:db8:1:2:3::4]"], "2001:db8:1:2::/64"),
        ("10.0.0.1", ["[2001:db8:1:2:3::4]x"], "10.0.0.1"),
        ("10.0.0.1", ["2001:db8:1:2:ffff::4"], "2001:db8:1:2::/64"),
        ("10.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["fe80::1%" + "x" * 40], "fe80::/64"),
        ("10.0.0.1", ["fe80::1%" + "x" * 400], "10.0.0.1"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),  # a listener of both families
        ("fd00::1", ["198.51.100.1"], "198.51.100.1"),
        ("2001:db8::1", ["198.51.100.1"], "2001:db8::/64"),
        (None, ["198.51.100.1"], UNKNOWN),
        ("", ["198.51.100.1"], UNKNOWN),
    ],
)
def test_address_is_the_last_that_a_trusted_hop_names(
    peer: str | None, forwarded_for: list[str], address: str
) -> None:
    lines = [(FOR, line) for line in forwarded_for]
    assert client(TRUSTED, peer, *lines).address == address


def test_nobody_is_trusted_unless_configured() -> None:
    for peer in ("127.0.0.1", "10.0.0.1", "::1"):
        got = client(Proxies(), peer, (FOR, "198.51.100.1"), (PROTO, "https"))
        assert got.address in ("127.0.0.1", "10.0.0.1", "::/64")
        assert not got.came_by_tls
        assert client(Proxies(), peer, (PROTO, "http"), tls=True).came_by_tls


@pytest.mark.parametrize(
    ("forwarded_for", "protocols", "own", "tls"),
    [
        ("198.51.100.1", [], False, False),
        ("198.51.100.1", [], True, True),  # the proxy's own connection, where it says nothing
        ("198.51.100.1", ["https"], False, True),
        ("198.51.100.1", ["WSS"], False, True),
        ("198.51.100.1", ["http"], True, False),
        (
            "198.51.100.1",
            ["https, http"],
            False,
            False,
        ),  # made up by the client, appended by the proxy
        ("198.51.100.1", ["https", "http"], False, False),
        ("198.51.100.1, 10.0.0.2", ["https, http"], False, True),  # TLS ends at the outer proxy
        ("198.51.100.1, 10.0.0.2", ["http, https"], False, False),
        ("198.51.100.1, 10.0.0.2", ["https"], False, True),  # only the inner proxy speaks
        ("198.51.100.1", ["rubbish"], True, False),
        ("", ["https"], False, True),
    ],
)
def test_tls_is_what_the_proxy_next_to_the_client_saw(
    forwarded_for: str, protocols: list[str], own: bool, tls: bool
) -> None:
    lines = [(FOR, forwarded_for)] + [(PROTO, line) for line in protocols]
    assert client(TRUSTED, "10.0.0.1", *lines, tls=own).came_by_tls is tls


def test_networks_are_checked() -> None:
    assert networks("") == ()
    assert networks("10.0.0.0/8, ::1") == (ip_network("10.0.0.0/8"), ip_network("::1/128"))
    for wrong in ("proxy.example", "10.0.0.1/8", "10.0.0.0/33", "*"):
        with pytest.raises(ValueError, match=re.escape(wrong.partition("/")[0])):
            networks(wrong)


ADDRESSES = st.ip_addresses().map(str)
ENTRIES = ADDRESSES | ADDRESSES.map("[{}]:1".format) | st.text(st.characters(max_codepoint=255))
VALUES = st.lists(ENTRIES, max_size=20).map(",".join)
LINES = st.lists(st.tuples(st.sampled_from([FOR, PROTO, "forwarded"]), VALUES), max_size=4)
COUNTED = re.compile(r"unknown|[0-9.]{7,15}|[0-9a-f:]{2,39}/64")


@fuzz_cases(1000)
@given(peer=st.none() | ADDRESSES | st.text(max_size=20), lines=LINES, tls=st.booleans())
def test_any_headers_give_an_address_that_is_safe_in_a_key(
    peer: str | None, lines: list[tuple[str, str]], tls: bool
) -> None:
    got = client(TRUSTED, peer, *lines, tls=tls)
    assert COUNTED.fullmatch(got.address)
    assert client(Proxies(), peer, *lines, tls=tls) == client(Proxies(), peer, tls=tls)


@fuzz_cases(1000)
@given(real=st.ip_addresses(), made_up=LINES)
def test_what_a_client_makes_up_never_stands_for_its_address(
    real: object, made_up: list[tuple[str, str]]
) -> None:
    """Whatever it sends, the proxy appends where it really comes from; unless that is within our networks."""
    address = parse_address(str(real))
    if client(TRUSTED, str(real)) != client(TRUSTED, str(real), (FOR, "198.51.100.1")):
        return
    got = client(TRUSTED, "10.0.0.1", *made_up, (FOR, str(real)), (PROTO, "http"))
    assert got == client(Proxies(), str(address))


@fuzz_cases(1000)
@given(st.text(max_size=80))
def test_an_address_is_parsed_or_none(text: str) -> None:
    address = parse_address(text)
    assert address is None or ip_address(str(address)) == address
