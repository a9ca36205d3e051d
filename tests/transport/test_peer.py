"""A peer against a stock aiortc client over this machine's own addresses."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import re
import socket
import struct
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import aioice.ice
import pytest
from aiortc import RTCSessionDescription
from aiortc.codecs import get_capabilities

from agent.encode.base import AccessUnit, VideoCodec
from agent.rtp.fec import Loss
from agent.rtp.packet import MAX_PACKET_BYTES, MID_URI, TRANSPORT_CC_URI
from agent.transport import ice, linux_segments
from agent.transport import path as path_module
from agent.transport.control import AGAIN_S
from agent.transport.peer import Peer
from cluster.protocol.messages import Candidate
from tests.eventually import until
from tests.transport.viewer import Feeder, Listener, Viewer, access_units, options, sounds


class Session:
    """A connected pair."""

    def __init__(self, listener: Listener, peer: Peer, viewer: Viewer) -> None:
        self.listener, self.peer, self.viewer = listener, peer, viewer


Connect = Callable[..., Any]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """A function that connects a peer and a viewer; both are closed at the end."""
    sessions: list[Session] = []

    async def go(viewer: Viewer | None = None, **changes: Any) -> Session:
        listener = Listener()
        session = Session(listener, Peer(listener, (), options(**changes)), viewer or Viewer())
        sessions.append(session)
        await session.viewer.connect(session.peer)
        await until(lambda: listener.connected, "connection")
        state = session.viewer.pc
        await until(lambda: state.connectionState == "connected", "the viewer's side")
        return session

    yield go
    for session in sessions:
        await session.peer.close("test over")
        await session.viewer.close()
        assert len(session.listener.closed) == 1


def fast_path() -> str:
    """What a burst leaves as on this kernel."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.setsockopt(linux_segments.SOL_UDP, linux_segments.UDP_SEGMENT, 0)
        except OSError:
            return "datagrams"
    return "segmented"


@pytest.mark.parametrize("send_path", ["fast", "portable"])
@pytest.mark.parametrize("codec", ["H264", "VP8"])
async def test_video_arrives_and_decodes(
    connect: Connect, codec: VideoCodec, send_path: str
) -> None:
    viewer = Viewer()
    if codec == "VP8":
        capabilities = get_capabilities("video").codecs
        vp8 = [c for c in capabilities if c.mimeType in ("video/VP8", "video/rtx")]
        viewer.pc.getTransceivers()[0].setCodecPreferences(vp8)
    session = await connect(viewer, send_path=send_path)
    assert session.peer.video_codec == codec
    with Feeder(session.peer, access_units(codec, 60), session.listener):
        await until(lambda: viewer.pictures >= 20, "20 pictures")
    stats = session.peer.stats()
    assert viewer.sizes == {(320, 240)}
    assert stats.packets > stats.frames > 0
    assert stats.failed == 0
    assert stats.path == ("portable" if send_path == "portable" else fast_path())


async def test_a_kernel_without_segmentation_gets_single_datagrams(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linux_segments, "UDP_SEGMENT", 0x7FFF)
    session = await connect()
    with Feeder(session.peer, access_units("H264", 30), session.listener):
        await until(lambda: session.viewer.pictures >= 10, "10 pictures")
    assert session.peer.stats().path == "datagrams"
    assert session.peer.stats().failed == 0


async def test_a_missing_private_name_leads_to_the_portable_path(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(path_module, "ffi", None)
    session = await connect()
    with Feeder(session.peer, access_units("H264", 30), session.listener):
        await until(lambda: session.viewer.pictures >= 5, "5 pictures")
    assert session.peer.stats().path == "portable"


async def test_a_path_is_taken_when_it_is_found_and_not_at_the_next_check(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ice, "CHECK_S", 3600.0)
    session = await connect()
    assert session.listener.connected


@pytest.mark.parametrize("send_path", ["fast", "portable"])
async def test_lost_packets_are_sent_again(connect: Connect, send_path: str) -> None:
    session = await connect(send_path=send_path)
    viewer = session.viewer
    seen = 0

    def drop(packet: bytes) -> bool:
        nonlocal seen
        video: bool = int.from_bytes(packet[8:12], "big") == viewer.video_ssrc
        seen += video
        return video and seen % 20 == 19

    viewer.drop = drop
    with Feeder(session.peer, access_units("H264", 300), session.listener) as feeder:
        await until(lambda: viewer.dropped >= 5 and viewer.pictures >= 60, "60 pictures")
        assert feeder.sent < 300, "a second key frame would have hidden a loss"
    stats = session.peer.stats()
    assert stats.retransmitted >= 5
    assert session.listener.keyframes_wanted == 0


async def test_without_rtx_the_same_packet_is_sent_again(connect: Connect) -> None:
    viewer = Viewer()
    capabilities = get_capabilities("video").codecs
    viewer.pc.getTransceivers()[0].setCodecPreferences(
        [c for c in capabilities if c.mimeType == "video/H264"]
    )
    session = await connect(viewer)
    assert "rtx" not in viewer.answer
    dropped: set[bytes] = set()

    def drop(packet: bytes) -> bool:
        number = packet[2:4]
        if number[1] % 16 != 3 or number in dropped:
            return False
        dropped.add(number)
        return True

    viewer.drop = drop
    with Feeder(session.peer, access_units("H264", 300), session.listener):
        await until(lambda: viewer.dropped >= 5 and viewer.pictures >= 40, "40 pictures")
    assert session.peer.stats().retransmitted >= 5


def nack(ssrc: int, sequence: int) -> bytes:
    return b"\x81\xcd\x00\x03" + b"\0\0\0\1" + struct.pack("!LHH", ssrc, sequence & 0xFFFF, 0)


@pytest.mark.parametrize(("loss", "times"), [(None, 1), (Loss(0.05), 2)])
async def test_a_repetition_is_sent_twice_where_losses_are_protected_against(
    connect: Connect, loss: Loss | None, times: int
) -> None:
    session = await connect()
    peer, viewer = session.peer, session.viewer
    peer.protect(loss)
    viewer.drop = lambda packet: True  # so that it asks for nothing itself
    with Feeder(peer, access_units("H264", 30), session.listener):
        await until(lambda: peer.stats().packets > 20, "packets")
    await viewer.send_rtcp(nack(viewer.video_ssrc, peer._sender._sequence - 1))
    await until(lambda: peer.stats().retransmitted == times, "repetitions")
    await viewer.send_rtcp(pli(viewer.video_ssrc))
    await until(lambda: session.listener.keyframes_wanted == 1, "PLI after the NACK")
    assert peer.stats().retransmitted == times


async def test_what_is_asked_for_again_within_a_round_trip_is_not_sent_a_third_time(
    connect: Connect,
) -> None:
    session = await connect()
    peer, viewer = session.peer, session.viewer
    peer.protect(Loss(0.05))
    viewer.drop = lambda packet: True  # so that it asks for nothing itself
    with Feeder(peer, access_units("H264", 30), session.listener):
        await until(lambda: peer.stats().packets > 20, "packets")
    assert peer._control is not None
    peer._control.rtt_s = 10.0
    asked = nack(viewer.video_ssrc, peer._sender._sequence - 1)
    await viewer.send_rtcp(asked)
    await until(lambda: peer.stats().retransmitted == 2, "both repetitions")
    await viewer.send_rtcp(asked)
    await until(lambda: peer.stats().refused == 1, "the refusal")
    await asyncio.sleep(2 * AGAIN_S)  # a timer that was set with the refusal comes before this one
    assert (peer.stats().retransmitted, peer.stats().refused) == (2, 1)


async def test_a_nack_of_what_srtp_would_not_protect_again_ends_no_session(
    connect: Connect,
) -> None:
    viewer = Viewer()
    viewer.pc.getTransceivers()[0].setCodecPreferences(
        [c for c in get_capabilities("video").codecs if c.mimeType == "video/H264"]
    )
    viewer.drop = lambda packet: True  # so that it asks for nothing itself
    session = await connect(viewer, bitrate_bps=200_000_000)
    ssrc = session.peer._sender._streams.video.ssrc
    picture = b"\0\0\0\1\x65" + b"\x01" * 60_000
    sent = session.peer.stats
    while (frames := sent().frames) < 25:
        session.peer.send_video(AccessUnit("H264", picture, True, frames * 16_000, 0, 0, 0))
        await until(lambda before=frames: sent().frames > before, "a frame")  # type: ignore[misc]
    assert sent().packets > 1200
    await viewer.send_rtcp(nack(ssrc, session.peer._sender._sequence - 1100))
    await viewer.send_rtcp(pli(ssrc))
    await until(lambda: session.listener.keyframes_wanted == 1, "PLI after the NACK")
    assert session.listener.closed == []
    assert session.peer.stats().retransmitted == 0


async def test_rtcp_that_breaks_something_of_ours_ends_no_session(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    session = await connect()
    viewer, ssrc = session.viewer, session.viewer.video_ssrc
    monkeypatch.setattr(session.peer._sender, "repeat", None)
    await viewer.send_rtcp(nack(ssrc, 1))
    await viewer.send_rtcp(pli(ssrc))
    await until(lambda: session.listener.keyframes_wanted == 1, "PLI after the NACK")
    assert session.listener.closed == []
    assert "Traceback" in caplog.text


def pli(ssrc: int) -> bytes:
    return b"\x81\xce\x00\x02" + b"\0\0\0\1" + ssrc.to_bytes(4, "big")


def fir(ssrc: int, sequence: int) -> bytes:
    entry = ssrc.to_bytes(4, "big") + bytes([sequence, 0, 0, 0])
    return b"\x84\xce\x00\x04" + b"\0\0\0\1" + b"\0\0\0\0" + entry


async def test_pli_and_fir_ask_for_a_keyframe_once(connect: Connect) -> None:
    session = await connect()
    viewer, listener = session.viewer, session.listener
    for _ in range(3):
        await viewer.send_rtcp(pli(viewer.video_ssrc))
    await until(lambda: listener.keyframes_wanted == 1, "PLI")
    await viewer.send_rtcp(pli(viewer.video_ssrc ^ 1))
    await asyncio.sleep(0.3)  # longer than the deduplication
    assert listener.keyframes_wanted == 1
    await viewer.send_rtcp(fir(viewer.video_ssrc, 7))
    await until(lambda: listener.keyframes_wanted == 2, "FIR")
    await asyncio.sleep(0.3)
    await viewer.send_rtcp(fir(viewer.video_ssrc, 7))
    await viewer.send_rtcp(fir(viewer.video_ssrc, 8))
    await until(lambda: listener.keyframes_wanted == 3, "a new FIR")


async def test_transport_feedback_arrives(connect: Connect) -> None:
    session = await connect()
    # base 65,535, 3 packets, reference time 1, report 0; a 1-bit vector: arrived, lost, arrived
    body = bytes.fromhex("ffff 0003 000001 00 a800 01 02")
    await session.viewer.send_rtcp(b"\x8f\xcd\0\5" + b"\0\0\0\1\0\0\0\2" + body)
    await until(lambda: session.peer.counts()["transport feedbacks"] == 1, "a feedback packet")
    assert session.listener.closed == []


async def test_feedback_is_matched_with_what_was_sent(connect: Connect) -> None:
    class Telling(Viewer):
        async def offer(self) -> str:
            sdp = await super().offer()
            return sdp.replace("a=mid:0\r\n", f"a=mid:0\r\na=extmap:9 {TRANSPORT_CC_URI}\r\n")

    session = await connect(Telling())
    peer, viewer, listener = session.peer, session.viewer, session.listener
    assert peer.has_transport_feedback
    assert peer.waiting_since() is None
    with Feeder(peer, access_units("H264", 30), listener):
        await until(lambda: peer.waiting_since() and peer.stats().packets > 20, "packets")
    since = peer.waiting_since()
    assert since is not None
    assert 0 <= time.monotonic() - since < 20
    # base 0, 3 packets, reference time 1, report 0; a 1-bit vector: arrived, lost, arrived
    body = bytes.fromhex("0000 0003 000001 00 a800 01 02")
    # base 3, 1 packet, report 1: what the first one missed is lost
    more = bytes.fromhex("0003 0001 000001 01 a000 04 00")
    for fci in (body, more):
        await viewer.send_rtcp(b"\x8f\xcd\0\5" + b"\0\0\0\1\0\0\0\2" + fci)
    await until(lambda: len(listener.packets) >= 4, "what became of packets")
    arrived = [packet.arrived_s for packet in listener.packets]
    assert arrived == [0.06425, 0.06475, None, 0.065]
    assert [packet.number for packet in listener.packets] == [0, 2, 1, 3]
    assert all(12 < packet.size_bytes <= 1200 for packet in listener.packets)


async def test_bad_rtcp_is_counted_and_nothing_else_is_lost(connect: Connect) -> None:
    session = await connect()
    await session.viewer.send_rtcp(b"\x81\xce\x00\x02" + b"\0\0\0\1")
    await session.viewer.send_rtcp(pli(session.viewer.video_ssrc))
    await until(lambda: session.listener.keyframes_wanted == 1, "PLI after bad RTCP")
    assert session.peer.counts()["RTCP rejected"] == 1


async def test_reports_tell_loss_and_round_trip(connect: Connect) -> None:
    session = await connect()
    reports = session.listener.reports
    with Feeder(session.peer, access_units("H264", 60), session.listener):
        await until(lambda: any(r.rtt_s is not None for r in reports), "a report with RTT")
    assert reports[-1].packets_lost == 0
    assert reports[-1].highest_sequence > 0
    assert 0 <= (reports[-1].rtt_s or 0) < 5
    assert reports[-1].reached_s is not None
    assert 0 <= reports[-1].reached_s < 60


async def test_steps_of_the_wall_clock_are_no_round_trip(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await connect()
    reports = session.listener.reports
    with Feeder(session.peer, access_units("H264", 60), session.listener):
        await until(lambda: any(r.rtt_s is not None for r in reports), "a report with RTT")
        steps_s = itertools.count(time.time(), 30.0)
        monkeypatch.setattr(time, "time", lambda: next(steps_s))
        count = len(reports)
        await until(lambda: len(reports) >= count + 2, "two reports more")
    assert (reports[-1].rtt_s or 0) < 5


async def test_audio_arrives(connect: Connect) -> None:
    session = await connect()
    packets = sounds(200)
    for index, packet in enumerate(packets):
        session.peer.send_audio(packet, index * 480)
        await asyncio.sleep(0.01)
        if session.viewer.sounds >= 20:
            break
    await until(lambda: session.viewer.sounds >= 20, "audio frames")


async def test_audio_that_goes_out_twice_arrives_through_losses_once(connect: Connect) -> None:
    """Every fourth packet is lost the first time."""
    session = await connect()
    sender = session.peer._sender
    assert sender is not None
    send_one, seen = sender._path.send_one, set[bytes]()

    def lossy(packet: bytes) -> None:
        lost = packet[2:4] not in seen and packet[3] % 4 == 3
        seen.add(packet[2:4])
        if not lost:
            send_one(packet)

    sender._path.send_one = lossy
    session.peer.repeat_sound(repeats=True)
    packets = sounds(100)
    for index, packet in enumerate(packets):
        session.peer.send_audio(packet, index * 480)
        await asyncio.sleep(0.01)
    assert session.peer.stats().retransmitted == len(packets) - 1
    held = 8  # by the viewer's jitter buffer
    await until(lambda: session.viewer.sounds >= len(packets) - held, "all of the sound")
    assert session.viewer.sounds <= len(packets)


async def test_video_and_audio_are_in_different_streams(connect: Connect) -> None:
    session = await connect()
    streams = re.findall(r"a=msid:(\S+) (\S+)", session.viewer.answer)
    assert len({stream for stream, _ in streams}) == 2


async def test_data_channels_both_ways_and_only_known_labels(connect: Connect) -> None:
    viewer = Viewer(labels=("input", "stats", "other"))
    session = await connect(viewer)
    listener = session.listener
    await until(lambda: set(listener.channels) == {"input", "stats"}, "channels")
    await until(lambda: viewer.channels["other"].readyState == "closed", "other is closed")
    viewer.channels["input"].send(b"\x01\x02")
    viewer.channels["input"].send("text")
    viewer.channels["stats"].send(bytes(20_000))
    await until(lambda: len(listener.messages) == 3, "messages")
    assert ("input", b"\x01\x02") in listener.messages
    assert ("input", "text") in listener.messages
    assert ("stats", bytes(20_000)) in listener.messages
    assert session.peer.send("input", b"ack")
    await until(lambda: viewer.messages == [b"ack"], "a message from the host")
    assert not session.peer.send("other", b"no")
    sent = [session.peer.send("stats", bytes(16_384)) for _ in range(8)]
    assert sent[0]
    assert not sent[-1]


async def test_video_begins_with_a_keyframe_and_asks_for_it(connect: Connect) -> None:
    session = await connect()
    units = access_units("H264", 3)
    session.peer.send_video(units[1])
    await until(lambda: session.listener.keyframes_wanted == 1, "keyframe wanted")
    session.peer.send_video(units[0])
    await until(lambda: session.peer.stats().frames == 1, "keyframe sent")
    assert session.peer.stats().dropped_frames == 1


@pytest.mark.parametrize("at_once", [True, False])
async def test_what_may_leave_at_once_is_sent_by_who_hands_it_over_and_the_rest_by_our_thread(
    connect: Connect, at_once: bool
) -> None:
    session = await connect(sends_at_once=at_once, bitrate_bps=1_000_000)
    peer = session.peer
    sender, threads = peer._sender, list[str]()
    send_burst = sender._path.send_burst

    def noting(placed: Any) -> None:
        threads.append(threading.current_thread().name)
        send_burst(placed)

    sender._path.send_burst = noting
    session.viewer.drop = lambda packet: True
    ours = threading.current_thread().name
    for number, size in enumerate([10_000, 40_000, 10_000]):
        threads.clear()
        picture = b"\0\0\0\1\x65" + b"\1" * size
        peer.send_video(AccessUnit("H264", picture, True, number * 33_000, 0, 0, 0))
        await until(lambda after=number: peer.stats().frames > after, "the frame")  # type: ignore[misc]
        # How many bursts a large one is made of depends on when our thread is woken.
        assert threads[0] == (ours if at_once else "sender")
        assert set(threads[1:]) <= ({"sender"} if size == 40_000 else set())
    assert len(peer.take_sent_frames()) == 3


@pytest.mark.parametrize("link_bps", [None, 10e9])
async def test_a_frame_of_several_chunks_leaves_whole_and_the_next_one_after_it(
    connect: Connect, link_bps: float | None
) -> None:
    """On a fast path all of it may leave at once: the second chunk's turn was used up by the first, and no frame
    came after it.
    """
    session = await connect(bitrate_bps=200_000_000)
    peer = session.peer
    session.viewer.drop = lambda packet: True
    peer._sender._pacer.set_link(link_bps)
    for number in range(3):
        picture = b"\0\0\0\1\x65" + b"\1" * 400_000
        peer.send_video(AccessUnit("H264", picture, True, number * 33_000, 0, 0, 0))
        await until(lambda after=number: peer.stats().frames > after, "the frame")  # type: ignore[misc]
        assert peer.stats().packets >= (number + 1) * len(picture) / MAX_PACKET_BYTES


async def test_nothing_is_sent_by_who_handed_a_frame_over_once_the_sender_was_stopped(
    connect: Connect,
) -> None:
    session = await connect()
    sender = session.peer._sender
    packets, before = sender._path.send_burst, list[object]()
    sender._path.send_burst = before.append
    seal = sender._path.seal

    def stopping(placed: Any) -> None:
        seal(placed)
        sender._stopping = True

    sender._path.seal = stopping
    unit = access_units("H264", 1)[0]
    session.peer.send_video(unit)
    session.peer.send_video(unit)
    sender._path.send_burst = packets
    assert before == []
    assert sender.stats().frames == 0


async def test_the_viewer_leaving_closes_the_peer_with_a_reason(connect: Connect) -> None:
    session = await connect()
    await session.viewer.close()
    await until(lambda: session.listener.closed, "on_closed")
    assert session.listener.closed == ["the viewer closed the connection"]


async def vanish(data: bytes, addr: tuple[str, int]) -> None:
    """A send that goes nowhere."""


async def test_a_viewer_that_vanishes_is_noticed(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aioice.ice, "CONSENT_INTERVAL", 0.05)
    session = await connect()
    ice = session.viewer.pc.getTransceivers()[0].receiver.transport.transport._connection
    for protocol in ice._protocols:
        protocol.datagram_received = lambda data, addr: None
        monkeypatch.setattr(protocol, "send_stun", lambda message, addr: None)
        monkeypatch.setattr(protocol, "send_data", vanish)
    await until(lambda: session.listener.closed, "on_closed")
    assert session.listener.closed == ["the viewer stopped answering"]


async def test_no_path_to_the_viewer_closes_with_a_reason() -> None:
    listener = Listener()
    peer = Peer(listener, (), options(connect_timeout_s=0.3))
    viewer = Viewer()
    await peer.answer(await viewer.offer())
    await until(lambda: listener.closed, "on_closed")
    assert listener.closed == ["no network path to the viewer was found within 0 s"]
    await viewer.close()


async def test_early_and_unusable_candidates_do_no_harm() -> None:
    listener = Listener()
    peer = Peer(listener, (), options())
    viewer = Viewer()
    offer = await viewer.offer()
    lines = offer.splitlines()
    bare = "\r\n".join(x for x in lines if "candidate" not in x) + "\r\n"
    await peer.add_candidate(Candidate("candidate:1 1 udp 99 nobody-here.local 5000 typ host", "0"))
    await peer.add_candidate(Candidate("candidate:2 1 tcp 99 192.0.2.1 9 typ host tcptype active"))
    await peer.add_candidate(Candidate("candidate:nonsense", "0", 0))
    for line in lines:
        if line.startswith("a=candidate:"):
            await peer.add_candidate(Candidate(line[2:], "0", 0))
    await peer.add_candidate(Candidate("", "0", 0))
    answer = await peer.answer(bare)
    assert "127.0.0.1" in answer
    await viewer.pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    await until(lambda: listener.connected, "connection")
    assert listener.candidates[-1].candidate == ""
    await peer.close("test over")
    await viewer.close()


async def test_a_mid_too_long_for_its_header_extension_is_answered_without_it(
    connect: Connect,
) -> None:
    long = "A" * 17

    class LongMid(Viewer):
        async def offer(self) -> str:
            sdp = await super().offer()
            return sdp.replace("a=mid:0\r\n", f"a=mid:{long}\r\n").replace(
                "a=group:BUNDLE 0 ", f"a=group:BUNDLE {long} "
            )

        async def take(self, answer: str) -> None:
            await super().take(answer.replace(long, "0"))

    session = await connect(LongMid())
    video = session.viewer.answer.partition("m=video")[2].partition("m=audio")[0]
    assert f"a=mid:{long}" in video
    assert MID_URI not in video


def resources() -> tuple[int, int, int]:
    """Descriptors, threads and tasks of this process."""
    return len(os.listdir("/proc/self/fd")), threading.active_count(), len(asyncio.all_tasks())


async def test_nothing_is_left_after_twenty_rounds() -> None:
    units = access_units("H264", 5)
    before = (0, 0, 0)
    for number in range(20):
        await one_round(units, number)
        if number == 4:
            gc.collect()
            before = resources()
    gc.collect()
    await until(
        lambda: all(now <= then for now, then in zip(resources(), before, strict=True)),
        f"resources as before {before}: {resources()}",
        5.0,
    )
    assert "sender" not in {thread.name for thread in threading.enumerate()}


async def test_a_peer_that_is_closed_while_it_is_answered_leaves_no_sockets() -> None:
    viewer = Viewer()
    offer = await viewer.offer()
    before = resources()
    for turns in range(10):  # of the loop: sockets are bound in the first ones
        listener = Listener()
        peer = Peer(listener, (), options())
        answering = asyncio.create_task(peer.answer(offer))
        for _ in range(turns):
            await asyncio.sleep(0)
        await peer.close("again")
        await asyncio.gather(answering, return_exceptions=True)
        assert listener.closed == ["again"]
    del peer, answering
    gc.collect()
    await until(lambda: resources()[0] <= before[0], "no descriptors left", 5.0)
    await viewer.close()


async def one_round(units: list[AccessUnit], number: int) -> None:
    """Connect, send and close; every fifth is closed while it is still connecting."""
    listener = Listener()
    peer = Peer(listener, (), options("portable" if number % 4 == 3 else "fast"))
    viewer = Viewer()
    await viewer.connect(peer)
    if number % 5:
        await until(lambda: listener.connected, "connection")
        for unit in units:
            peer.send_video(unit)
        await until(lambda: peer.stats().frames > 0, "a frame")
    await peer.close("round over")
    await viewer.close()
    assert listener.closed == ["round over"]


async def test_frames_are_told_with_their_timestamp_and_in_the_order_of_their_stages(
    connect: Connect,
) -> None:
    session = await connect()
    seen: list[int] = []

    def note(packet: bytes) -> bool:
        seen.append(struct.unpack_from("!I", packet, 4)[0])
        return False

    session.viewer.drop = note
    frames = []
    with Feeder(session.peer, access_units("H264", 30), session.listener):
        await until(lambda: session.viewer.pictures >= 10, "10 pictures")
        frames = session.peer.take_sent_frames()
    assert {frame.rtp_timestamp for frame in frames[:5]} <= set(seen)
    assert len({frame.rtp_timestamp for frame in frames}) == len(frames) >= 10
    for frame in frames:
        assert frame.captured_us == frame.grabbed_us
        assert frame.converted_us == frame.encoded_us <= frame.first_sent_us < frame.last_sent_us
    taken = {frame.rtp_timestamp for frame in session.peer.take_sent_frames()}
    assert not taken & {frame.rtp_timestamp for frame in frames}
