"""Packets on their way to the viewer: matches transport-wide feedback with what was sent, and when."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from agent.rtp.feedback import MAX_PACKETS, REFERENCE_US, TransportFeedback

MAX_IN_FLIGHT: Final = 1 << 14
"""Packets that are remembered: more than 1 s at 100 Mbit/s, half of what 16 bits can tell apart."""
CLOCK_US: Final = REFERENCE_US << 24
"""The viewer's clock begins anew after 2**24 steps (3.1 of the draft that agent/rtp/feedback.py names)."""


@dataclass(slots=True)
class Packet:
    """One packet, and what became of it. Send and arrival times are of two clocks."""

    sent_s: float
    size_bytes: int
    frame: int | None
    """The number of the frame; None for a repetition."""
    arrived_s: float | None = None
    """By the viewer's clock, which has an arbitrary origin; None: lost."""
    number: int = 0
    """Transport-wide, unwrapped; known from `Flight.acknowledge` on."""


class Flight:
    """A ring of the packets that were sent and not reported yet. Overflow: the oldest are forgotten."""

    def __init__(self) -> None:
        self._packets: deque[Packet | None] = deque()
        """None: its fate is known."""
        self._first = 0
        """The transport-wide number of the oldest one, unwrapped."""
        self._reported = 0
        """One past the highest number that any feedback spoke of, unwrapped."""
        self._missing: list[int] = []
        """Numbers that the last feedback did not have though it had later ones."""
        self._clock_us: int | None = None

    def sent(self, packets: Sequence[Packet]) -> None:
        """These left, numbered on from those before; the first of all has number 0. They are ours from now on."""
        self._packets.extend(packets)
        while len(self._packets) > MAX_IN_FLIGHT:
            self._packets.popleft()
            self._first += 1

    def waiting_since(self) -> float | None:
        """When the oldest packet left of which no feedback spoke yet; None: all are accounted for.

        Packets before it whose feedback was lost do not count: a later one has arrived.
        """
        index = max(self._reported - self._first, 0)
        while index < len(self._packets):
            packet = self._packets[index]
            if packet is not None:
                return packet.sent_s
            index += 1
        return None

    def acknowledge(self, feedback: TransportFeedback) -> list[Packet]:
        """What this feedback says that was not known, in the order of sending; of each packet once.

        One that a feedback misses may only have been overtaken: it is lost when the next one has
        not got it either. Numbers that were never sent, or are forgotten, say nothing.
        """
        first, packets = self._first, self._packets
        end = first + len(packets)
        base = end - 1 - (end - 1 - feedback.base_sequence & 0xFFFF)
        if end - base > MAX_PACKETS:
            return []
        known: list[Packet] = []
        missing: list[int] = []
        for number, arrived_us in enumerate(feedback.arrivals, base):
            if not first <= number < end:
                continue
            if arrived_us is None:
                if number >= self._reported:
                    missing.append(number)
            elif (packet := packets[number - first]) is not None:
                packets[number - first] = None
                packet.number, packet.arrived_s = number, self._unwrap(arrived_us) / 1e6
                known.append(packet)
        overdue = [number for number in self._missing if number >= first]
        for number in overdue:
            if (packet := packets[number - first]) is not None:
                packets[number - first] = None
                packet.number = number
                known.append(packet)
        if overdue:
            known.sort(key=attrgetter("number"))
        self._missing = missing
        self._reported = max(self._reported, min(base + len(feedback.arrivals), end))
        self._forget()
        return known

    def _unwrap(self, arrived_us: int) -> int:
        if self._clock_us is None:
            self._clock_us = arrived_us
        step = (arrived_us - self._clock_us + CLOCK_US // 2) % CLOCK_US - CLOCK_US // 2
        if step > 0:
            self._clock_us += step
            return self._clock_us
        return self._clock_us + step

    def _forget(self) -> None:
        """Everything of which all is known at the old end."""
        while self._packets and self._packets[0] is None:
            self._packets.popleft()
            self._first += 1
