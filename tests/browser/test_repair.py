"""What a real Chromium repairs, behind a relay that loses packets."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from agent.audio.base import BLOCK_SAMPLES
from agent.audio.opus import OpusEncoder
from agent.audio.plan import OpusSettings
from agent.rtp.fec import Loss
from agent.transport.peer import Peer
from tests.audio.speech import speech
from tests.browser.browser import Browser, Page
from tests.eventually import until
from tests.lossy_relay import Drop, LossyRelay
from tests.transport.viewer import Feeder, Listener, access_units, options

pytestmark = pytest.mark.browser

OFFER = """(async () => {
  const pc = globalThis.pc = new RTCPeerConnection();
  for (const kind of ["video", "audio"]) pc.addTransceiver(kind, { direction: "recvonly" });
  pc.ontrack = ({ track }) => {
    const element = document.createElement(track.kind);
    element.srcObject = new MediaStream([track]);
    element.muted = true;
    element.play();
    document.body.append(element);
  };
  await pc.setLocalDescription();
  return pc.localDescription.sdp;
})()"""
STATS = """(async () => {
  const all = [...(await pc.getStats()).values()];
  return all.find((one) => one.type === "inbound-rtp" && one.kind === "%s") ?? {};
})()"""


class Watcher:
    """One Chromium page that receives from one peer."""

    def __init__(self, page: Page, peer: Peer, listener: Listener) -> None:
        self._page = page
        self.peer = peer
        self.listener = listener

    async def frames(self, count: int) -> dict[str, Any]:
        """Wait for so many decoded frames; the statistics then."""
        while True:
            stats = await self.stats("video")
            if stats.get("framesDecoded", 0) >= count:
                return stats
            await asyncio.sleep(0.1)

    async def stats(self, kind: str) -> dict[str, Any]:
        """Its inbound-rtp statistics (W3C webrtc-stats)."""
        found: dict[str, Any] = await asyncio.to_thread(self._page.evaluate, STATS % kind)
        return found


@asynccontextmanager
async def watching(relay: LossyRelay, **changes: Any) -> AsyncIterator[Watcher]:
    """A Chromium page connected through the relay to a peer."""
    listener = Listener()
    peer = Peer(listener, (), options(**changes))
    browser = await asyncio.to_thread(Browser)
    try:
        page = await asyncio.to_thread(browser.open, "about:blank")
        offer = await asyncio.to_thread(page.evaluate, OFFER)
        answer = await peer.answer(offer)
        await peer.add_candidate(relay.candidate)
        description = json.dumps({"type": "answer", "sdp": relay.between(answer)})
        await asyncio.to_thread(page.evaluate, f"pc.setRemoteDescription({description})")
        await until(lambda: listener.connected, "connection")
        yield Watcher(page, peer, listener)
    finally:
        await peer.close("test over")
        await asyncio.to_thread(browser.close)


def every_eleventh(peer: Peer) -> Drop:
    """Of the video's packets, and all that are sent again."""
    streams = peer._streams
    assert streams is not None

    def drop(packet: bytes) -> bool:
        source = int.from_bytes(packet[8:12], "big")
        hit = int.from_bytes(packet[2:4], "big") % 11 == 3
        return source == streams.rtx_ssrc or (hit and source == streams.video.ssrc)

    return drop


@pytest.mark.timeout(90)
async def test_chromium_restores_frames_from_parity_packets_alone() -> None:
    """Not one frame is lost and no key frame is asked for, though nothing that is sent again arrives."""
    with LossyRelay() as relay:
        async with watching(relay) as watcher:
            relay.drop = every_eleventh(watcher.peer)
            watcher.peer.protect(Loss(0.03))
            with Feeder(watcher.peer, access_units("H264", 300), watcher.listener):
                stats = await watcher.frames(100)
            assert relay.dropped > 80
            assert stats["fecPacketsReceived"] >= 100
            assert stats["fecBytesReceived"] > 50_000
            assert watcher.peer.stats().parity >= 100
            assert stats["pliCount"] == watcher.listener.keyframes_wanted == 0


@pytest.mark.timeout(90)
async def test_without_parity_packets_the_same_loss_needs_key_frames() -> None:
    """What the test above would show if nothing had been restored."""
    with LossyRelay() as relay:
        async with watching(relay) as watcher:
            relay.drop = every_eleventh(watcher.peer)
            with Feeder(watcher.peer, access_units("H264", 300), watcher.listener):
                await until(lambda: watcher.listener.keyframes_wanted, "a request")
            assert watcher.peer.stats().parity == 0


async def heard(watcher: Watcher, relay: LossyRelay, expected_loss_percent: int) -> dict[str, Any]:
    """What Chromium says of 6 s of speech of which every eighth packet is lost."""
    streams = watcher.peer._streams
    assert streams is not None
    assert streams.audio is not None
    ssrc = streams.audio.ssrc
    encoder = OpusEncoder(OpusSettings(64_000, expected_loss_percent))
    packets = [encoder.encode(block) for block in speech(600)]
    due = time.monotonic()
    for number, packet in enumerate(packets):
        if number == 100:  # the jitter buffer has found its length
            relay.drop = lambda rtp: (
                int.from_bytes(rtp[8:12], "big") == ssrc
                and int.from_bytes(rtp[2:4], "big") % 8 == 3
            )
        watcher.peer.send_audio(packet, number * BLOCK_SAMPLES)
        due += 0.01
        await asyncio.sleep(max(0.0, due - time.monotonic()))
    return await watcher.stats("audio")


@pytest.mark.timeout(90)
async def test_in_band_fec_leaves_less_sound_to_be_made_up() -> None:
    """libopus repeats speech, half of these packets: of 62 losses Chromium conceals 31."""
    made_up: dict[int, float] = {}
    for percent in (0, 20):
        with LossyRelay() as relay:
            async with watching(relay) as watcher:
                stats = await heard(watcher, relay, percent)
        made_up[percent] = stats["concealedSamples"]
        assert (stats["fecPacketsReceived"] > 0) == (percent > 0)
    assert made_up[20] < 0.75 * made_up[0]
