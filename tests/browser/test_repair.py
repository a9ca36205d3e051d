"""What a real Chromium repairs, behind a relay that loses packets."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from agent.audio.base import BLOCK_SAMPLES
from agent.audio.opus import OpusEncoder
from agent.audio.plan import OpusSettings
from agent.rtp.fec import Loss
from agent.transport.peer import Peer
from tests.audio.speech import speech
from tests.browser.receiver import Receiver, receiving
from tests.eventually import until
from tests.lossy_relay import Drop, LossyRelay
from tests.transport.viewer import Feeder, Listener, access_units

pytestmark = pytest.mark.browser


def every(period: int, peer: Peer, burst: int = 1) -> Drop:
    """So many in a row of the video's packets, and all that are sent again."""
    streams = peer._streams
    assert streams is not None

    def drop(packet: bytes) -> bool:
        source = int.from_bytes(packet[8:12], "big")
        hit = int.from_bytes(packet[2:4], "big") % period < burst
        return source == streams.rtx_ssrc or (hit and source == streams.video.ssrc)

    return drop


@pytest.mark.timeout(90)
async def test_chromium_restores_frames_from_parity_packets_alone() -> None:
    """Frames are whole, so that no key frame is needed, though nothing that is sent again arrives."""
    with LossyRelay() as relay:
        async with receiving(relay, Listener()) as receiver:
            relay.drop = every(11, receiver.peer)
            receiver.peer.protect(Loss(0.03))
            with Feeder(receiver.peer, access_units("H264", 300), receiver.listener):
                stats = await receiver.frames(100)
            assert relay.dropped > 80
            assert stats["fecPacketsReceived"] >= 100
            assert stats["fecBytesReceived"] > 50_000
            assert receiver.peer.stats().parity >= 100
            # Without parity it is dozens; one may come of what a busy machine's own socket lost.
            assert stats["pliCount"] <= 1


@pytest.mark.timeout(90)
async def test_chromium_restores_a_frame_from_the_parity_packets_of_the_next_ones() -> None:
    """A burst is longer than its own frame has parity packets."""
    with LossyRelay() as relay:
        async with receiving(relay, Listener()) as receiver:
            relay.drop = every(100, receiver.peer, burst=4)
            receiver.peer.protect(Loss(0.04, 2.0))
            with Feeder(receiver.peer, access_units("H264", 300), receiver.listener):
                stats = await receiver.frames(200)
            assert relay.dropped > 40
            assert stats["pliCount"] <= 1


@pytest.mark.timeout(90)
async def test_chromium_learns_its_round_trip_from_our_reports() -> None:
    """By default it takes 100 ms for it, and on a shorter path asks too late for what is still missing."""
    with LossyRelay(delay_s=0.02) as relay:
        async with receiving(relay, Listener()) as receiver:
            with Feeder(receiver.peer, access_units("H264", 300), receiver.listener):
                assert await receiver.round_trip_s() >= 0.04


@pytest.mark.timeout(90)
async def test_without_parity_packets_the_same_loss_needs_key_frames() -> None:
    """What the test above would show if nothing had been restored."""
    with LossyRelay() as relay:
        async with receiving(relay, Listener()) as receiver:
            relay.drop = every(11, receiver.peer)
            with Feeder(receiver.peer, access_units("H264", 300), receiver.listener):
                await until(lambda: receiver.listener.keyframes_wanted, "a request")
            assert receiver.peer.stats().parity == 0


async def heard(
    receiver: Receiver, relay: LossyRelay, expected_loss_percent: int
) -> dict[str, Any]:
    """What Chromium says of 6 s of speech of which every eighth packet is lost."""
    streams = receiver.peer._streams
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
        receiver.peer.send_audio(packet, number * BLOCK_SAMPLES)
        due += 0.01
        await asyncio.sleep(max(0.0, due - time.monotonic()))
    return await receiver.stats("audio")


@pytest.mark.timeout(90)
async def test_in_band_fec_leaves_less_sound_to_be_made_up() -> None:
    """libopus repeats speech, half of these packets: of 62 losses Chromium conceals 31."""
    made_up: dict[int, float] = {}
    for percent in (0, 20):
        with LossyRelay() as relay:
            async with receiving(relay, Listener()) as receiver:
                stats = await heard(receiver, relay, percent)
        made_up[percent] = stats["concealedSamples"]
        assert (stats["fecPacketsReceived"] > 0) == (percent > 0)
    assert made_up[20] < 0.75 * made_up[0]
