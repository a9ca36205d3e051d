"""Whether parity packets are worth their bits: feedback in, the loss to protect against out.

On when a frame is hit with a chance above 5 %, a retransmission would come after the next frame, and no
queue stands: what a full queue drops is not brought back by sending more.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from agent.congestion.flight import Packet
from agent.rtp.fec import Loss, parity_count

ON_CHANCE: Final = 0.05
OFF_CHANCE: Final = 0.025
ON_INTERVALS: Final = 1.0
OFF_INTERVALS: Final = 0.8
"""Round trips, in intervals between frames."""
CALM_S: Final = 2.0
"""For so long a reason to switch off must last; and after a queue there must be none for so long."""
MAX_INTERVAL_S: Final = 1 / 30
"""On a still screen frames come seldom; each is waited for all the same."""
WINDOW_PACKETS: Final = 1000
"""At 7.5 Mbit/s 1.5 s; with 1 % loss a chance of 5 % is then seen in 99 of 100 windows."""
MIN_PACKETS: Final = 200
MAX_AGE_S: Final = 10.0
REPLAN: Final = 0.3
"""Loss that changed by less than this share needs no other number of parity packets."""
SMOOTHING: Final = 0.05


@dataclass(frozen=True, slots=True)
class PathState:
    """What the rule asks of the path besides its losses."""

    rtt_s: float | None
    queue_stands: bool


class LossWindow:
    """How many of the last packets were lost, and in how many runs."""

    def __init__(self) -> None:
        self._fates: deque[tuple[float, bool]] = deque()
        self._lost = self._runs = 0

    def __len__(self) -> int:
        return len(self._fates)

    def add(self, sent_s: float, *, lost: bool) -> None:
        """The next packet, in the order of sending."""
        fates = self._fates
        if lost:
            self._runs += not (fates and fates[-1][1])
            self._lost += 1
        fates.append((sent_s, lost))
        while len(fates) > WINDOW_PACKETS or fates[0][0] < sent_s - MAX_AGE_S:
            was_lost = fates.popleft()[1]
            self._lost -= was_lost
            self._runs -= was_lost and not fates[0][1]

    @property
    def loss(self) -> Loss:
        """No loss while there are too few packets to tell."""
        if len(self._fates) < MIN_PACKETS or not self._lost:
            return Loss(0.0)
        return Loss(self._lost / len(self._fates), max(1.0, self._lost / max(self._runs, 1)))


class Ordered:
    """Puts packets back in the order of sending.

    That one is lost is told a feedback later than that those around it arrived (`Flight.acknowledge`).
    """

    def __init__(self) -> None:
        self._waiting: list[Packet] = []
        self._newest = -1

    def add(self, packets: Sequence[Packet]) -> list[Packet]:
        """Take a feedback's; return those up to the newest of the feedback before: all of these are known."""
        number = attrgetter("number")
        known = sorted([*self._waiting, *packets], key=number)
        told = bisect_right(known, self._newest, key=number)
        self._waiting = known[told:]
        self._newest = known[-1].number if known else self._newest
        return known[:told]


class Protection:
    """Fed with each feedback; `loss` is what to protect against now."""

    def __init__(self) -> None:
        self._window = LossWindow()
        self._ordered = Ordered()
        self._frame: int | None = None
        self._began_s: float | None = None
        self._packets = 0
        self._frame_packets = 0.0
        self._interval_s = MAX_INTERVAL_S
        self._needed_s = 0.0
        """When it was last worth it."""
        self._calm_s = 0.0
        """When the last queue will have been gone for long enough."""
        self.loss: Loss | None = None
        """None: no parity packets."""

    @property
    def overhead(self) -> float:
        """Parity packets per packet, at the frames' usual size."""
        packets = round(self._frame_packets)
        if self.loss is None or not packets:
            return 0.0
        return parity_count(packets, self.loss) / packets

    def on_feedback(self, packets: Sequence[Packet], path: PathState, now: float) -> Loss | None:
        """Take what a feedback said of packets, in the order of sending; return what to protect against."""
        for packet in self._ordered.add(packets):
            self._window.add(packet.sent_s, lost=packet.arrived_s is None)
            if packet.frame is not None:
                self._count(packet)
        if path.queue_stands:
            self._calm_s = now + CALM_S
        loss, on = self._window.loss, self.loss is not None
        if path.queue_stands or not self._is_worth(loss, path, on=on):
            if path.queue_stands or now > self._needed_s + CALM_S:
                self.loss = None
        elif on or now >= self._calm_s:
            self._needed_s = now
            if self.loss is None or _differs(loss, self.loss):
                self.loss = loss
        return self.loss

    def _is_worth(self, loss: Loss, path: PathState, *, on: bool) -> bool:
        chance, intervals = (OFF_CHANCE, OFF_INTERVALS) if on else (ON_CHANCE, ON_INTERVALS)
        late = path.rtt_s is not None and path.rtt_s > intervals * self._interval_s
        return late and loss.hits(self._frame_packets) > chance

    def _count(self, packet: Packet) -> None:
        """The frames' usual size and distance."""
        if packet.frame == self._frame:
            self._packets += 1
            return
        if self._began_s is not None and packet.sent_s > self._began_s:
            gap_s = min(packet.sent_s - self._began_s, MAX_INTERVAL_S)
            self._interval_s += SMOOTHING * (gap_s - self._interval_s)
            weight = SMOOTHING if self._frame_packets else 1.0
            self._frame_packets += weight * (self._packets - self._frame_packets)
        self._frame, self._began_s, self._packets = packet.frame, packet.sent_s, 1


def _differs(new: Loss, old: Loss) -> bool:
    """Whether it takes another plan; each small change would only miss the table of `parity_count`."""
    return (
        abs(new.rate - old.rate) > REPLAN * old.rate
        or abs(new.burst - old.burst) > REPLAN * old.burst
    )
