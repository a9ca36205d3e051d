"""Clients of the plain dialect in a session with a host, by a real node: their transport falls silent."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from agent.input.keymap import x_keycode
from agent.restart import REFUSAL
from agent.summary import TYPE_SUMMARY
from tests.agent.process import Agent, agent
from tests.browser.browser import Browser, Page
from tests.browser.system import System
from tests.cluster import support
from tests.eventually import eventually, until
from tests.faults.detour import connections, lead
from tests.faults.plain import PlainClient
from tests.input import browser
from tests.input.window import Window
from tests.lossy_relay import LossyRelay
from tests.transport.viewer import Viewer
from tests.xserver import x_display

A = 4
TAP = [(kind, x_keycode(A)) for kind in ("key down", "key up")]
KEEP = {"type": "control", "action": "renegotiate", "payload": {"keep": True}}
PATTERN = ("--source", "testpattern", "--size", "320x180", "--fps", "30", "--no-audio")
GONE_S = 60.0
"""For ICE to find a silent path dead: six checks, five seconds apart, and some to spare (RFC 7675)."""


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with support.valkey() as server:
        yield server.url


@asynccontextmanager
async def guest(
    redis_url: str, *flags: str, display: str = ""
) -> AsyncIterator[tuple[PlainClient, Agent]]:
    """A plain client in the room of an agent."""
    async with support.node(support.base_settings(redis_url)) as node:
        url = node.url.replace("ws", "http", 1)
        token = support.token(room="desk")
        async with agent(url, *flags, TIGHTBEAM_HOST_TOKEN=token, DISPLAY=display) as host:
            await until(lambda: host.said("joined room desk"))
            pairing = support.pairing(redis_url, "desk")
            async with PlainClient(url, "desk", pairing) as client:
                yield client, host


async def plays(viewer: Viewer, pictures: int = 5) -> None:
    """After a silence aiortc waits for 512 packets before it gives up those that are missing."""
    goal = viewer.pictures + pictures
    await until(lambda: viewer.pictures >= goal, "more pictures", 60)


async def reports(viewer: Viewer) -> None:
    """The host has a round trip time, by the viewer's reports (docs/protocol.md 6.3)."""

    def told() -> bool:
        heard = (one for one in viewer.messages if isinstance(one, bytes))
        return any(one[1] == TYPE_SUMMARY and one[26:28] != b"\0\0" for one in heard)

    await until(told, "reports")


async def test_a_plain_client_makes_a_second_connection_before_the_first_breaks(
    redis_url: str,
) -> None:
    with x_display("320x240") as display, LossyRelay(delay_s=0.01) as relay:
        window = Window(display)
        async with guest(redis_url, "--no-audio", display=display) as (client, host):
            first = await client.offer(relay)
            await plays(first, 1)  # of a screen that stands still
            down, up = browser.key(A, down=True), browser.key(A, down=False)
            first.channels["input"].send(browser.events(1, 1, down))

            def taps(count: int) -> bool:
                window.pump()
                return window.seen == count * TAP

            await until(lambda: taps(1), "the key, released in the silence that follows")
            await reports(first)
            relay.silent = True
            await until(lambda: client.controls == [KEEP], "the host's words")
            assert first.pc.connectionState == "connected"
            second = await client.offer()
            await plays(second, 1)
            await until(lambda: host.said("session 1 ended: session 2 took its place"))
            said_before = {"former": 1, "first": 1, "count": 2}
            tap = browser.carried(said_before, browser.events(1, 1, down, up))
            second.channels["input"].send(tap)
            second.channels["input"].send(browser.events(2, 3, down, up))
            await until(lambda: taps(2), "the second tap alone")
        window.close()


@pytest.mark.faults
async def test_a_plain_client_that_makes_no_other_connection_plays_on_when_the_path_is_back(
    redis_url: str,
) -> None:
    with LossyRelay(delay_s=0.01) as relay:
        async with guest(redis_url, *PATTERN) as (client, host):
            viewer = await client.offer(relay)
            await reports(viewer)
            relay.silent = True
            await until(lambda: client.controls == [KEEP], "the host's words")
            relay.silent = False
            await plays(viewer)
            # What it says is about no connection that fails beside the one that plays.
            await client.say_offer("v=0")
            await until(lambda: client.controls[1:], "the refusal")
            relay.silent = True
            await until(lambda: client.controls[2:] == [KEEP], "the host's words again")
            relay.silent = False
            await plays(viewer)
            assert not host.said("session 1 ended")


@pytest.mark.faults
@pytest.mark.timeout(180)
async def test_a_path_that_stays_silent_ends_a_plain_clients_session_on_both_sides(
    redis_url: str,
) -> None:
    with LossyRelay(delay_s=0.01) as relay:
        async with guest(redis_url, *PATTERN) as (client, host):
            viewer = await client.offer(relay)
            await reports(viewer)
            relay.silent = True
            words = "session 1 ended: the viewer stopped answering"
            await until(lambda: host.said(words), words, GONE_S)
            await until(lambda: viewer.pc.connectionState == "closed", "its end", GONE_S)
            assert client.controls == [KEEP]
            await plays(await client.offer())


PAGE = """((url) => {
  const video = document.getElementById("screen");
  globalThis.controls = [];
  globalThis.begin = async () => {
    const connection = new RTCPeerConnection();
    connection.setConfiguration({}); // from here on it is led (detour.py)
    const { receiver } = connection.addTransceiver("video", { direction: "recvonly" });
    connection.input = connection.createDataChannel("input", { ordered: false, maxRetransmits: 0 });
    connection.input.binaryType = "arraybuffer";
    connection.onconnectionstatechange = () => {
      if (connection.connectionState !== "connected" || globalThis.playing === connection) return;
      video.srcObject = new MediaStream([receiver.track]);
      globalThis.playing?.close();
      globalThis.playing = connection;
    };
    await offer(connection);
  };
  globalThis.offer = async (connection) => {
    const description = await connection.createOffer();
    send({ type: "offer", sdp: description.sdp });
    connection.onicecandidate = ({ candidate }) => candidate && send({ type: "candidate", ...candidate.toJSON() });
    await connection.setLocalDescription(description);
  };
  const send = (message) => socket.send(JSON.stringify(message));
  const socket = new WebSocket(url);
  socket.onopen = begin;
  socket.onmessage = async ({ data }) => {
    const { type, sdp, ...rest } = JSON.parse(data);
    const connection = connections.at(-1);
    if (type === "answer") await connection.setRemoteDescription({ type, sdp });
    if (type === "candidate" && rest.candidate) await connection.addIceCandidate(rest);
    if (type === "control") controls.push(rest);
  };
})(%s)"""
"""A client that knows nothing of this host but its label `input`."""

TAPPED = """new Promise((done) => {
  const { input } = playing;
  const tap = Uint8Array.from([1, 1, 0, 0, 0, 1, ...Array(11).fill(0), 0, 0, 0, 1, 1, 1, 1, 0, 4]);
  const again = setInterval(() => input.readyState === "open" && input.send(tap), 20);
  input.onmessage = ({ data }) => {
    clearInterval(again);
    done(new Uint8Array(data)[1]);
  };
})"""
ACK = 3
SHOWN = ("--no-pairing", "--source", "testpattern", "--size", "320x180", "--fps", "30")


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with System(*SHOWN) as running:
        yield running


@pytest.fixture
def page(system: System, relay: LossyRelay) -> Iterator[Page]:
    """It plays by the relay, which falls silent until the host has noticed."""
    with Browser() as chromium:
        opened = chromium.open(system.link)
        lead(opened, relay)
        room = system.link.partition("#room=")[2].partition("&")[0]
        opened.evaluate(PAGE % json.dumps(f"ws://127.0.0.1:{system.port}/?roomId={room}"))
        shows(opened)
        assert opened.evaluate(TAPPED) == ACK
        relay.silent = True
        eventually(lambda: controls(opened) == [KEEP], "the host's words")
        yield opened
        opened.close()


def controls(page: Page) -> list[dict[str, Any]]:
    return [{"type": "control", **one} for one in page.evaluate("controls")]


def shows(page: Page) -> None:
    before = page.frames()
    eventually(lambda: page.frames() > before + 10, "more frames", 40)


@pytest.mark.browser
def test_a_plain_page_in_chromium_makes_a_second_connection_before_the_first_breaks(
    page: Page,
) -> None:
    page.evaluate("begin()")
    eventually(lambda: connections(page) == ["closed", "connected"], "the second connection")
    shows(page)
    assert page.evaluate(TAPPED) == ACK


@pytest.mark.browser
def test_a_plain_page_that_restarted_ice_had_a_picture_and_no_input(
    page: Page, relay: LossyRelay
) -> None:
    page.evaluate("playing.restartIce(), offer(playing)")
    eventually(lambda: len(controls(page)) == 2, "the refusal")
    assert controls(page)[1]["payload"] == {"message": REFUSAL}
    relay.silent = False
    shows(page)
    assert page.evaluate(TAPPED.replace("[1, 1, 0, 0, 0, 1,", "[1, 1, 0, 0, 0, 2,")) == ACK
    page.evaluate("begin()")
    eventually(lambda: connections(page) == ["closed", "connected"], "another connection")
    shows(page)
    assert page.evaluate(TAPPED) == ACK
