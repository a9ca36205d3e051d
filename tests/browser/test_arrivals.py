"""A browser that gives no transport-wide feedback: its page tells when frames arrive, and the rate follows that."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from agent.congestion.flight import Packet
from agent.frames import Arrivals, decode
from tests.browser.browser import Browser
from tests.browser.receiver import receiving
from tests.browser.system import System
from tests.eventually import eventually, until
from tests.lossy_relay import LossyRelay
from tests.transport.viewer import Feeder, Listener, access_units

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

WITHOUT_FEEDBACK = """(() => {
  const of = RTCPeerConnection.prototype; // the page has made one already
  const { createOffer, createDataChannel } = of;
  const told = globalThis.told = [];
  of.createOffer = async function () {
    const { type, sdp } = await createOffer.call(this);
    const feedback = /a=(extmap:\\d+ \\S*transport-wide-cc\\S*|rtcp-fb:\\d+ transport-cc)\\r\\n/g;
    return { type, sdp: sdp.replace(feedback, "") };
  };
  of.createDataChannel = function (label, options) {
    const channel = createDataChannel.call(this, label, options);
    if (label !== "stats") return channel;
    const send = channel.send.bind(channel);
    channel.send = (message) => {
      const bytes = [...new Uint8Array(message)];
      if (bytes[1] === 8) told.push(bytes.map((byte) => byte.toString(16).padStart(2, "0")).join(""));
      send(message);
    };
    return channel;
  };
  globalThis.shown = {};
  const video = document.getElementById("screen");
  const note = (now, { rtpTimestamp, receiveTime }) => {
    shown[rtpTimestamp] = receiveTime;
    video.requestVideoFrameCallback(note);
  };
  video.requestVideoFrameCallback(note);
})()"""

RECEIVED = """new Promise((done) => {
  const video = document.querySelector("video"), seen = [];
  const note = (now, { rtpTimestamp, receiveTime }) => {
    seen.push([rtpTimestamp, receiveTime / 1000]);
    if (seen.length < 60) video.requestVideoFrameCallback(note);
    else done(seen);
  };
  video.requestVideoFrameCallback(note);
})"""


def test_the_rate_follows_what_the_page_tells_of_frames(tmp_path: Path) -> None:
    flags = ("--no-pairing", "--source", "testpattern", "--size", "640x360", "--fps", "30")
    with (
        System(*flags, env={"XDG_STATE_HOME": str(tmp_path)}) as system,
        Browser("chromium") as browser,
    ):
        page = browser.open(system.link, 800, 600)
        page.evaluate(WITHOUT_FEEDBACK)
        page.connect()
        eventually(lambda: page.evaluate("told.length") > 20, "arrivals", 60)
        (log,) = tmp_path.rglob("agent.log")
        eventually(lambda: "follows the page's arrivals" in log.read_text(), "the log's word of it")
        shown = page.evaluate("shown")
        messages = [decode(bytes.fromhex(told)) for told in page.evaluate("told")]
        page.close()
    frames: dict[int, float] = {}
    for message in messages:
        assert isinstance(message, Arrivals)
        frames.update(message.frames)
    assert len(frames) > 20
    for stamp, at in list(frames.items())[:20]:
        assert at == pytest.approx(shown[str(stamp)] / 1000, abs=0.001)


def ends(packets: Sequence[Packet]) -> dict[int, float]:
    """When the last packet of each frame arrived, of those of which more than one is told."""
    times: dict[int, list[float]] = {}
    for packet in packets:
        if packet.frame is not None and packet.arrived_s is not None:
            times.setdefault(packet.frame, []).append(packet.arrived_s)
    return {frame: max(some) for frame, some in times.items() if len(some) > 1}


async def test_arrivals_of_frames_agree_with_transport_wide_feedback_of_their_packets() -> None:
    listener = Listener()
    with LossyRelay() as relay:
        async with receiving(relay, listener) as receiver:
            with Feeder(receiver.peer, access_units("H264", 300), listener):
                received = await receiver.evaluate(RECEIVED)
                by_frame = ends(receiver.peer.arrived([(stamp, at) for stamp, at in received]))
                await until(
                    lambda: max(ends(listener.packets), default=-1) > max(by_frame), "feedback"
                )
    by_packet = ends(listener.packets)
    ahead = sorted(at - by_packet[frame] for frame, at in by_frame.items() if frame in by_packet)
    assert len(ahead) > 30
    # Of two clocks: what differs is what their steps leave, 250 and 100 us, and a busy browser's pauses.
    assert ahead[len(ahead) * 3 // 4] - ahead[len(ahead) // 4] < 0.005


async def test_feedback_tells_how_fast_the_path_takes_bursts() -> None:
    """Without it nobody gets large pictures (agent/congestion/room.py)."""
    listener = Listener()
    with LossyRelay() as relay:
        async with receiving(relay, listener) as receiver:
            units = access_units("H264", 60, size=(1280, 720), gop=5)
            assert sum(len(unit.payload) > 12_000 for unit in units) >= 10
            assert receiver.peer.link_bps == 0
            with Feeder(receiver.peer, units, listener):
                await until(lambda: receiver.peer.link_bps > 20e6, "the path's speed")
