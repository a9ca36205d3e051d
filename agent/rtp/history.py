"""What was sent in the last second, so that a lost packet can be sent again (RFC 4585 6.2.1, RFC 4588)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

MAX_AGE_S: Final = 1.0
MAX_PACKETS: Final = 2048
"""1 s of 20 Mbit/s; together with the age this is also what the viewer's NACK module remembers."""
REPEAT_SHARE: Final = 0.75
MIN_REPEAT_S: Final = 0.005
"""A packet is not sent again within so much of a round trip, and 5 ms at least. Differs: libwebrtc's RtpPacketHistory
waits for all of it, but a browser whose own measure is a little shorter asks then in vain and once more a round trip
later."""
MAX_WAIT_S: Final = 1.0
"""Whatever the round trip is said to be."""
BUDGET_S: Final = 0.1
"""How much of the rate a retransmission burst may use at once."""


@dataclass(slots=True)
class Burst:
    """Packets sent together."""

    first: int
    """The sequence number of the first."""
    placed: Sequence[tuple[int, int]]
    """Offset and size of each."""
    packet: Callable[[int], bytes]
    """One of them as it was before encryption, by its index."""
    sent_at: float
    repeated_at: dict[int, float] = field(default_factory=dict)


class History:
    """A ring of what was sent. Overflow: the oldest burst goes."""

    def __init__(self, max_age_s: float = MAX_AGE_S, max_packets: int = MAX_PACKETS) -> None:
        self._max_age_s = max_age_s
        self._max_packets = max_packets
        self._bursts: deque[Burst] = deque()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, burst: Burst) -> None:
        """Remember a burst; its packets have consecutive sequence numbers from `first` on."""
        bursts = self._bursts
        bursts.append(burst)
        self._count += len(burst.placed)
        oldest = burst.sent_at - self._max_age_s
        while bursts[0].sent_at < oldest or self._count > self._max_packets:
            self._count -= len(bursts.popleft().placed)
            if not bursts:
                return

    def find(self, sequence: int) -> Burst | None:
        """The burst that holds a sequence number, newest first (numbers wrap at 16 bits)."""
        for burst in reversed(self._bursts):
            if (sequence - burst.first) & 0xFFFF < len(burst.placed):
                return burst
        return None


class Retransmitter:
    """Which of the packets asked for are sent again: each after `REPEAT_SHARE` of the round trip, all within a budget.

    That round trip is the caller's, who says a shorter one where a packet is to be sent twice.
    """

    def __init__(self, history: History, rate_bps: int) -> None:
        self._history = history
        self._rate_bps = rate_bps
        self._budget_bytes = rate_bps / 8 * BUDGET_S
        self._filled_at: float | None = None
        self.refused = 0
        """Packets asked for that were gone, just repeated, or over the budget."""

    def set_rate(self, rate_bps: int) -> None:
        """Retransmissions use at most this rate."""
        self._rate_bps = rate_bps

    def repeat(self, sequences: Iterable[int], now: float, rtt_s: float | None) -> list[bytes]:
        """The plain packets to send again, as they were serialised."""
        self._refill(now)
        wait_s = min(max(REPEAT_SHARE * (rtt_s or 0.0), MIN_REPEAT_S), MAX_WAIT_S)
        packets: list[bytes] = []
        for sequence in sequences:
            burst = self._history.find(sequence)
            if burst is None or now - burst.sent_at > MAX_AGE_S:
                self.refused += 1
                continue
            index = (sequence - burst.first) & 0xFFFF
            size = burst.placed[index][1]
            repeated_at = burst.repeated_at.get(index)
            if size > self._budget_bytes or (
                repeated_at is not None and now - repeated_at < wait_s
            ):
                self.refused += 1
                continue
            self._budget_bytes -= size
            burst.repeated_at[index] = now
            packets.append(burst.packet(index))
        return packets

    def _refill(self, now: float) -> None:
        most = max(self._rate_bps / 8 * BUDGET_S, 16 * 1200)
        passed = most if self._filled_at is None else (now - self._filled_at) * self._rate_bps / 8
        self._filled_at = now
        self._budget_bytes = min(self._budget_bytes + passed, most)


def wrap_rtx(
    packet: bytes, payload_type: int, ssrc: int, sequence: int, transport_sequence: int | None
) -> bytes:
    """The RTX packet of a plain packet (RFC 4588 4): own SSRC and numbers, the old number in front.

    `transport_sequence` is written over the old one, which is the first header extension element.
    """
    head = 12
    if packet[0] & 0x10:
        head += 4 + 4 * int.from_bytes(packet[14:16], "big")
    again = bytearray(packet[:head])
    again[1] = packet[1] & 0x80 | payload_type
    again[2:4] = sequence.to_bytes(2, "big")
    again[8:12] = ssrc.to_bytes(4, "big")
    if transport_sequence is not None and head > 12:
        again[17:19] = transport_sequence.to_bytes(2, "big")
    return bytes(again) + packet[2:4] + packet[head:]
