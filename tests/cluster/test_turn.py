"""TURN credentials: whom the node gives them to, that a real coturn takes them, and for how long."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from aioice import stun, turn
from hypothesis import given
from hypothesis import strategies as st

from cluster import metrics
from cluster.protocol.messages import PeerId
from cluster.settings import SettingsError, load
from cluster.turn import check_url, credential, ice_servers
from tests.cluster import support
from tests.cluster.support import hello, host
from tests.coturn import SECRET, Coturn, coturn
from tests.fuzz import fuzz_cases

PEER = PeerId("A" * 22)
WAYS = ("udp", "tcp", "tls")
URL = re.compile(
    r"(?P<scheme>turns?):(?P<host>[0-9.]+):(?P<port>\d+)(\?transport=(?P<transport>\w+))?"
)
USERNAME = re.compile(r"(\d{10}):([A-Za-z0-9_-]{16})")


@pytest.fixture(scope="module")
def server() -> Iterator[Coturn]:
    with coturn() as running:
        yield running


@pytest.mark.parametrize(
    "url",
    [
        "stun:stun.example.org",
        "stuns:stun.example.org:5349",
        "turn:10.0.0.1:3478?transport=udp",
        "turns:turn.example.org:443?transport=tcp",
        "turn:[2001:db8::1]:3478",
    ],
)
def test_a_url_of_a_server_is_taken(url: str) -> None:
    assert load(None, {"TURN_URLS": url, "TURN_SECRET": SECRET}).turn_urls == (url,)


@pytest.mark.parametrize(
    "url",
    [
        "turn.example.org",
        "http://turn.example.org",
        "turn://turn.example.org",
        "turn:",
        "turn:host:0",
        "turn:host:65536",
        "turn:host?transport=sctp",
        "stun:host?transport=udp",
        "turn:user@host",
        "turn:ho st",
        "turn:höst",
    ],
)
def test_a_url_that_browsers_refuse_is_refused_at_start(url: str) -> None:
    with pytest.raises(SettingsError, match="TURN_URLS"):
        load(None, {"TURN_URLS": f"stun:fine,{url},stun:fine", "TURN_SECRET": SECRET})


def test_at_most_eight_urls() -> None:
    with pytest.raises(SettingsError, match="TURN_URLS: expected at most 8"):
        load(None, {"TURN_URLS": ",".join(f"stun:host{n}" for n in range(9))})


@pytest.mark.parametrize("secret", [None, "short"])
def test_a_relay_without_a_long_secret_is_refused(secret: str | None) -> None:
    environment = {"TURN_URLS": "stun:a,turn:a"} | ({"TURN_SECRET": secret} if secret else {})
    with pytest.raises(SettingsError, match="TURN_SECRET: expected at least 32") as refused:
        load(None, environment)
    assert "short" not in str(refused.value)
    assert load(None, {"TURN_URLS": "stun:a"}).turn_urls == ("stun:a",)


def test_the_secret_does_not_show_in_a_repr() -> None:
    assert SECRET not in repr(load(None, {"TURN_URLS": "turn:a", "TURN_SECRET": SECRET}))


@fuzz_cases(1000)
@given(st.text(max_size=60) | st.from_regex(r"(turn|stun)s?:\S{0,20}", fullmatch=True))
def test_a_url_is_taken_whole_or_refused(url: str) -> None:
    try:
        assert check_url(url) == url
    except ValueError:
        return
    assert re.fullmatch(r"[!-~]+", url)


def test_a_name_is_one_peers_for_its_life_and_says_nothing() -> None:
    first, again = credential(SECRET, PEER, 1000)[0], credential(SECRET, PEER, 2000)[0]
    other = credential(SECRET, PeerId("B" * 22), 1000)[0]
    elsewhere = credential(SECRET[::-1], PEER, 1000)[0]
    names = [username.split(":")[1] for username in (first, again, other, elsewhere)]
    assert names[0] == names[1]
    assert len(set(names)) == 3
    assert PEER not in first


def test_the_credential_is_that_of_the_turn_rest_draft() -> None:
    """Made once with: printf 1700000000:NAME | openssl dgst -sha1 -hmac SECRET -binary | base64."""
    username, password = credential(SECRET, PEER, 1_700_000_000)
    assert (username, password) == ("1700000000:oJ0q-UvY5CnbqQox", "3vta/4Dgo6ORG5OuFTyzs/GBv4g=")


def test_stun_needs_no_credential() -> None:
    assert ice_servers((), None, PEER, 1) == ()
    assert ice_servers(("stun:a", "stuns:b"), SECRET, PEER, 1) == ({"urls": ["stun:a", "stuns:b"]},)
    free, relay = ice_servers(("turn:a", "stun:b", "turns:c"), SECRET, PEER, 1)
    assert free == {"urls": ["stun:b"]}
    assert relay["urls"] == ["turn:a", "turns:c"]
    assert set(relay) == {"urls", "username", "credential"}


def _settings(redis_url: str, url: str, **changes: Any) -> Any:
    urls = ("stun:127.0.0.1:3478", url)
    return support.base_settings(redis_url, turn_urls=urls, turn_secret=SECRET, **changes)


def _relay(message: dict[str, Any]) -> dict[str, Any]:
    relay: dict[str, Any] = message["iceServers"][1]
    return relay


class Inbox(asyncio.DatagramProtocol):
    """What came, and from where."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[tuple[bytes, Any]] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.messages.put_nowait((data, addr))


async def _allocate(
    server: Coturn, username: str, password: str, inbox: Inbox, url: str | None = None
) -> Any:
    """A relayed address, asked for as a client does that has this URL."""
    parts = URL.fullmatch(url or server.url)
    assert parts is not None
    transport, _ = await support.within_limit(
        turn.create_turn_endpoint(
            lambda: inbox,
            server_addr=(parts["host"], int(parts["port"])),
            username=username,
            password=password,
            transport=parts["transport"] or "udp",
            ssl=server.trusting if parts["scheme"] == "turns" else None,
        )
    )
    return transport


@pytest.mark.parametrize("way", WAYS)
async def test_a_welcomed_peer_relays_through_coturn(
    redis_url: str, server: Coturn, way: str
) -> None:
    before = metrics.TURN_CREDENTIALS._value.get()
    async with support.node(_settings(redis_url, server.urls[way])) as node:
        peer = await host(node.url)
        relay = _relay(peer.welcome)
        match = USERNAME.fullmatch(relay["username"])
        assert match is not None
        assert 0 < int(match[1]) - time.time() <= 600
        assert peer.welcome["iceServers"][0] == {"urls": ["stun:127.0.0.1:3478"]}
        assert metrics.TURN_CREDENTIALS._value.get() == before + 1

        inbox, far_inbox = Inbox(), Inbox()
        (url,) = relay["urls"]
        near = await _allocate(server, relay["username"], relay["credential"], inbox, url)
        loop = asyncio.get_running_loop()
        far, _ = await loop.create_datagram_endpoint(lambda: far_inbox, local_addr=("127.0.0.1", 0))
        near.sendto(b"there", far.get_extra_info("sockname"))
        payload, relayed = await support.within_limit(far_inbox.messages.get())
        assert payload == b"there"
        assert relayed == near.get_extra_info("sockname")
        far.sendto(b"and back", relayed)
        assert (await support.within_limit(inbox.messages.get()))[0] == b"and back"
        far.close()
        near.close()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("fault", ["expired", "prolonged", "another's name", "another secret"])
async def test_coturn_refuses_what_the_node_did_not_say(
    server: Coturn, fault: str, way: str
) -> None:
    now = int(time.time())
    username, password = credential(SECRET, PEER, now + 600)
    if fault == "expired":
        username, password = credential(SECRET, PEER, now - 1)
    elif fault == "prolonged":
        username = f"{now + 9000}:{username.split(':')[1]}"
    elif fault == "another's name":
        username = credential(SECRET, PeerId("B" * 22), now + 600)[0]
    else:
        password = credential(SECRET[::-1], PEER, now + 600)[1]
    with pytest.raises(stun.TransactionFailed) as refused:
        await _allocate(server, username, password, Inbox(), server.urls[way])
    assert refused.value.response.error_code == 401


async def test_a_quota_of_coturn_counts_a_peer_however_fresh_its_credentials_are() -> None:
    with coturn("user-quota=2") as server:
        now = int(time.time())
        mine = [credential(SECRET, PEER, now + life_s) for life_s in (300, 600, 900)]
        held = [await _allocate(server, *fresh, Inbox()) for fresh in mine[:2]]
        with pytest.raises(stun.TransactionFailed) as refused:
            await _allocate(server, *mine[2], Inbox())
        assert refused.value.response.error_code == 486  # RFC 8656 7.2: Allocation Quota Reached
        other = credential(SECRET, PeerId("B" * 22), now + 600)
        held.append(await _allocate(server, *other, Inbox(), server.urls["tls"]))
        for transport in held:
            transport.close()


async def test_a_relay_outlives_its_credential_and_its_nonce() -> None:
    """So a session of hours needs no new credential: coturn looks at its time at the allocation only."""
    with coturn("stale-nonce=1") as server:
        expires = int(time.time()) + 2
        near = await _allocate(server, *credential(SECRET, PEER, expires), Inbox())
        await support.until(lambda: time.time() > expires + 2)
        with pytest.raises(stun.TransactionFailed):
            await _allocate(server, *credential(SECRET, PEER, expires), Inbox())
        protocol = near._TurnTransport__inner_protocol
        nonce = protocol.nonce
        refresh = stun.Message(message_method=stun.Method.REFRESH, message_class=stun.Class.REQUEST)
        refresh.attributes["LIFETIME"] = 600
        response, _ = await support.within_limit(protocol.request_with_retry(refresh))
        assert response.attributes["LIFETIME"] == 600
        assert protocol.nonce != nonce
        near.close()


async def test_a_long_connection_is_given_fresh_credentials(redis_url: str) -> None:
    settings = _settings(redis_url, "turn:127.0.0.1:3478", turn_life_s=2)
    async with support.node(settings) as node:
        peer = await host(node.url)
        sets = [_relay(peer.welcome)]
        sets += [_relay(await peer.get("ice-servers")) for _ in range(2)]
        peer.socket.transport.abort()
        back = await hello(node.url, role="host", resume=peer.welcome["resume"])
        assert back.welcome["resumed"]
        sets.append(_relay(back.welcome))
        ends, names = zip(*(row["username"].split(":") for row in sets), strict=True)
        assert len(set(names)) == 1
        assert list(ends[:3]) == sorted(set(ends[:3]))
        assert ends[3] >= ends[2]
        assert len({row["credential"] for row in sets[:3]}) == 3


async def test_nobody_has_a_credential_without_a_welcome(redis_url: str) -> None:
    before = metrics.TURN_CREDENTIALS._value.get()
    async with support.node(_settings(redis_url, "turn:127.0.0.1:3478")) as node:
        refused = await hello(node.url)
        assert refused.welcome["code"] == "unauthorized"
        await support.plain(node.url)
        assert "iceServers" not in refused.welcome
    assert metrics.TURN_CREDENTIALS._value.get() == before
