"""Leads the connections of the real page through relays that tests can silence, with everything else as it is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tests.browser.browser import Page
from tests.lossy_relay import LossyRelay

DETOUR = """((ways) => {
  const line = (port) => `a=candidate:1 1 udp 2113937151 127.0.0.1 ${port} typ host\\r\\n`;
  const direct = (sdp) => sdp.replace(/a=(candidate|end-of-candidates).*\\r\\n/g, "");
  const through = (sdp, port) => direct(sdp).replace("a=ice-ufrag:", line(port) + "a=ice-ufrag:");
  globalThis.connections = [];
  const of = RTCPeerConnection.prototype; // the page has made one already, and sets it up when it takes it
  const { setConfiguration, createOffer, setLocalDescription, setRemoteDescription, addIceCandidate } = of;
  const { set } = Object.getOwnPropertyDescriptor(of, "onicecandidate");
  of.setConfiguration = function (configuration) {
    setConfiguration.call(this, configuration);
    this.way = ways.shift() ?? null;
    connections.push(this);
  };
  Object.defineProperty(of, "onicecandidate", {
    set(listener) {
      if (!this.way) set.call(this, listener);
    },
  });
  of.createOffer = async function () {
    const { type, sdp } = await createOffer.call(this);
    return { type, sdp: this.way ? through(sdp, this.way.peer) : sdp };
  };
  of.setLocalDescription = function ({ type, sdp }) {
    return setLocalDescription.call(this, { type, sdp: direct(sdp) });
  };
  of.setRemoteDescription = function ({ type, sdp }) {
    return setRemoteDescription.call(this, { type, sdp: this.way ? through(sdp, this.way.browser) : sdp });
  };
  of.addIceCandidate = function (candidate) {
    return this.way ? Promise.resolve() : addIceCandidate.call(this, candidate);
  };
})(%s)"""

WATCH = """(() => {
  const seen = globalThis.seen = { states: [document.body.dataset.state], black: 0, moves: 0 };
  const note = () => {
    const { state } = document.body.dataset;
    if (state !== seen.states.at(-1)) seen.states.push(state);
  };
  new MutationObserver(note).observe(document.body, { attributeFilter: ["data-state"] });
  const video = document.getElementById("screen");
  let stream = video.srcObject;
  const look = () => {
    if (video.srcObject !== stream) seen.moves += 1;
    stream = video.srcObject;
    if (video.readyState < 2 && document.body.dataset.held === undefined) seen.black += 1;
    requestAnimationFrame(look);
  };
  look();
})()"""


def lead(page: Page, *relays: LossyRelay | None) -> None:
    """The page's next connections go by these, one each; None and all after them: directly."""
    ways: Sequence[dict[str, int] | None] = [
        None if relay is None else {"peer": relay.peer_port, "browser": relay.browser_port}
        for relay in relays
    ]
    page.evaluate(DETOUR % json.dumps(ways))


class Watch:
    """What the user sees from now on."""

    def __init__(self, page: Page) -> None:
        self._page = page
        page.evaluate(WATCH)

    @property
    def states(self) -> list[str]:
        """The first is that of the beginning."""
        return list(self._page.evaluate("seen.states"))

    @property
    def black(self) -> int:
        """Refreshes of the screen that showed neither a picture nor the last one."""
        return int(self._page.evaluate("seen.black"))

    @property
    def moves(self) -> int:
        """How many times the picture began to come by another connection."""
        return int(self._page.evaluate("seen.moves"))


def connections(page: Page) -> list[str]:
    """The state of every connection that the page has made since `lead`."""
    return list(page.evaluate("connections.map((one) => one.connectionState)"))


PATH = """(async () => {
  const all = await connections.at(-1).getStats();
  const { selectedCandidatePairId } = [...all.values()].find((one) => one.type === "transport");
  const pair = all.get(selectedCandidatePairId);
  return [pair.localCandidateId, pair.remoteCandidateId].map((id) => ({ ...all.get(id) }));
})()"""


def path(page: Page) -> list[dict[str, Any]]:
    """The page's and the host's candidate that its newest connection uses (webrtc-stats, RTCIceCandidateStats)."""
    return list(page.evaluate(PATH))
