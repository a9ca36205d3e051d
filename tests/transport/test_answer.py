"""What a peer answers: which offers are refused in words, and what of a good one is taken."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from agent.rtp.packet import MID_URI, PLAYOUT_DELAY_URI, TRANSPORT_CC_URI
from agent.transport.peer import Peer
from tests.transport.viewer import Listener, Viewer, options


async def test_what_a_browser_offers_for_low_latency_is_answered_and_written() -> None:
    viewer, listener = Viewer(), Listener()
    peer = Peer(listener, (), options())
    offered = (
        f"a=rtpmap:101 H264/90000\r\na=rtcp-fb:101 transport-cc\r\na=rtcp-fb:101 ccm fir\r\n"
        f"a=extmap:5 {TRANSPORT_CC_URI}\r\na=extmap:6 {PLAYOUT_DELAY_URI}\r\n"
    )
    offer = (await viewer.offer()).replace("a=rtpmap:101 H264/90000\r\n", offered)
    assert offered in offer
    video = (await peer.answer(offer)).partition("m=video")[2].partition("m=audio")[0]
    lines = video.split("\r\n")
    assert {line for line in lines if line.startswith("a=extmap:")} == {
        f"a=extmap:1 {MID_URI}",
        f"a=extmap:5 {TRANSPORT_CC_URI}",
        f"a=extmap:6 {PLAYOUT_DELAY_URI}",
    }
    assert {line.removeprefix("a=rtcp-fb:101 ") for line in lines if "rtcp-fb" in line} == {
        "nack", "nack pli", "ccm fir", "transport-cc",
    }  # fmt: skip
    streams = peer._streams
    assert streams is not None
    written = (streams.video.mid_id, streams.video.transport_cc_id, streams.video.playout_delay_id)
    assert written == (1, 5, 6)
    await peer.close("test over")
    await viewer.close()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda sdp: "", "one video section"),
        (lambda sdp: "v=0\r\nm=video x\r\n", "cannot|can be read|section"),
        (lambda sdp: sdp.replace("H264", "H999").replace("VP8", "VP99"), "neither H.264"),
        (lambda sdp: sdp.replace("opus", "snow"), "no Opus"),
        (lambda sdp: sdp.replace("a=recvonly", "a=sendonly"), "must receive video"),
        (lambda sdp: re.sub("a=group:BUNDLE.*\r\n", "", sdp), "bundle"),
        (lambda sdp: re.sub("a=ice-pwd.*\r\n", "", sdp), "ice-ufrag or ice-pwd"),
        (lambda sdp: re.sub("a=fingerprint.*\r\n", "", sdp), "fingerprint"),
        (lambda sdp: sdp.replace("a=rtcp-mux\r\n", ""), "rtcp-mux"),
        (lambda sdp: sdp.replace("m=audio", "m=video"), "one video section"),
        (lambda sdp: re.sub("(map:|fb:|fmtp:|apt=|98 )99", r"\g<1>200", sdp), "payload types"),
    ],
)
async def test_a_bad_offer_is_refused_in_words(change: Callable[[str], str], words: str) -> None:
    viewer = Viewer()
    listener = Listener()
    peer = Peer(listener, (), options())
    with pytest.raises(ValueError, match=words):
        await peer.answer(change(await viewer.offer()))
    await peer.close("bad offer")
    await viewer.close()
    assert listener.closed == ["bad offer"]
