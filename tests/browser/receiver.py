"""A Chromium page that receives from a peer of this process through a lossy relay, without signaling."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from agent.transport.peer import Peer
from tests.browser.browser import Browser, Page
from tests.eventually import until
from tests.lossy_relay import LossyRelay
from tests.transport.viewer import Listener, options

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
  const { sdp } = await pc.createOffer();
  const rtt = sdp.replace(/^(a=rtcp-fb:(\\d+) nack pli)(\\r?)$/gm, "$1$3\\na=rtcp-fb:$2 rrtr$3");
  // As client/sdp.js does.
  await pc.setLocalDescription({ type: "offer", sdp: rtt });
  return pc.localDescription.sdp;
})()"""
STATS = """(async () => {
  const all = [...(await pc.getStats()).values()];
  return all.find((one) => one.type === "%s" && one.kind === "%s") ?? {};
})()"""


class Receiver:
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

    async def round_trip_s(self) -> float:
        """Of the video, by what the browser knows of it; waits until it does."""
        while True:
            stats = await self.stats("video", "remote-outbound-rtp")
            if "roundTripTime" in stats:
                return float(stats["roundTripTime"])
            await asyncio.sleep(0.1)

    async def stats(self, kind: str, type_: str = "inbound-rtp") -> dict[str, Any]:
        """Its statistics (W3C webrtc-stats)."""
        found: dict[str, Any] = await self.evaluate(STATS % (type_, kind))
        return found

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page."""
        return await asyncio.to_thread(self._page.evaluate, expression)


@asynccontextmanager
async def receiving(relay: LossyRelay, listener: Listener) -> AsyncIterator[Receiver]:
    """A Chromium page connected through the relay to a peer."""
    peer = Peer(listener, (), options())
    browser = await asyncio.to_thread(Browser)
    try:
        page = await asyncio.to_thread(browser.open, "about:blank")
        offer = await asyncio.to_thread(page.evaluate, OFFER)
        answer = await peer.answer(offer)
        await peer.add_candidate(relay.candidate)
        description = json.dumps({"type": "answer", "sdp": relay.between(answer)})
        await asyncio.to_thread(page.evaluate, f"pc.setRemoteDescription({description})")
        await until(lambda: listener.connected, "connection")
        yield Receiver(page, peer, listener)
    finally:
        await peer.close("test over")
        await asyncio.to_thread(browser.close)
