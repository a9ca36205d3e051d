"""Metrics return to zero, settings, tokens, letters, and the first bytes of a session fuzzed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.auth import Grant, Signer, TokenRefused, covers
from cluster.bus import redis as bus
from cluster.bus.base import Forward, Letter, Notice
from cluster.credentials import Credentials
from cluster.limits import Limits
from cluster.node import Node
from cluster.plain import PlainSession
from cluster.protocol.closes import NOT_UTF8, Close
from cluster.protocol.messages import PeerId, RoomId
from cluster.proxies import UNKNOWN, networks
from cluster.room import Change, Left, Member, Moved, NodeId, Room, VersionGap
from cluster.server import listen
from cluster.session import Session, is_utf8
from cluster.settings import Settings, SettingsError, Timing, load
from tests.cluster import support
from tests.fuzz import fuzz_cases


def test_settings_flag_beats_environment_beats_default() -> None:
    assert load(None, {}).port == 8080
    assert load(None, {"WS_PORT": "1", "PORT": "2"}).port == 2
    assert load(None, {"PORT": "2", "TIGHTBEAM_PORT": "3"}).port == 3

    class Flags:
        port = 4

    assert load(Flags(), {"TIGHTBEAM_PORT": "3"}).port == 4  # type: ignore[arg-type]
    assert load(None, {"HEARTBEAT_INTERVAL_MS": "2500"}).heartbeat_s == 2.5
    assert load(None, {"ROOM_TTL_SECONDS": "60"}).timing == Timing(room_life_s=60)
    assert load(None, {"ALLOWED_ORIGINS": "https://a, https://b"}).allowed_origins == (
        "https://a",
        "https://b",
    )
    limits = {
        "RATE_LIMIT_MESSAGES_PER_10S": "1",
        "RATE_LIMIT_IP_MSGS_PER_10S": "2",
        "RATE_LIMIT_ROOM_MSGS_PER_10S": "3",
        "RATE_LIMIT_CONN_PER_10S": "4",
    }
    chosen = load(None, limits)
    assert (chosen.messages_per_10s, chosen.ip_messages_per_10s) == (1, 2)
    assert (chosen.room_messages_per_10s, chosen.connections_per_10s) == (3, 4)
    assert load(None, {"TIGHTBEAM_TRUSTED_PROXIES": "10.0.0.0/8"}).trusted_proxies == networks(
        "10.0.0.0/8"
    )
    for name, value in {
        "RATE_LIMIT_CONN_PER_10S": "0",
        "TIGHTBEAM_TRUSTED_PROXIES": "proxy.example",
        "PORT": "x",
        "ROOM_CAPACITY": "0",
        "ROOM_TTL_SECONDS": "29",
        "MESSAGE_MAX_BYTES": "1",
        "TIGHTBEAM_PAIRING": "maybe",
    }.items():
        with pytest.raises(SettingsError, match=name):
            load(None, {name: value})
    with pytest.raises(SettingsError, match="32 characters"):
        load(None, {"TIGHTBEAM_SECRET": "short"})
    for name in ("0.0.0.0", "127.evil.example", "localhost.example"):
        with pytest.raises(SettingsError, match="no-pairing"):
            load(None, {"TIGHTBEAM_PAIRING": "0", "TIGHTBEAM_HOST": name})
    for name in ("127.0.0.1", "127.1.2.3", "::1", "localhost"):
        assert load(None, {"TIGHTBEAM_PAIRING": "0", "TIGHTBEAM_HOST": name}).loopback
    assert "s" * 32 not in repr(load(None, {"TIGHTBEAM_SECRET": "s" * 32}))


@pytest.mark.parametrize(("address", "fine"), [("127.0.0.1", True), ("0.0.0.0", False)])
def test_passed_socket_must_be_on_loopback_without_pairing(address: str, fine: bool) -> None:
    with socket.create_server((address, 0)) as passed:
        open_node = Settings(pairing=False, listen_fd=os.dup(passed.fileno()))
        if fine:
            listen(open_node).close()
        else:
            with pytest.raises(SettingsError, match="no-pairing"):
                listen(open_node)
        listen(Settings(listen_fd=os.dup(passed.fileno()))).close()


def test_tokens_are_checked_for_kind_time_secret_and_claims() -> None:
    signer, now = Signer("s" * 32), int(time.time())
    grant = Grant("session", RoomId("r"), "player")
    token = signer.issue(grant, now)
    assert signer.read(token, "session") == grant
    resume = Grant("resume", RoomId("r"), "host", PeerId("A" * 22), 3)
    assert signer.read(signer.issue(resume, now), "resume") == resume
    forged = jwt.encode(jwt.decode(token, options={"verify_signature": False}), "x" * 32)
    unsigned = jwt.encode({"room": "r", "role": "host"}, "", "none")
    claims = {"iss": "tightbeam", "aud": "tightbeam:session", "iat": now, "exp": now + 9}
    no_room = jwt.encode(claims | {"role": "player"}, "s" * 32)
    bad_room = jwt.encode(claims | {"role": "player", "room": "a b"}, "s" * 32)
    old = signer.issue(grant, now - 12 * 3600 - 1)
    for bad in (forged, unsigned, no_room, bad_room, old, "", "a.b.c", token[:-2]):
        with pytest.raises(TokenRefused):
            signer.read(bad, "session")
    with pytest.raises(TokenRefused):
        signer.read(token, "resume")
    assert covers(grant, RoomId("r"), "viewer")
    assert not covers(grant, RoomId("r"), "host")
    assert not covers(resume, RoomId("r"), "player")


def test_room_applies_changes_once_and_asks_when_one_is_missing() -> None:
    a = Member(PeerId("a"), NodeId("1"), "host", "tightbeam")
    b = Member(PeerId("b"), NodeId("2"), "player", "tightbeam")
    moved = Member(PeerId("b"), NodeId("3"), "player", "tightbeam", 2)
    room = Room(RoomId("r"))
    room.replace(10, [a])
    joined = Change(11, "joined", b)
    assert len(room.apply([joined])) == 1
    assert room.apply([joined]) == []
    assert room.apply([Change(12, "moved", moved)]) == [Moved(b, moved)]
    with pytest.raises(VersionGap):
        room.apply([Change(14, "left", moved, "bye")])
    assert room.replace(11, []) == []
    assert room.apply([Change(13, "left", moved, "bye")]) == [Left(moved, "bye")]


def test_letters_travel_whole() -> None:
    member = Member(PeerId("p"), NodeId("n"), "player", "plain", 2)
    letters: list[Letter] = [
        Forward(PeerId("p"), b"\x00\xff"),
        Notice(RoomId("r"), (Change(1, "left", member, "lost"),)),
    ]
    assert bus.decode(bus.encode(letters, 5)) == (5, letters)


@fuzz_cases(2000)
@given(st.binary(max_size=200))
def test_a_letter_that_is_none_is_refused_in_one_way(packet: bytes) -> None:
    with contextlib.suppress(ValueError):
        bus.decode(packet)


class FakeSocket:
    """Keeps what a session says; the connection of the tests of real nodes is the real one."""

    id = "fake"

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.close: Close | None = None
        allowance = Limits(200, 400, 800).arrive(UNKNOWN)
        assert allowance is not None
        self.limit = allowance

    def send_frame(self, payload: bytes) -> None:
        assert self.close is None
        self.sent.append(json.loads(payload))

    def take_up_to(self, size_bytes: int) -> None:
        self.message_bytes = size_bytes

    def refuse(self, close: Close) -> None:
        assert self.close is None
        self.close = close


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as running:
        yield running


HELLO_LIKE = st.fixed_dictionaries(
    {"type": st.sampled_from(["hello", "sync", "bye", "ping", "offer", "welcome", "x"])},
    optional={
        "room": st.text(max_size=5) | st.integers() | st.none(),
        "role": st.sampled_from(["host", "player", "viewer"]) | st.text(max_size=5),
        "token": st.text(max_size=30),
        "session": st.text(max_size=30),
        "resume": st.text(max_size=30) | st.none(),
        "capacity": st.integers() | st.floats() | st.booleans(),
    },
)
FRAMES = st.binary(max_size=300) | HELLO_LIKE.map(
    lambda value: json.dumps(value).encode("utf-8", "surrogatepass")
)


NO_STORE: Any = None
"""With a configured secret it is not asked."""


@fuzz_cases(3000)
@given(
    frames=st.lists(FRAMES, min_size=1, max_size=4), is_text=st.booleans(), pairing=st.booleans()
)
def test_first_bytes_of_a_session_are_answered_whatever_they_are(
    frames: list[bytes], is_text: bool, pairing: bool, runner: asyncio.Runner
) -> None:
    async def run() -> None:
        node = Node(NodeId("n"))
        settings = Settings(redis_url="unix:///none", pairing=pairing, secret=support.SECRET)
        socket = FakeSocket()
        session = Session(socket, node, Credentials(NO_STORE, settings), settings)
        for frame in frames:
            session.on_frame(frame, is_text=is_text)
        if session._joining is not None:
            session._joining.cancel()
        else:
            assert socket.close is not None
            if socket.close.code == 1007:
                assert not is_utf8(frames[0])
            else:
                assert socket.close.code == 1008
                assert socket.sent[0]["code"] == "bad-message"
        session.on_closed()

    runner.run(run())


@fuzz_cases(2000)
@given(frame=FRAMES)
def test_plain_frames_are_answered_whatever_they_are(frame: bytes, runner: asyncio.Runner) -> None:
    async def run() -> None:
        socket = FakeSocket()
        node = Node(NodeId("n"))
        credentials = Credentials(NO_STORE, Settings(secret=support.SECRET))
        session = PlainSession(socket, RoomId("r"), node, credentials, Settings())
        session._joined = True
        session.on_frame(frame, is_text=True)
        if is_utf8(frame):
            assert socket.close is None
            assert socket.sent in ([], [{"type": "control", "action": "schema-error"}])
        else:
            assert socket.close == NOT_UTF8

    runner.run(run())
