"""The host's socket: what a node's wish to drain and an event that cannot be handled do to it."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from agent import signaling as module
from agent.roster import Event, Left
from agent.signaling import Signaling, SignalingSettings
from cluster.protocol.messages import PeerId
from tests.agent.browser import until
from tests.agent.node import Node, new_id


class Listener:
    """Remembers what happens in the room; `fail` makes the next event an error."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.fail = False

    def on_signal(self, event: Event) -> None:
        if self.fail:
            self.fail = False
            raise KeyError("as if a session were unknown")
        self.events.append(event)


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with Node() as node:
        yield node


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
async def signaling(node: Node, listener: Listener) -> AsyncIterator[Signaling]:
    signaling = Signaling(SignalingSettings(node.url, "desk", "token"), listener)
    running = asyncio.create_task(signaling.run())
    await node.wait_for_host()
    yield signaling
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled(), running.exception()


def left(peer: PeerId) -> str:
    return json.dumps({"type": "peer-left", "peer": peer, "reason": "bye"})


async def test_a_draining_node_is_heard_until_the_agent_leaves_it(
    node: Node, signaling: Signaling, listener: Listener
) -> None:
    host = await node.wait_for_host()
    peer = PeerId(new_id())
    await node.say(host, json.dumps({"type": "reconnect", "afterMs": 300}))
    await node.say(host, left(peer))
    await until(lambda: listener.events)
    assert listener.events == [Left(peer, "bye")]
    assert len(node.hellos) == 1
    await until(lambda: len(node.hellos) == 2)
    assert node.hellos[1]["resume"]
    assert await node.wait_for_host() == host


async def test_an_agent_that_was_asked_to_leave_leaves_a_dead_socket_too(
    node: Node, signaling: Signaling
) -> None:
    host = await node.wait_for_host()
    await node.say(host, json.dumps({"type": "reconnect", "afterMs": 3_600_000}))
    await node.drop_host()
    await until(lambda: len(node.hellos) == 2)
    assert await node.wait_for_host() == host


async def test_a_node_that_falls_silent_is_left_for_another_socket(
    node: Node, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PING_S", "PONG_LIMIT_S", "CLOSE_LIMIT_S"):
        monkeypatch.setattr(module, name, 0.2)
    signaling = Signaling(SignalingSettings(node.url, "desk", "token"), listener)
    running = asyncio.create_task(signaling.run())
    host = await node.wait_for_host()
    node.deafen_host()
    await until(lambda: len(node.hellos) == 2)
    assert node.hellos[1]["resume"]
    assert await node.wait_for_host() == host
    running.cancel()
    await asyncio.wait([running])


async def test_an_event_that_cannot_be_handled_ends_nothing(
    node: Node, signaling: Signaling, listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    host = await node.wait_for_host()
    peers = [PeerId(new_id()), PeerId(new_id())]
    listener.fail = True
    for peer in peers:
        await node.say(host, left(peer))
    await until(lambda: listener.events)
    assert listener.events == [Left(peers[1], "bye")]
    assert "Left of the room was dropped" in caplog.text
    assert "KeyError" in caplog.text
    assert len(node.hellos) == 1


async def test_an_error_of_our_own_in_a_frame_ends_nothing(
    node: Node, signaling: Signaling, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = await node.wait_for_host()
    receive = signaling.roster.receive

    def broken(frame: str | bytes, now: float) -> list[Event]:
        monkeypatch.setattr(signaling.roster, "receive", receive)
        raise ZeroDivisionError

    monkeypatch.setattr(signaling.roster, "receive", broken)
    peers = [PeerId(new_id()), PeerId(new_id())]
    for peer in peers:
        await node.say(host, left(peer))
    await until(lambda: listener.events)
    assert listener.events == [Left(peers[1], "bye")]
    assert signaling.bad_frames == 1


async def test_of_telemetry_that_waits_for_a_socket_the_newest_is_said(
    node: Node, listener: Listener
) -> None:
    signaling = Signaling(SignalingSettings(node.url, "desk", "token"), listener)
    for number in range(100):
        signaling.report(b"%d" % number)
    running = asyncio.create_task(signaling.run())
    await until(lambda: node.telemetry)
    signaling.report(b"100")
    await until(lambda: len(node.telemetry) == 2)
    assert node.telemetry == [b"99", b"100"]
    running.cancel()
    await asyncio.wait([running])


async def test_the_password_in_an_address_is_not_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        settings = SignalingSettings(f"http://me:hunter2@127.0.0.1:{port}", "desk", "token")
        running = asyncio.create_task(Signaling(settings, Listener()).run())
        await until(lambda: "is no node" in caplog.text)
        running.cancel()
        await asyncio.wait([running])
    assert f"http://me:********@127.0.0.1:{port} is no node" in caplog.text
    assert "hunter2" not in caplog.text
