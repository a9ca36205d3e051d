"""A path that loses, delays and queues packets on purpose: a UDP relay on loopback between one peer and one browser.

Each side is given the relay's address for the other's, and is known by the first packet that comes from it.
"""

from __future__ import annotations

import heapq
import random
import re
import select
import socket
import threading
import time
from collections.abc import Callable
from typing import Final, Literal, Self

from cluster.protocol.messages import Candidate

HOST: Final = "127.0.0.1"
BUFFER_BYTES: Final = 4 << 20
QUEUE_S: Final = 0.2
"""How long a packet may wait for the ones before it where a rate is set; else it is dropped."""
WAKE_S: Final = 0.2

Drop = Callable[[bytes], bool]
"""Whether a packet gets lost: of RTP to the browser, where nothing else is said; it is asked for each, in order."""


def is_rtp(packet: bytes) -> bool:
    """RTP that is no RTCP (RFC 7983 7, RFC 5761 4)."""
    return len(packet) >= 12 and 128 <= packet[0] < 192 and not 64 <= packet[1] & 0x7F < 96


def through(sdp: str, port: int) -> str:
    """A description with one candidate alone: the relay's at this port."""
    line = f"a=candidate:1 1 udp 2113937151 {HOST} {port} typ host\r\n"
    kept = re.sub(r"a=(candidate:.*|end-of-candidates)\r\n", "", sdp)
    return kept.replace("a=ice-ufrag:", line + "a=ice-ufrag:")


def losses(rate: float, burst: float = 1.0, seed: int = 1) -> Drop:
    """Loss by Gilbert's two states: so much of all packets, in runs of so many on average."""
    chance = random.Random(seed)
    stop = 1 / burst
    start = rate * stop / (1 - rate)
    lost = False

    def drop(packet: bytes) -> bool:
        nonlocal lost
        lost = chance.random() >= stop if lost else chance.random() < start
        return lost

    return drop


class LossyRelay:
    """Each way takes `delay_s`; what leaves the peer can get lost. While `silent` nothing goes either way."""

    def __init__(self, drop: Drop = lambda packet: False, delay_s: float = 0.0) -> None:
        self.drop = drop
        self.drop_other: Drop = lambda packet: False
        """The same for every other packet, of either way."""
        self.silent = False
        self.dropped = self.passed = 0
        """RTP to the browser."""
        self.rate_bps: float | None = None
        """How much it carries to the browser; None: all."""
        self._free_at = 0.0
        self._delay_s = delay_s
        self._to_peer, self._to_browser = _socket(), _socket()
        self._peer: tuple[str, int] | None = None
        self._browser: tuple[str, int] | None = None
        self._waiting: list[tuple[float, int, bool, bytes]] = []
        self._count = 0
        self.rebinding: Literal["", "browser", "peer"] = ""
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)
        self._thread.start()

    @property
    def candidate(self) -> Candidate:
        """Of the browser, for the peer: the relay instead of the browser's own."""
        return Candidate(f"candidate:1 1 udp 2113937151 {HOST} {self.peer_port} typ host", None, 0)

    @property
    def peer_port(self) -> int:
        """To which the peer sends."""
        return int(self._to_peer.getsockname()[1])

    @property
    def browser_port(self) -> int:
        """To which the browser sends."""
        return int(self._to_browser.getsockname()[1])

    def between(self, answer: str) -> str:
        """The peer's answer with the relay's address instead of its own."""
        return through(answer, self.browser_port)

    def rebind(self, side: Literal["browser", "peer"]) -> None:
        """As the NAT of that side that forgot: the other sees it at another port, and nobody at the one before."""
        self.rebinding = side

    def _run(self) -> None:
        while not self._stopping:
            if self.rebinding == "browser":
                self._to_peer.close()
                self._to_peer = _socket()
            elif self.rebinding == "peer":
                self._to_browser.close()
                self._to_browser = _socket()
            self.rebinding = ""
            until_s = self._waiting[0][0] - time.monotonic() if self._waiting else WAKE_S
            ready, _, _ = select.select(
                (self._to_peer, self._to_browser), (), (), min(max(until_s, 0), WAKE_S)
            )
            for one in ready:
                self._take(one)
            now = time.monotonic()
            while self._waiting and self._waiting[0][0] <= now:
                _, _, down, packet = heapq.heappop(self._waiting)
                there, target = (
                    (self._to_browser, self._browser) if down else (self._to_peer, self._peer)
                )
                if target is not None:
                    there.sendto(packet, target)

    def _take(self, one: socket.socket) -> None:
        down = one is self._to_peer
        while True:
            try:
                packet, source = one.recvfrom(65_536)
            except (BlockingIOError, ConnectionRefusedError):
                return
            if down:
                self._peer = self._peer or source
            else:
                self._browser = self._browser or source
            if source not in (self._peer, self._browser):
                continue  # from another of its addresses: one path is enough
            if self.silent:
                continue
            if down and is_rtp(packet):
                if self.drop(packet) or self._queued_s() > QUEUE_S:
                    self.dropped += 1
                    continue
                self.passed += 1
            elif self.drop_other(packet):
                continue
            self._count += 1
            due = time.monotonic() + self._delay_s
            if down and self.rate_bps is not None:
                due += self._queued_s() + len(packet) * 8 / self.rate_bps
                self._free_at = due - self._delay_s
            heapq.heappush(self._waiting, (due, self._count, down, packet))

    def _queued_s(self) -> float:
        """How long the packets take that have not left yet."""
        return max(self._free_at - time.monotonic(), 0.0)

    def close(self) -> None:
        self._stopping = True
        self._thread.join()
        self._to_peer.close()
        self._to_browser.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _socket() -> socket.socket:
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    one.bind((HOST, 0))
    one.setblocking(False)
    return one
