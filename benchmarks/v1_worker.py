"""V1's near end: one moving picture to so many viewers over real connections. Prints one line of JSON."""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription, VideoStreamTrack
from aiortc.codecs.h264 import H264Encoder
from aiortc.contrib.media import MediaRelay

from agent import backends, ipc
from agent.capture.base import Frame, Pixels
from agent.capture.testpattern import TestPatternCapture
from agent.encode.colour import I420Converter
from agent.media import SWITCH_INTERVAL_S, Media
from tests.agent.root import Pipe

RECEIVER = Path(__file__).with_name("v1_receiver.py")
SIZE = (1280, 720)
FPS = 30
RATE_BPS = 3_000_000
"""The most that aiortc's encoders take."""
SQUARE = 20
SQUARES = 16
WARM_UP_S = 1.5
CONNECT_LIMIT_S = 30.0
FRAMES_LIMIT_S = 60.0


class Scene(TestPatternCapture):
    """The test pattern with squares in its lower half that are others in each picture: more than the rate carries."""

    def __init__(self, width: int = SIZE[0], height: int = SIZE[1], fps: int = FPS) -> None:
        super().__init__(width, height, fps)
        shape = (SQUARES, height // 2 // SQUARE, width // SQUARE, 4)
        coarse = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
        self._squares = coarse.repeat(SQUARE, axis=1).repeat(SQUARE, axis=2)

    def _draw(self, pixels: Pixels) -> None:
        squares = self._squares[self._count % SQUARES]
        pixels[-len(squares) :] = squares


class FarEnd:
    """The process of the receivers."""

    def __init__(self, viewers: int) -> None:
        command = [sys.executable, str(RECEIVER), str(viewers)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    async def read(self) -> Any:
        """Its next line."""
        stdout = self._process.stdout
        assert stdout is not None
        return json.loads(await asyncio.to_thread(stdout.readline))

    def write(self, value: Any) -> None:
        """Give it a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(value) + "\n")
        self._process.stdin.flush()

    async def counts(self) -> Any:
        """What has arrived so far."""
        self.write({})
        return await self.read()

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


class Ours:
    """The root of the media process, with a session for each viewer, as the agent opens them."""

    def __init__(self) -> None:
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        backends.BACKENDS["capture"] = (("testpattern", f"{Scene.__module__}:Scene"),)
        self._pipe = Pipe()
        told = ipc.Configure("testpattern", *SIZE, FPS, RATE_BPS, "delay", audio=False)
        self._root = Media(told, self._pipe)
        self._count = 0

    async def answer(self, offer: str) -> str:
        self._count += 1
        role = "player" if self._count == 1 else "viewer"
        self._root.on_message(ipc.OpenSession(self._count, role, offer, ()))
        deadline = time.monotonic() + CONNECT_LIMIT_S
        while self._count not in self._pipe.answers:
            if time.monotonic() > deadline:
                raise RuntimeError("no answer")
            await asyncio.sleep(0.01)
        return self._pipe.answers[self._count]

    async def close(self) -> None:
        await self._root.close()


class Pictures(VideoStreamTrack):
    """The same test pattern, as a track; each picture is drawn and converted once."""

    def __init__(self) -> None:
        super().__init__()
        self._capture = Scene()
        self._thread = ThreadPoolExecutor(1)
        self._converter = I420Converter(*SIZE)
        self._started = time.monotonic_ns() // 1000

    async def recv(self) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._next)

    def _next(self) -> Any:
        while True:
            frame = self._capture.next(1.0)
            if isinstance(frame, Frame):
                break
        picture = self._converter.convert(frame.pixels, frame.changed)
        # The converter's own is written again while encoders may still read it.
        copy = type(picture).from_ndarray(picture.to_ndarray(), format="yuv420p")
        copy.pts = (frame.captured_us - self._started) * 9 // 100
        copy.time_base = Fraction(1, 90_000)
        frame.release()
        return copy


class Relayed:
    """aiortc: one track, MediaRelay, a connection for each viewer, each with an encoder of its own."""

    def __init__(self) -> None:
        self._relay = MediaRelay()
        self._track = Pictures()
        self._connections: list[RTCPeerConnection] = []

    async def answer(self, offer: str) -> str:
        pc: Any = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._connections.append(pc)
        pc.addTrack(self._relay.subscribe(self._track))
        await pc.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        for transceiver in pc.getTransceivers():
            transceiver._codecs = [
                codec
                for codec in transceiver._codecs
                if codec.mimeType != "video/VP8" and codec.parameters.get("apt", 0) != 97
            ]
        await pc.setLocalDescription(await pc.createAnswer())
        for transceiver in pc.getTransceivers():
            self._aim(transceiver.sender)
        return str(pc.localDescription.sdp)

    def _aim(self, sender: Any) -> None:
        """Its encoder begins with 1 Mbit/s, and only a REMB changes that."""
        encoder = H264Encoder()
        encoder.target_bitrate = RATE_BPS
        sender._RTCRtpSender__encoder = encoder

    async def close(self) -> None:
        await asyncio.gather(*(pc.close() for pc in self._connections))


SUBJECTS: dict[str, type[Ours | Relayed]] = {"ours": Ours, "MediaRelay": Relayed}


async def measure(arguments: argparse.Namespace) -> dict[str, float]:
    """CPU time of this process while frames go to all, and how many arrived."""
    subject = SUBJECTS[arguments.subject]()
    far = FarEnd(arguments.viewers)
    try:
        for _ in range(arguments.viewers):
            far.write({"sdp": await subject.answer((await far.read())["sdp"])})
        deadline = time.monotonic() + FRAMES_LIMIT_S
        while not all((await far.counts())["each"]):
            if time.monotonic() > deadline:
                raise RuntimeError("not every viewer got a picture")
            await asyncio.sleep(0.1)
        await asyncio.sleep(WARM_UP_S)
        before, cpu, started = await far.counts(), time.process_time(), time.monotonic()
        await asyncio.sleep(arguments.seconds)
        cpu_s, wall_s = time.process_time() - cpu, time.monotonic() - started
        after = await far.counts()
        threads = threading.active_count()
        await subject.close()
    finally:
        far.close()
    frames = sum(after["each"]) - sum(before["each"])
    return {
        "cpu_s": cpu_s,
        "wall_s": wall_s,
        "frames": frames,
        "fps": frames / arguments.viewers / wall_s,
        "mbps": (after["octets"] - before["octets"]) * 8e-6 / wall_s / arguments.viewers,
        "threads": threads,
    }


def main() -> None:
    """Measure one subject once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("subject", choices=SUBJECTS)
    parser.add_argument("--viewers", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3.0)
    print(json.dumps(asyncio.run(measure(parser.parse_args()))))


if __name__ == "__main__":
    main()
