"""When the packets of a frame may leave: in bursts, over at most half the frame's interval, sooner on a fast path."""

from __future__ import annotations

from typing import Final

BURST_PACKETS: Final = 16
"""About 19 KB: more at once overflows the small buffers of home routers."""
PACING_FACTOR: Final = 2.5
"""A frame leaves at 2.5 times the target rate: libwebrtc's kDefaultPaceMultiplier."""
LINK_SHARE: Final = 0.5
"""Of the speed at which the path takes a burst, where that is more; others use the path, too."""
MAX_SHARE: Final = 0.5
"""Of the frame interval: the rest is left for retransmissions and for the next frame being late."""

MIN_GAP_S: Final = 0.00025
"""Between bursts: a shorter sleep ends a good part of itself too late, and waking costs as much as sending ten packets.
Only paths of more than a gigabit a second are that fast."""


class Pacer:
    """Paces video only; audio, RTCP and retransmissions pass it by."""

    def __init__(self, rate_bps: int) -> None:
        self._rate_bps = rate_bps
        self.link_bps = 0.0
        """How fast the path takes a burst; 0: not known."""
        self._left = 0
        self._gap_s = 0.0
        self._due = 0.0

    def set_rate(self, rate_bps: int) -> None:
        """The target bitrate of the stream."""
        if rate_bps <= 0:
            raise ValueError(f"expected a bitrate above 0, got {rate_bps}")
        self._rate_bps = rate_bps

    def set_link(self, link_bps: float | None) -> None:
        """How fast the path takes a burst; None: not known."""
        self.link_bps = link_bps or 0.0

    def begin(self, packets: int, size_bytes: int, interval_s: float, now: float) -> None:
        """A frame of so many packets is ready; its first burst may leave at once."""
        bursts = -(-packets // BURST_PACKETS)
        pace_bps = max(PACING_FACTOR * self._rate_bps, LINK_SHARE * self.link_bps)
        whole_s = min(size_bytes * 8 / pace_bps, interval_s * MAX_SHARE)
        gap_s = whole_s / bursts if bursts else 0.0
        self._gap_s = gap_s if gap_s >= MIN_GAP_S else 0.0
        self._left = packets
        self._due = now

    def take(self, now: float, ready: int) -> int:
        """How many of the packets that are ready may leave now: 0, or a burst of at most 16."""
        burst = min(self._left, ready, BURST_PACKETS)
        if not burst or now < self._due:
            return 0
        self._left -= burst
        self._due += self._gap_s
        return burst

    def next_deadline(self) -> float | None:
        """When the next burst may leave; None when the frame is out."""
        return self._due if self._left else None
