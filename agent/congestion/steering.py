"""What one viewer's path carries, by the best that is heard of it: packets' arrivals, frames' arrivals, or loss alone.

Two `DelayController`s never follow each other on one clock: packets are told on the receiver's, frames on the page's.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Final

from agent.congestion.delay import DelayController
from agent.congestion.flight import Packet
from agent.congestion.loss import LossController, RateLimits, Reception

START_BPS: Final = 8_000_000
"""What the `delay` controller begins with: from there it doubles in a quarter of a second."""
SILENT_S: Final = 1.0
"""Transport-wide feedback that owes an answer for so long is not waited for."""


class Evidence(Enum):
    """What the rate follows."""

    REPORTS = "receiver reports"
    PACKETS = "transport-wide feedback"
    FRAMES = "the page's arrivals"


class Steering:
    """Values in, values out; `now` and the packets' send times are of one clock."""

    def __init__(self, limits: RateLimits) -> None:
        self._limits = limits
        self._loss = LossController(limits.ceiling_bps, limits)
        """Counts the losses in any case."""
        self._delay: DelayController | None = None
        self._evidence = Evidence.REPORTS
        self._by_delay = self._feedback_silent = False

    def follow_delay(self, *, feedback: bool) -> None:
        """The encoder can follow as many changes as this brings; `feedback`: the viewer promised it of packets."""
        self._by_delay = True
        if feedback:
            self._turn_to(Evidence.PACKETS)
        else:
            self._loss = LossController(min(START_BPS, self._limits.ceiling_bps), self._limits)

    @property
    def evidence(self) -> Evidence:
        """What the rate follows now."""
        return self._evidence

    @property
    def target_bps(self) -> int:
        """What this viewer's path carries."""
        if self._delay is None:
            return self._loss.target_bps
        if self._evidence is Evidence.FRAMES:
            # Frames that never arrive are told of by nobody else.
            return min(self._delay.target_bps, self._loss.target_bps)
        return self._delay.target_bps

    @property
    def fraction_lost(self) -> float:
        """By the receiver's reports, 0 to 1."""
        return self._loss.fraction_lost

    @property
    def is_limited(self) -> bool:
        """Whether the path is known to carry no more, rather than that nobody tried."""
        below = self.target_bps < self._limits.ceiling_bps
        return below and (self._delay is None or self._delay.is_limited)

    @property
    def queue_stands(self) -> bool:
        """Whether more is on the path than may be; False where nobody knows."""
        return self._delay is not None and self._delay.queue_stands

    @property
    def wants_arrivals(self) -> bool:
        """Whether the page is to tell when frames arrive."""
        return self._by_delay and (self._evidence is not Evidence.PACKETS or self._feedback_silent)

    def on_report(self, reception: Reception, now: float) -> None:
        """A receiver report about the picture."""
        self._loss.on_report(reception, now)

    def on_feedback(self, packets: Sequence[Packet], now: float) -> None:
        """What transport-wide feedback said of packets, in the order of sending."""
        if not self._by_delay:
            return
        self._feedback_silent = False
        if self._evidence is not Evidence.PACKETS:
            self._turn_to(Evidence.PACKETS)
        if self._delay is not None:
            self._delay.on_feedback(packets, now)

    def on_arrivals(self, packets: Sequence[Packet], now: float) -> None:
        """What the page's arrivals said (see agent/congestion/frame_flight.py)."""
        if not (self.wants_arrivals and packets):
            return
        if self._evidence is not Evidence.FRAMES:
            self._turn_to(Evidence.FRAMES)
        if self._delay is not None:
            self._delay.on_feedback(packets, now)

    def on_wait(self, waiting_since: float | None, now: float) -> None:
        """Look whether the path is silent, some times a second."""
        if self._evidence is Evidence.PACKETS and self._delay is not None:
            self._delay.on_wait(waiting_since, now)
            self._feedback_silent = waiting_since is not None and now - waiting_since > SILENT_S

    def _turn_to(self, evidence: Evidence) -> None:
        self._delay = DelayController(min(START_BPS, self.target_bps), self._limits)
        self._loss = LossController(self._limits.ceiling_bps, self._limits)
        self._evidence = evidence
