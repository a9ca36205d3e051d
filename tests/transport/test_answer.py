"""What a peer answers: which offers are refused in words, and what of a good one is taken."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from agent.encode.base import Profile
from agent.rtp.packet import MID_URI, PLAYOUT_DELAY_URI, TRANSPORT_CC_URI
from agent.transport.offer import read_offer
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


async def test_parity_packets_are_answered_with_the_stream_that_they_protect() -> None:
    viewer, listener = Viewer(), Listener()
    peer = Peer(listener, (), options())
    line = "a=rtpmap:101 H264/90000\r\n"
    offer = (await viewer.offer()).replace(line, line + "a=rtpmap:120 flexfec-03/90000\r\n")
    offer = re.sub("(m=video .*)\r\n", r"\1 120\r\n", offer)
    video = (await peer.answer(offer)).partition("m=video")[2].partition("m=audio")[0]
    streams = peer._streams
    assert streams is not None
    assert streams.fec is not None
    assert streams.fec.payload_type == 120
    assert "a=rtpmap:120 flexfec-03/90000\r\na=fmtp:120 repair-window=10000000\r\n" in video
    assert f"a=ssrc-group:FEC-FR {streams.video.ssrc} {streams.fec.ssrc}\r\n" in video
    named = re.findall(r"a=ssrc:(\d+) cname:", video)
    assert named == [str(streams.video.ssrc), str(streams.rtx_ssrc), str(streams.fec.ssrc)]
    assert peer.has_parity
    await peer.close("test over")
    await viewer.close()


async def test_no_parity_packets_where_none_are_offered() -> None:
    viewer, listener = Viewer(), Listener()
    peer = Peer(listener, (), options())
    assert "FEC-FR" not in await peer.answer(await viewer.offer())
    assert not peer.has_parity
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


FORMATS = {
    "constrained": "H264/90000\r\na=fmtp:{} packetization-mode=1;profile-level-id=42e01f",
    "baseline": "H264/90000\r\na=fmtp:{} packetization-mode=1;profile-level-id=42001f",
    "single": "H264/90000\r\na=fmtp:{} packetization-mode=0;profile-level-id=42e01f",
    "main": "H264/90000\r\na=fmtp:{} packetization-mode=1;profile-level-id=4d001f",
    "high": "H264/90000\r\na=fmtp:{} packetization-mode=1;profile-level-id=640032",
    "444": "H264/90000\r\na=fmtp:{} packetization-mode=1;profile-level-id=f4001f",
    "vp8": "VP8/90000",
    "vp9": "VP9/90000\r\na=fmtp:{} profile-id=0",
    "vp9-2": "VP9/90000\r\na=fmtp:{} profile-id=2",
}
X264_LIKES: tuple[Profile, ...] = ("baseline", "main", "high")
CARDS_LIKE: tuple[Profile, ...] = ("high", "main", "baseline")


@pytest.mark.parametrize(
    ("offered", "likes", "chosen"),
    [
        ("vp9 vp8 high main baseline constrained", X264_LIKES, ("constrained", "H264", "baseline")),
        ("vp9 vp8 constrained main high", CARDS_LIKE, ("high", "H264", "high")),
        ("444 single main baseline vp8", X264_LIKES, ("baseline", "H264", "baseline")),
        ("444 single main vp8", X264_LIKES, ("main", "H264", "main")),
        ("vp9-2 vp9 vp8 single 444", X264_LIKES, ("vp8", "VP8", "baseline")),
        ("vp9-2 vp9 single", X264_LIKES, ("vp9", "VP9", "baseline")),
        ("high vp8", ("baseline",), ("vp8", "VP8", "baseline")),
    ],
)
async def test_format_is_chosen_by_what_the_encoder_likes_and_the_browser_offers(
    offered: str, likes: tuple[Profile, ...], chosen: tuple[str, str, Profile]
) -> None:
    viewer = Viewer()
    head, video, tail = (await viewer.offer()).partition("m=video")
    await viewer.close()
    names = offered.split()
    lines = [
        line
        for line in video_lines(tail)
        if not line.startswith(("a=rtpmap:", "a=fmtp:", "a=rtcp-fb:"))
    ]
    lines[0] = " 9 UDP/TLS/RTP/SAVPF " + " ".join(str(97 + n) for n in range(len(names)))
    for number, name in enumerate(names, 97):
        lines.append(f"a=rtpmap:{number} " + FORMATS[name].format(number))
    _, other, rest = tail.partition("m=audio")
    offer = read_offer(head + video + "\r\n".join(lines) + "\r\n" + other + rest, likes)
    section = offer.section("video")
    assert section is not None
    assert section.payload_type == 97 + names.index(chosen[0])
    assert (offer.video_codec, offer.profile) == chosen[1:]


def video_lines(tail: str) -> list[str]:
    """Those of the video section, without its `m=video`."""
    return tail.partition("m=audio")[0].rstrip("\r\n").split("\r\n")
