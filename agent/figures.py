"""One viewer's session in figures, for the host's telemetry: what happened between two looks at its counters."""

from __future__ import annotations

from dataclasses import dataclass

from agent.encode.rung import Served
from agent.pipeline import PipelineStats
from agent.summary import Delivery
from agent.transport.sender import SendStats


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a session; what happened is the difference of two."""

    at: float
    sent: SendStats
    target_bps: int
    replaced: int = 0
    """Captured pictures that a newer one replaced."""

    def replaced_fps_since(self, before: Look) -> float:
        """Captured, and not encoded."""
        return max(0.0, (self.replaced - before.replaced) / max(self.at - before.at, 0.1))

    def bps_since(self, before: Look) -> float:
        """What went out between the two."""
        return max(0.0, 8 * (self.sent.octets - before.sent.octets) / max(self.at - before.at, 0.1))

    def trend_since(self, before: Look) -> str:
        """What the rate did."""
        if self.target_bps == before.target_bps:
            return "hold"
        return "rise" if self.target_bps > before.target_bps else "fall"


def stages_s(video: PipelineStats, sent: SendStats) -> dict[str, float]:
    """The medians that this host measures, in seconds."""
    medians_us = {
        "capture": video.grab_us,
        "convert": video.convert_us,
        "encode": video.encode_us,
        "send": sent.send_us,
    }
    return {name: min(median_us / 1e6, 10.0) for name, median_us in medians_us.items()}


def delivery(served: Served, sent: SendStats) -> Delivery:
    """For the viewer's page."""
    return Delivery(
        lower=served.tier == "lower",
        packets=sent.packets,
        parity=sent.parity,
        repeated=sent.retransmitted,
        refused=sent.refused,
        reason=served.reason,
    )


def repair(sent: SendStats) -> dict[str, int]:
    """Packets, by the names of REPAIRS."""
    return {
        "sent": sent.packets,
        "parity": sent.parity,
        "repeated": sent.retransmitted,
        "refused": sent.refused,
    }
