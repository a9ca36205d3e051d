"""A stock aiortc client that plays the browser: offers, receives, drops packets on purpose, asks for key frames."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any, cast

import av
import numpy as np
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError

from agent.congestion.flight import Packet
from agent.encode.base import AccessUnit, VideoCodec
from agent.rtp.rtcp import LossReport
from agent.transport import ice
from agent.transport.peer import Peer, PeerOptions
from cluster.protocol.messages import Candidate

PATIENCE_S = 20.0


class Listener:
    """Remembers what a peer tells its owner."""

    def __init__(self) -> None:
        self.connected = False
        self.candidates: list[Candidate] = []
        self.keyframes_wanted = 0
        self.reports: list[LossReport] = []
        self.audio_reports: list[LossReport] = []
        self.packets: list[Packet] = []
        self.channels: list[str] = []
        self.messages: list[tuple[str, bytes | str]] = []
        self.closed: list[str] = []

    def on_connected(self) -> None:
        self.connected = True

    def on_candidate(self, candidate: Candidate) -> None:
        self.candidates.append(candidate)

    def on_keyframe_wanted(self) -> None:
        self.keyframes_wanted += 1

    def on_report(self, report: LossReport) -> None:
        self.reports.append(report)

    def on_audio_report(self, report: LossReport) -> None:
        self.audio_reports.append(report)

    def on_feedback(self, packets: Sequence[Packet]) -> None:
        self.packets += packets

    def on_channel(self, label: str) -> None:
        self.channels.append(label)

    def on_message(self, label: str, payload: bytes | str) -> None:
        self.messages.append((label, payload))

    def on_closed(self, reason: str) -> None:
        self.closed.append(reason)


class Viewer:
    """One aiortc RTCPeerConnection that receives video and audio and opens data channels."""

    def __init__(self, *, audio: bool = True, labels: tuple[str, ...] = ("input", "stats")) -> None:
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.pc.addTransceiver("video", direction="recvonly")
        if audio:
            self.pc.addTransceiver("audio", direction="recvonly")
        self.channels: dict[str, RTCDataChannel] = {}
        self.messages: list[bytes | str] = []
        for label in labels:
            channel = self.pc.createDataChannel(label, ordered=False, maxRetransmits=0)
            channel.on("message", self.messages.append)
            self.channels[label] = channel
        self.answer = ""
        self.pictures = 0
        self.sizes: set[tuple[int, int]] = set()
        self.sounds = 0
        self.dropped = 0
        self.drop: Callable[[bytes], bool] = lambda packet: False
        """Whether a (still encrypted) RTP packet gets lost."""
        self._readers: list[asyncio.Task[None]] = []
        self.pc.on("track", self._on_track)

    def _on_track(self, track: MediaStreamTrack) -> None:
        self._readers.append(asyncio.ensure_future(self._read(track)))

    async def _read(self, track: MediaStreamTrack) -> None:
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            if isinstance(frame, av.VideoFrame):
                self.pictures += 1
                self.sizes.add((frame.width, frame.height))
            else:
                self.sounds += 1

    async def offer(self) -> str:
        """The offer, with all candidates in it."""
        await self.pc.setLocalDescription(await self.pc.createOffer())
        transport: Any = self.pc.getTransceivers()[0].receiver.transport.transport
        receive = transport._recv

        async def lossy_receive() -> bytes:
            """Drops on the wire: before SRTP's replay protection has seen the packet."""
            while True:
                packet: bytes = await receive()
                media = 128 <= packet[0] < 192 and not 64 <= packet[1] & 0x7F < 96
                if not (media and self.drop(packet)):
                    return packet
                self.dropped += 1

        transport._recv = lossy_receive
        return str(self.pc.localDescription.sdp)

    @property
    def video_ssrc(self) -> int:
        """Of the peer's video, from its answer."""
        return int(self.answer.partition("a=ssrc-group:FID ")[2].split()[0])

    async def connect(self, peer: Peer) -> None:
        """Offer to the peer and take its answer."""
        self.answer = await peer.answer(await self.offer())
        await self.take(self.answer)

    async def take(self, answer: str) -> None:
        """Apply the peer's answer."""
        await self.pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    async def send_rtcp(self, packet: bytes) -> None:
        """Send raw RTCP, encrypted as the client's own."""
        await self.pc.getTransceivers()[0].receiver.transport._send_rtp(packet)

    async def close(self) -> None:
        transports: list[Any] = [t.receiver.transport for t in self.pc.getTransceivers()]
        await self.pc.close()
        for transport in transports:
            await ice.end(transport.transport._connection)
        for reader in self._readers:
            reader.cancel()
        if self._readers:
            await asyncio.wait(self._readers)


def pictures(size: tuple[int, int], seed: int = 0) -> Iterator[av.VideoFrame]:
    """Moving noise over a gradient: frames of several packets that never repeat."""
    random = np.random.default_rng(seed)
    width, height = size
    ramp = np.linspace(0, 255, width, dtype=np.uint8)[None, :, None].repeat(height, 0).repeat(3, 2)
    while True:
        picture = ramp.copy()
        x = int(random.integers(0, width - 64))
        picture[:, x : x + 64] = random.integers(0, 255, (height, 64, 3), dtype=np.uint8)
        yield av.VideoFrame.from_ndarray(picture, format="rgb24")


def access_units(
    codec: VideoCodec, count: int, *, size: tuple[int, int] = (320, 240), gop: int = 1000
) -> list[AccessUnit]:
    """Encoded pictures at 30 fps from time 0."""
    context: Any = av.CodecContext.create("libx264" if codec == "H264" else "libvpx", "w")
    context.width, context.height = size
    context.pix_fmt = "yuv420p"
    context.bit_rate = 2_000_000
    context.time_base = Fraction(1, 30)
    context.framerate = Fraction(30)
    context.gop_size = gop
    context.options = (
        {"preset": "ultrafast", "tune": "zerolatency", "profile": "baseline"}
        if codec == "H264"
        else {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}
    )
    units: list[AccessUnit] = []
    for index, picture in zip(range(count), pictures(size), strict=False):
        frame = picture.reformat(format="yuv420p")
        frame.pts = index
        units += [_unit(codec, packet, index) for packet in context.encode(frame)]
    return units


def _unit(codec: VideoCodec, packet: Any, index: int) -> AccessUnit:
    return AccessUnit(codec, bytes(packet), packet.is_keyframe, index * 1_000_000 // 30, 0, 0, 0)


class Feeder:
    """Sends access units over and over from a thread, as the encode thread does; key frame on demand."""

    def __init__(
        self, peer: Peer, units: list[AccessUnit], listener: Listener, fps: int = 30
    ) -> None:
        self._peer = peer
        self._fps = fps
        self._units = units
        self._listener = listener
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feeder")
        self.sent = 0

    def __enter__(self) -> Feeder:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        start_us = time.monotonic_ns() // 1000
        answered = self._listener.keyframes_wanted
        index = 0
        while not self._stop.is_set():
            wanted = self._listener.keyframes_wanted
            if wanted != answered or index >= len(self._units):
                answered, index = wanted, 0
            unit = self._units[index]
            captured_us = start_us + self.sent * 1_000_000 // self._fps
            self._peer.send_video(
                AccessUnit(unit.codec, unit.payload, unit.keyframe, captured_us, 0, 0, 0)
            )
            self.sent += 1
            index += 1
            self._stop.wait(max(0.0, captured_us / 1e6 + 1 / self._fps - time.monotonic()))


def options(send_path: str = "fast", **changes: Any) -> PeerOptions:
    """Peer options by name."""
    return PeerOptions(send_path=cast(Any, send_path), **changes)


def sounds(count: int) -> list[bytes]:
    """Opus packets of 10 ms, stereo, with a 440 Hz tone."""
    context: Any = av.CodecContext.create("libopus", "w")
    context.sample_rate, context.layout, context.format = 48_000, "stereo", "s16"
    context.options = {"frame_duration": "10", "application": "lowdelay"}
    packets: list[bytes] = []
    for index in range(count):
        times = (np.arange(480) + index * 480) / 48_000
        tone = (8_000 * np.sin(2 * np.pi * 440 * times)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(tone.repeat(2)[None], format="s16", layout="stereo")
        frame.sample_rate, frame.pts = 48_000, index * 480
        packets += [bytes(packet) for packet in context.encode(frame)]
    return packets
