"""M1's profile: where the microseconds of a frame go on its way from the access unit into the kernel.

One thread, so that nothing waits: 42 KB access units through the sender's own steps, unpaced, with real libsrtp and a
real socket on loopback, whose receiver empties it between frames. CPU time of the thread, medians.

warm      one frame right after the other
replay    a frame every 4 ms;  session: every 17 ms. What else the machine does empties the caches meanwhile
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import socket
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, Final

from pylibsrtp import Policy, Session

from agent.encode.base import AccessUnit
from agent.rtp import h264
from agent.rtp.packet import StreamFormat
from agent.transport.path import SRTP_WINDOW_PACKETS, FastPath
from agent.transport.sender import MediaSender, Streams
from benchmarks.m1_worker import UNPACED_BPS, access_unit

SCENES: Final = {"warm": (0, 500), "replay": (240, 300), "session": (60, 120)}
"""Frames a second, 0: as fast as it goes; and how many."""
SIZE_BYTES: Final = 42_000
KEY_BYTES: Final = 28
"""Of AES-128-GCM with its salt (RFC 7714 12)."""
STEPS: Final = {
    "packetize": "payloads of the access unit",
    "write": "headers and payloads into the buffer",
    "add": "remembered for repetitions",
    "seal": "SRTP",
    "sent": "noted for transport-wide feedback",
    "_send_run": "the system call, delivery on loopback in it",
    "_note_sent": "noted for statistics",
    "send_video": "all of it",
}


@contextlib.contextmanager
def sender() -> Iterator[tuple[MediaSender, FastPath, socket.socket]]:
    """One that is connected to nothing but a socket, and that socket's far end."""
    with (
        contextlib.closing(asyncio.new_event_loop()) as loop,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near,
    ):
        far.bind(("127.0.0.1", 0))
        far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        far.setblocking(False)
        near.setblocking(False)
        policy = Policy(
            key=os.urandom(KEY_BYTES),
            ssrc_type=Policy.SSRC_ANY_OUTBOUND,
            srtp_profile=Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
        )
        policy.window_size = SRTP_WINDOW_PACKETS
        transport = SimpleNamespace(get_extra_info=lambda _: near)
        pair = SimpleNamespace(
            local_candidate=SimpleNamespace(type="host"),
            remote_addr=far.getsockname(),
            protocol=SimpleNamespace(transport=transport),
        )
        connection = SimpleNamespace(_nominated={1: pair}, send=None)
        dtls: Any = SimpleNamespace(
            _tx_srtp=Session(policy),
            _ssl=SimpleNamespace(get_selected_srtp_profile=lambda: b"SRTP_AEAD_AES_128_GCM"),
            transport=SimpleNamespace(_connection=connection),
        )
        path = FastPath(dtls, loop)
        video = StreamFormat(96, 1, mid="0", mid_id=4, transport_cc_id=5, playout_delay_id=6)
        streams = Streams("H264", video, None, rtx_payload_type=97, rtx_ssrc=2)
        yield MediaSender(streams, path, UNPACED_BPS, lambda: None), path, far
        path._release()


def timed(times: list[float], function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which adds its microseconds of CPU to `times`."""

    @functools.wraps(function)
    def measured(*arguments: Any, **named: Any) -> Any:
        begun_ns = time.thread_time_ns()
        result = function(*arguments, **named)
        times.append((time.thread_time_ns() - begun_ns) / 1e3)
        return result

    return measured


def measure(fps: int, frames: int) -> dict[str, float]:
    """Microseconds of CPU of each step of a frame, and how many packets it is."""
    units = [access_unit(SIZE_BYTES, seed, keyframe=seed == 0) for seed in range(8)]
    times: dict[str, list[float]] = defaultdict(list)
    packetize = h264.packetize
    with sender() as (ours, path, far):
        path._bind()
        owners: list[tuple[Any, str]] = [
            (h264, "packetize"),
            (ours._writer, "write"),
            (ours._history, "add"),
            (path, "seal"),
            (ours._flight, "sent"),
            (path._socket, "_send_run"),
            (ours, "_note_sent"),
            (ours, "send_video"),
        ]
        for owner, name in owners:
            setattr(owner, name, timed(times[name], getattr(owner, name)))
        try:
            for index in range(frames):
                if fps:
                    time.sleep(1 / fps)
                unit = units[index % len(units)]
                ours.send_video(AccessUnit("H264", unit, index == 0, index * 16_667, 0, 0, 0))
                with contextlib.suppress(BlockingIOError):
                    while True:
                        far.recv(2048)
        finally:
            h264.packetize = packetize
        packets = ours.stats().packets / frames
    return {name: statistics.median(taken) for name, taken in times.items()} | {"packets": packets}


def main() -> int:
    """Always 0: the table says all."""
    scenes = {scene: measure(fps, frames) for scene, (fps, frames) in SCENES.items()}
    print(f"{'':46}{''.join(f'{scene:>9}' for scene in scenes)}   us a frame")
    for name, words in STEPS.items():
        print(f"{words:46}" + "".join(f"{took[name]:9.1f}" for took in scenes.values()))
    rest = [2 * took["send_video"] - sum(took[name] for name in STEPS) for took in scenes.values()]
    print(f"{'Python between them':46}" + "".join(f"{value:9.1f}" for value in rest))
    a_packet = [took["send_video"] / took["packets"] for took in scenes.values()]
    print(f"{'a packet':46}" + "".join(f"{value:9.2f}" for value in a_packet))
    return 0


if __name__ == "__main__":
    sys.exit(main())
