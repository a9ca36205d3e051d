"""How much the path carries: at the viewer, a frame sent in one go is spread by the slowest link.

The dispersion of packet trains (C. Dovrolis et al., "Packet-dispersion techniques and a
capacity-estimation methodology", 2004). The pacer sends a frame at 2.5 times the rate or faster, so
that there is a measure up to 2.5 times the rate without any probing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from agent.congestion.flight import Packet

MIN_PACKETS: Final = 3
"""Of a train: two gaps at least, as arrival times come in steps of 250 us."""
TRAINS: Final = 15
MIN_TRAINS: Final = 3
RECENT_TRAINS: Final = 2
RESOLUTION_S: Final = 0.00025
"""Of arrival times in transport-wide feedback."""
MAX_AGE_S: Final = 1.0
WINDOW_S: Final = 0.25
"""Of the acknowledged rate: 15 frames at 60 a second."""


class Dispersion:
    """Fed with the packets of one frame after another."""

    def __init__(self) -> None:
        self._trains: deque[tuple[float, float, float]] = deque(maxlen=TRAINS)
        """Sent when, and what of how much it took: bits, seconds."""
        self._newest_s = 0.0
        """When the newest frame was sent, a train or not."""

    def add(self, frame: list[Packet]) -> None:
        """All packets of a frame that feedback spoke of, in the order of sending."""
        self._newest_s = frame[0].sent_s
        if (spread := _spread(frame)) is not None:
            self._trains.append((frame[0].sent_s, *spread))

    def capacity_bps(self, now: float) -> float | None:
        """The median of the last second's trains; None when there are too few."""
        rates = sorted(bits / took for at, bits, took in self._trains if now - at < MAX_AGE_S)
        return rates[len(rates) // 2] if len(rates) >= MIN_TRAINS else None

    def recent_bps(self, unfinished: list[Packet], slack_s: float = 0.0) -> float | None:
        """What the last two trains carried over the time that it took, less `slack_s` for each.

        `unfinished` is what has arrived of the next frame. None where they are too old: at low rates frames
        are no trains for long.
        """
        oldest_s = self._newest_s - MAX_AGE_S
        trains = [(bits, took) for at, bits, took in self._trains if at > oldest_s]
        if (spread := _spread(unfinished)) is not None:
            trains.append(spread)
        recent = trains[-RECENT_TRAINS:]
        if len(recent) < RECENT_TRAINS:
            return None
        took_s = sum(max(took - slack_s, RESOLUTION_S) for _, took in recent)
        return sum(bits for bits, _ in recent) / took_s


def _spread(frame: list[Packet]) -> tuple[float, float] | None:
    """Bits, and the seconds in which they arrived.

    What is numbered between the first and the last that arrived took the link's time, too: lost packets, of which
    feedback speaks only when the frame has been looked at. The packets of a frame are of about one size.
    """
    times = [at for packet in frame if (at := packet.arrived_s) is not None]
    if len(times) < MIN_PACKETS:
        return None
    numbers = [packet.number for packet in frame if packet.arrived_s is not None]
    mean_bits = 8 * sum([packet.size_bytes for packet in frame[1:]]) / (len(frame) - 1)
    bits = mean_bits * (max(numbers) - min(numbers))
    return bits, max(max(times) - min(times), RESOLUTION_S)


class AcknowledgedRate:
    """What arrives, per second of the last 250 ms."""

    def __init__(self) -> None:
        self._packets: deque[tuple[float, int]] = deque()
        """When each arrived, and its bits."""
        self._bits = 0
        self._arrived_s = 0.0

    def add(self, packets: Sequence[Packet]) -> None:
        """Packets, in the order of sending; those that were lost do not count."""
        waiting, newest_s = self._packets, self._arrived_s
        for packet in packets:
            arrived_s = packet.arrived_s
            if arrived_s is None:
                continue
            bits = 8 * packet.size_bytes
            waiting.append((arrived_s, bits))
            self._bits += bits
            newest_s = max(newest_s, arrived_s)
        self._arrived_s = newest_s
        while waiting and waiting[0][0] <= newest_s - WINDOW_S:
            self._bits -= waiting.popleft()[1]

    @property
    def bps(self) -> float:
        """0 before anything arrived."""
        return self._bits / WINDOW_S
