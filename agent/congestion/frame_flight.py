"""Frames on their way to a viewer that tells when each arrived: `DelayController` without transport-wide feedback.

Of a frame only the arrival of its last packet is told (docs/protocol.md 6.4). The rest follows from a path that carries
in order: a frame begins to arrive when the path's own delay is over, and not before the frame ahead of it is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from agent.congestion.capacity import RESOLUTION_S
from agent.congestion.flight import Packet
from agent.congestion.queue import BaseDelay

MAX_FRAMES: Final = 256
"""A second of 240, as the viewer tells of them sooner than that."""


@dataclass(slots=True)
class FlyingFrame:
    """A frame that was sent."""

    rtp_timestamp: int
    number: int
    first_s: float
    last_s: float
    """When its first and its last packet left."""
    size_bytes: int
    first_sequence: int
    """Of its packets, which are numbered on in 16 bits."""
    packets: int
    lost: set[int] = field(default_factory=set)
    """Which of them the viewer asked for again. Such a frame waited for those, which says nothing about the path."""


class FrameFlight:
    """A ring of the frames that were sent and not told of yet. Overflow: the oldest are forgotten."""

    def __init__(self) -> None:
        self._frames: dict[int, FlyingFrame] = {}
        """By RTP timestamp, in the order of sending."""
        self._base = BaseDelay()
        self._free_s = float("-inf")
        """When the newest frame that was told of had arrived, by the viewer's clock."""
        self._numbered = 0

    def sent(self, frame: FlyingFrame) -> None:
        """All packets of it have left."""
        self._frames[frame.rtp_timestamp] = frame
        if len(self._frames) > MAX_FRAMES:
            del self._frames[next(iter(self._frames))]

    def repeat(self, sequences: Sequence[int]) -> None:
        """The viewer asked for these packets again."""
        for frame in self._frames.values():
            ours = (sequence - frame.first_sequence & 0xFFFF for sequence in sequences)
            frame.lost.update(index for index in ours if index < frame.packets)

    def arrived(self, arrivals: Iterable[tuple[int, float]]) -> list[Packet]:
        """Packets as feedback would have spoken of them, in the order of sending; of each frame once.

        `arrivals`: the RTP timestamp, and when the last packet came, in seconds of the viewer's clock. A browser shows,
        and tells of, not every frame: one that a later one overtook is taken to have come like that, in one piece.
        """
        told = [(self._frames[stamp], at) for stamp, at in arrivals if stamp in self._frames]
        packets: list[Packet] = []
        for frame, at in sorted(told, key=lambda row: row[0].number):
            passed = [row for row in self._frames.values() if row.number < frame.number]
            for row in (*passed, frame):
                self._frames.pop(row.rtp_timestamp, None)
            begun, queued = self._begun(frame, at)
            for row in passed:
                packets += self._whole(row, row.first_s + begun - frame.first_s)
            if queued or frame.lost:
                packets += self._whole(frame, begun)
            else:
                packets += self._spread(frame, begun, at)
        return packets

    def _begun(self, frame: FlyingFrame, at: float) -> tuple[float, bool]:
        """When a frame began to arrive, and whether one of ours was in its way until then."""
        if frame.lost:
            return at, True
        self._base.add(frame.last_s, at - frame.last_s)
        begun = frame.first_s + self._base.at(frame.last_s)
        queued = begun < self._free_s < at
        begun = min(self._free_s if queued else begun, at - RESOLUTION_S)
        self._free_s = at
        return begun, queued

    def _whole(self, frame: FlyingFrame, arrived_s: float) -> list[Packet]:
        """One that measures no capacity."""
        number = None if frame.lost else frame.number
        return [Packet(frame.first_s, frame.size_bytes, number, arrived_s)]

    def _spread(self, frame: FlyingFrame, begun: float, at: float) -> list[Packet]:
        count, size_bytes = frame.packets, frame.size_bytes // frame.packets
        leaves_s, takes_s = (frame.last_s - frame.first_s) / max(count - 1, 1), (at - begun) / count
        first, self._numbered = self._numbered + 1, self._numbered + count
        return [
            Packet(
                frame.first_s + index * leaves_s,
                size_bytes,
                frame.number,
                begun + (index + 1) * takes_s,
                first + index,
            )
            for index in range(count)
        ]
