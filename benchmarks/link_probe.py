"""Packets through the emulated link as video sends them, in bursts at 60 a second: what each was delayed by.

Arrival is the kernel's own time stamp, so that how soon this process is run does not count.
"""

from __future__ import annotations

import argparse
import json
import socket
import struct
import time
from operator import itemgetter
from typing import Final

from benchmarks.namespaces import VIEWER, enter

FPS: Final = 60
PACKET_BYTES: Final = 1200
SO_RCVBUFFORCE: Final = 33
SO_TIMESTAMPNS: Final = 35
"""asm-generic/socket.h; also the type of the control message."""
PORT: Final = 9
LAST_S: Final = 0.3


class Probe:
    """A socket at each end of the link."""

    def __init__(self, host_path: str, viewer_path: str) -> None:
        enter(viewer_path)
        self._there = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._there.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._there.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
        self._there.bind((VIEWER, PORT))
        self._there.setblocking(False)
        enter(host_path)
        self._here = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._here.connect((VIEWER, PORT))
        self.sent = 0
        self.arrived: list[tuple[int, float]] = []
        """Number and delay in us, in the order of arrival."""

    def send(self, packets: int, size_bytes: int = PACKET_BYTES) -> None:
        """So many at once."""
        rest = bytes(size_bytes - 12)
        for _ in range(packets):
            self._here.send(struct.pack("!IQ", self.sent, time.time_ns()) + rest)
            self.sent += 1

    def drain(self, seconds: float) -> None:
        """Take what arrives within this time."""
        until_s = time.monotonic() + seconds
        while True:
            try:
                packet, control, _, _ = self._there.recvmsg(2048, 64)
            except BlockingIOError:
                left_s = until_s - time.monotonic()
                if left_s <= 0:
                    return
                time.sleep(min(left_s, 0.002))
                continue
            number, sent_ns = struct.unpack_from("!IQ", packet)
            seconds_then, ns_then = struct.unpack("qq", control[0][2])
            arrived_ns = seconds_then * 10**9 + ns_then
            self.arrived.append((number, (arrived_ns - sent_ns) / 1e3))


def main() -> None:
    """Send for some seconds, print the percentiles."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.link_probe", description=__doc__)
    parser.add_argument("host", help="path of the sending end's namespace")
    parser.add_argument("viewer", help="path of the receiving end's namespace")
    parser.add_argument("--mbps", type=float, default=20, help="default 20")
    parser.add_argument("--seconds", type=float, default=5, help="default 5")
    options = parser.parse_args()
    probe = Probe(options.host, options.viewer)
    frame = round(options.mbps * 1e6 / 8 / FPS / PACKET_BYTES)
    for _ in range(round(options.seconds * FPS)):
        probe.send(frame)
        probe.drain(1 / FPS)
    probe.drain(LAST_S)
    delays = sorted(delay for _, delay in probe.arrived)
    at = (0.5, 0.95, 0.99, 0.999)
    added_us = [round(delays[int(len(delays) * q)], 1) for q in at] if delays else []
    met = {
        "sent": probe.sent,
        "arrived": len(delays),
        "added_us": added_us,
        "least_us": delays[0] if delays else None,
        "in_order": probe.arrived == sorted(probe.arrived, key=itemgetter(0)),
    }
    print(json.dumps(met))


if __name__ == "__main__":
    main()
