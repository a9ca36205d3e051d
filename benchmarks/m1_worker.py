"""M1's near end: one sender, fed with access units at a fixed rate while another thread is busy.

The connection is real. Runs in the interpreter of its subject, so it imports only what that one has.
Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
WARM_UP_S = 0.5
DRAIN_S = 0.2
BUSY_FPS = 60
UNPACED_BPS = 10**12
"""Our pacer spreads 42 KB at it over a quarter of a microsecond; the peers here have none."""


def access_unit(size: int, seed: int, *, keyframe: bool) -> bytes:
    """Bytes that look like H.264 to a packetizer: as random as compressed pictures, without start codes."""
    source = random.Random(seed)
    body = source.randbytes(size).replace(b"\0\0", b"\0\3")
    head = b"\0\0\0\1\x67\x42\xe0\x1f\x80\0\0\0\1\x68\xce\x3c\x80" if keyframe else b""
    return head + (b"\0\0\0\1\x65" if keyframe else b"\0\0\0\1\x41") + body


class Busy:
    """A thread that works as capture and conversion do: big buffers without the GIL, and some Python."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="busy", daemon=True)
        self._thread.start()
        while self._thread.ident is None:
            time.sleep(0.001)
        self._clock = time.pthread_getcpuclockid(self._thread.ident)

    def cpu_s(self) -> float:
        """CPU time of this thread so far."""
        return time.clock_gettime(self._clock)

    def _run(self) -> None:
        one, two = bytearray(1280 * 720 * 4), bytearray(1280 * 720 * 4)
        while not self._stop.is_set():
            started = time.monotonic()
            for _ in range(4):
                memoryview(two)[:] = one
            sum(index & 7 for index in range(15_000))
            self._stop.wait(max(0.0, started + 1 / BUSY_FPS - time.monotonic()))

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join()


class Departures:
    """When frames were handed over and when the last packet of each had left, by every send of this process.

    The sends are wrapped, which adds about half a microsecond to each call.
    """

    def __init__(self) -> None:
        self._ready_ns: list[int] = []
        self._left_ns: list[int] = []
        for name in ("send", "sendto", "sendmsg"):
            if hasattr(socket.socket, name):
                self.watch(socket.socket, name)

    def watch(self, owner: type, name: str) -> None:
        """This method sends packets, its first argument, or cuts it into packets of the size that is its second."""
        send: Callable[..., Any] = getattr(owner, name)

        def noted(sender: object, packets: Any, *rest: Any) -> Any:
            taken = send(sender, packets, *rest)
            now_ns = time.monotonic_ns()
            run = packets[-1] if isinstance(packets, list) else packets
            segment = rest[0] if rest and isinstance(rest[0], int) else len(run)
            if ends_frame(run, segment):
                self._left_ns.append(now_ns)
            return taken

        setattr(owner, name, noted)

    def ready(self) -> None:
        """A frame is handed over now."""
        self._ready_ns.append(time.monotonic_ns())

    def begin(self) -> None:
        """Forget those before; none may be on its way."""
        self._ready_ns.clear()
        self._left_ns.clear()

    def took_us(self) -> list[float]:
        """Of each frame; raises RuntimeError when not every one left."""
        ready, left = self._ready_ns, self._left_ns
        if len(ready) != len(left):
            raise RuntimeError(f"{len(ready)} frames were handed over, {len(left)} left")
        return [(end - begin) / 1e3 for begin, end in zip(ready, left, strict=True)]


def ends_frame(run: Any, segment: int) -> bool:
    """Whether the last packet of a run of packets of this size is a frame's last: RTP's marker bit (RFC 3550 5.1).

    RTCP has the same version bits and payload types of 64 to 95 (RFC 5761 4).
    """
    last = run[(len(run) - 1) // segment * segment :] if len(run) else run
    return len(last) > 12 and last[0] >> 6 == 2 and last[1] >= 128 + 96


class FarEnd:
    """The receiver process."""

    def __init__(self, python: str) -> None:
        command = [python, str(HERE / "m1_receiver.py")]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def read(self) -> Any:
        """Its next line."""
        if self._process.stdout is None:
            raise RuntimeError("no pipe to the receiver")
        return json.loads(self._process.stdout.readline())

    def write(self, value: Any) -> None:
        """Give it a line."""
        if self._process.stdin is None:
            raise RuntimeError("no pipe to the receiver")
        self._process.stdin.write(json.dumps(value) + "\n")
        self._process.stdin.flush()

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


class OursSubject:
    """`agent.transport.peer.Peer`, fed from a thread as by the encode thread."""

    def __init__(self, send_path: str) -> None:
        sys.path.insert(0, str(HERE.parent))
        sys.setswitchinterval(0.0005)  # as the media process does
        self._send_path: Any = send_path
        self.connected = asyncio.Event()
        self._peer: Any = None
        self._keyframe = True

    def __getattr__(self, name: str) -> Callable[..., None]:
        """Every other call of the listener is of no interest here."""
        if not name.startswith("on_"):
            raise AttributeError(name)
        return lambda *_: None

    def on_connected(self) -> None:
        """The connection is up."""
        self.connected.set()

    def on_keyframe_wanted(self) -> None:
        """The sender dropped frames: the next one is a key frame, as in a session."""
        self._keyframe = True

    def watch_sends(self, departures: Departures) -> None:
        """Its segmented sends are not Python's own."""
        from agent.transport.linux_segments import SegmentedSender

        departures.watch(SegmentedSender, "send")

    async def answer(self, offer: str, rate_bps: int) -> str:
        from agent.transport.peer import Peer, PeerOptions

        listener: Any = self
        options = PeerOptions(bitrate_bps=rate_bps, send_path=self._send_path)
        self._peer = Peer(listener, (), options)
        return str(await self._peer.answer(offer))

    async def feed(
        self, units: list[bytes], count: int, fps: int, on_ready: Callable[[], None]
    ) -> None:
        from agent.encode.base import AccessUnit

        def run() -> None:
            start = time.monotonic()
            for index in range(count):
                wait_s = start + index / fps - time.monotonic()
                if wait_s > 0:
                    time.sleep(wait_s)
                now_us = time.monotonic_ns() // 1000
                keyframe, self._keyframe = self._keyframe, False
                unit = units[0 if keyframe else index % len(units)]
                on_ready()
                self._peer.send_video(AccessUnit("H264", unit, keyframe, now_us, 0, 0, 0))

        thread = threading.Thread(target=run, name="encode")
        thread.start()
        await asyncio.get_running_loop().run_in_executor(None, thread.join)

    async def close(self) -> None:
        await self._peer.close("measured")


class LibrarySubject:
    """RTCPeerConnection of aiortc, or of Selkies' fork of it, with a track of encoded packets."""

    def __init__(self, name: str) -> None:
        self._selkies = name == "selkies"
        self.connected = asyncio.Event()
        self._pc: Any = None
        self._queue: asyncio.Queue[Any] = asyncio.Queue()

    def _packet(self, unit: bytes, index: int, fps: int) -> Any:
        pts, base = index * 90_000 // fps, Fraction(1, 90_000)
        if self._selkies:
            base_module: Any = importlib.import_module("selkies.webrtc.codecs.base")
            return base_module.EncodedPacket(unit, pts, base, keyframe=index == 0)
        import av

        packet = av.Packet(unit)
        packet.pts, packet.time_base = pts, base
        return packet

    async def answer(self, offer: str, rate_bps: int) -> str:
        lib: Any = importlib.import_module("selkies.webrtc" if self._selkies else "aiortc")
        streams: Any = importlib.import_module(f"{lib.__name__}.mediastreams")
        track = streams.VideoStreamTrack()
        track.recv = self._queue.get
        self._pc = lib.RTCPeerConnection(lib.RTCConfiguration(iceServers=[]))
        self._pc.addTrack(track)
        self._pc.on("connectionstatechange", self._on_state)
        await self._pc.setRemoteDescription(lib.RTCSessionDescription(offer, "offer"))
        for transceiver in self._pc.getTransceivers():
            transceiver._codecs = [
                codec
                for codec in transceiver._codecs
                if codec.mimeType != "video/VP8" and codec.parameters.get("apt", 0) != 97
            ]
        await self._pc.setLocalDescription(await self._pc.createAnswer())
        return str(self._pc.localDescription.sdp)

    def _on_state(self) -> None:
        if self._pc.connectionState == "connected":
            self.connected.set()

    async def feed(
        self, units: list[bytes], count: int, fps: int, on_ready: Callable[[], None]
    ) -> None:
        start = time.monotonic()
        for index in range(count):
            wait_s = start + index / fps - time.monotonic()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            on_ready()
            self._queue.put_nowait(self._packet(units[index % len(units)], index, fps))
        await asyncio.sleep(0.1)  # let the last ones leave

    async def close(self) -> None:
        await self._pc.close()


Subject = OursSubject | LibrarySubject
SUBJECTS: dict[str, Callable[[], Subject]] = {
    "ours": lambda: OursSubject("fast"),
    "portable": lambda: OursSubject("portable"),
    "aiortc": lambda: LibrarySubject("aiortc"),
    "selkies": lambda: LibrarySubject("selkies"),
}


async def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """CPU time of everything in this process but the busy thread, per packet that arrived; and the departures."""
    departures = Departures() if arguments.departures else None
    on_ready = departures.ready if departures else lambda: None
    subject = SUBJECTS[arguments.subject]()
    if departures and isinstance(subject, OursSubject):
        subject.watch_sends(departures)
    far = FarEnd(arguments.receiver_python)
    loop = asyncio.get_running_loop()
    in_thread: Callable[..., Awaitable[Any]] = lambda work: loop.run_in_executor(None, work)  # noqa: E731
    units = [access_unit(arguments.bytes, seed, keyframe=seed == 0) for seed in range(8)]
    rate_bps = UNPACED_BPS if departures else arguments.bytes * 8 * arguments.fps
    try:
        offer = (await in_thread(far.read))["sdp"]
        far.write({"sdp": await subject.answer(offer, rate_bps)})
        async with asyncio.timeout(15):
            await subject.connected.wait()
        await subject.feed(units, int(WARM_UP_S * arguments.fps), arguments.fps, on_ready)
        busy = Busy()
        if departures:
            await asyncio.sleep(DRAIN_S)
            departures.begin()
        frames = int(arguments.seconds * arguments.fps)
        started, others = time.process_time(), busy.cpu_s()
        await subject.feed(units, frames, arguments.fps, on_ready)
        cpu_s = time.process_time() - started - (busy.cpu_s() - others)
        busy.stop()
        await asyncio.sleep(DRAIN_S)
        far.write({})
        counts = await in_thread(far.read)
        await subject.close()
    finally:
        far.close()
    whole = frames + int(WARM_UP_S * arguments.fps)
    packets = counts["packets"] * frames / whole
    return {
        "us_per_packet": cpu_s * 1e6 / packets,
        "us_per_frame": cpu_s * 1e6 / frames,
        "packets_per_frame": counts["packets"] / whole,
        "mbps": counts["bytes"] * 8 / 1e6 / (whole / arguments.fps),
        "departures_us": departures.took_us() if departures else [],
    }


def main() -> None:
    """Measure one subject once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("subject", choices=SUBJECTS)
    parser.add_argument("--fps", type=int, default=60)
    parser.add_argument("--bytes", type=int, default=42_000)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--receiver-python", default=sys.executable)
    parser.add_argument(
        "--departures", action="store_true", help="unpaced, and when each frame's last packet left"
    )
    print(json.dumps(asyncio.run(measure(parser.parse_args()))))


if __name__ == "__main__":
    main()
