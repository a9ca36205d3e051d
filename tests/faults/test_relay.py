"""A session through a real coturn into a real Chromium: on the host's side by UDP, TCP, TLS, on the page's by TCP."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterator

import pytest

from agent.transport import ice
from agent.transport.candidates import IceServer
from agent.transport.peer import Peer
from cluster import turn
from cluster.protocol.messages import Candidate, PeerId
from tests.browser.browser import Browser, Page
from tests.browser.system import System
from tests.coturn import SECRET, Coturn, coturn
from tests.eventually import eventually, until
from tests.faults.detour import Watch, lead, path
from tests.outages.network import NAMESPACES_NEED, Namespace, namespaces_work
from tests.ports import free_port
from tests.transport.viewer import Feeder, Listener, access_units, options

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

PATTERN = ("--source", "testpattern", "--size", "640x360", "--fps", "30")
OFFER = """(async () => {
  const pc = globalThis.pc = new RTCPeerConnection();
  const { receiver } = pc.addTransceiver("video", { direction: "recvonly" });
  const video = document.createElement("video");
  video.srcObject = new MediaStream([receiver.track]);
  video.muted = true;
  video.play();
  await pc.setLocalDescription();
  while (pc.iceGatheringState !== "complete") await new Promise((done) => setTimeout(done, 20));
  return pc.localDescription.sdp;
})()"""
IPV4 = re.compile(r"a=candidate:.* udp .* [0-9.]+ (\d+) typ host")
IPV6 = re.compile(r"a=candidate:.* udp \d+ [0-9a-f]*:.*\r\n")
CANDIDATE = re.compile(r"a=candidate:.*\r\n")
DECODED = """(async () => {
  const all = [...(await pc.getStats()).values()];
  return all.find((one) => one.type === "inbound-rtp")?.framesDecoded ?? 0;
})()"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as running:
        yield running


@pytest.fixture(scope="module")
def server() -> Iterator[Coturn]:
    with coturn() as running:
        yield running


@pytest.mark.parametrize("way", ["udp", "tcp", "tls"])
async def test_pictures_come_by_the_one_way_that_a_firewall_lets_through(
    way: str, server: Coturn, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its own socket, without which it would not begin, reaches nothing: the page is left without IPv6.
    monkeypatch.setattr(ice, "host_addresses", lambda: ["::1"])
    monkeypatch.setenv("SSL_CERT_FILE", str(server.authority))
    username, password = turn.credential(SECRET, PeerId("peer"), int(time.time()) + 600)
    dead = free_port()
    urls = {
        "udp": f"turn:127.0.0.1:{dead}",
        "tcp": f"turn:127.0.0.1:{dead}?transport=tcp",
        "tls": f"turns:127.0.0.1:{dead}?transport=tcp",
    } | {way: server.urls[way]}
    listener = Listener()
    peer = Peer(listener, [IceServer(tuple(urls.values()), username, password)], options())
    page = await asyncio.to_thread(browser.open, "about:blank")
    try:
        offer = await asyncio.to_thread(page.evaluate, OFFER)
        for port in IPV4.findall(offer):
            # Its socket is bound to any address: this is where its packets to the relay come from.
            await peer.add_candidate(
                Candidate(f"candidate:9 1 udp 1 127.0.0.1 {port} typ host", None, 0)
            )
        answer = CANDIDATE.sub("", await peer.answer(IPV6.sub("", offer)))
        description = json.dumps({"type": "answer", "sdp": answer})
        await asyncio.to_thread(page.evaluate, f"pc.setRemoteDescription({description})")
        await until(lambda: listener.candidates, "the relay's candidate")
        relay = listener.candidates[0]
        assert " typ relay " in relay.candidate
        init = json.dumps({"candidate": relay.candidate, "sdpMLineIndex": 0})
        await asyncio.to_thread(page.evaluate, f"pc.addIceCandidate({init})")
        await until(lambda: listener.connected, "the connection")
        assert peer.way == "relay"
        with Feeder(peer, access_units("H264", 60), listener):
            await asyncio.to_thread(
                eventually, lambda: page.evaluate(DECODED) >= 20, "decoded pictures"
            )
    finally:
        await peer.close("test over")
        await asyncio.to_thread(page.close)


@pytest.mark.faults
@pytest.mark.skipif(not namespaces_work(), reason=NAMESPACES_NEED)
def test_a_firewall_leaves_the_relay_by_tcp_alone_which_is_then_started_again() -> None:
    with Namespace() as there, coturn(addresses=(there.here,)) as relay:
        url = f"turn:{there.here}:{relay.port}?transport=tcp"
        env = {"TURN_URLS": url, "TURN_SECRET": SECRET}
        with (
            System("--host", there.here, *PATTERN, env=env) as system,
            Browser("chromium", prefix=there.prefix) as chromium,
        ):
            page = chromium.open(system.link, ignoreCertificate=True)
            lead(page)
            page.connect()
            watch = Watch(page)
            # Which of two answers first is chance; the browser turns to the better one then.
            eventually(lambda: path(page)[0]["candidateType"] != "relay", "the direct path", 20)
            for breaks in (there.swallow_udp, relay.restart):
                moves = watch.moves
                breaks()
                goes_on(page, watch, moves)
                used = path(page)[0]
                assert (used["candidateType"], used["relayProtocol"]) == ("relay", "tcp")
            assert (watch.states, watch.black) == (["playing"], 0)
            page.close()


def goes_on(page: Page, watch: Watch, moves: int) -> None:
    """On a connection after those."""
    eventually(lambda: watch.moves > moves, "another connection", 40)
    before = page.frames()
    eventually(lambda: page.frames() > before + 10, "more frames", 30)
