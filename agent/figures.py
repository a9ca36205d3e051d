"""One viewer's session in figures, for its page and for the host's telemetry: the difference of two looks."""

from __future__ import annotations

from dataclasses import dataclass

from agent.encode.base import VideoCodec
from agent.encode.rung import Served
from agent.pipeline import PipelineStats
from agent.rtp.rtcp import LossReport
from agent.summary import Delivery, Summary
from agent.transport.sender import SendStats
from cluster.protocol.telemetry import OTHER, SessionFigures


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


@dataclass(frozen=True, slots=True)
class Now:
    """What is known of one session at this moment."""

    at: float
    """Seconds of a monotonic clock."""
    codec: VideoCodec
    video: PipelineStats
    sent: SendStats
    target_bps: int
    loss: float
    report: LossReport | None


class Tally:
    """Remembers what was told, and so what is new."""

    def __init__(self, at: float, bitrate_bps: int) -> None:
        self._told = self._looked = Look(at, SendStats(), bitrate_bps)
        self._dropped_before: int | None = None

    def _dropped(self, video: PipelineStats) -> int:
        """Captured frames that were replaced since the session was first looked at."""
        if self._dropped_before is None:
            self._dropped_before = video.dropped
        return max(0, video.dropped - self._dropped_before)

    def summary(self, now: Now, encoder: str) -> Summary:
        """For the page: since the summary before."""
        video, report = now.video, now.report
        before, self._told = self._told, Look(now.at, now.sent, now.target_bps)
        return Summary(
            width=video.size[0],
            height=video.size[1],
            fps=video.fps,
            capture_us=video.grab_us,
            convert_us=video.convert_us,
            encode_us=video.encode_us,
            send_us=now.sent.send_us,
            target_bps=now.target_bps,
            sent_bps=self._told.bps_since(before),
            loss=now.loss,
            rtt_s=(report.rtt_s or 0.0) if report is not None else 0.0,
            dropped=self._dropped(video),
            encoder=encoder,
        )

    def session(self, now: Now, way: str) -> SessionFigures:
        """For the telemetry: since the figures before."""
        video, sent, report = now.video, now.sent, now.report
        replaced = self._dropped(video)
        before, self._looked = self._looked, Look(now.at, sent, now.target_bps, replaced)
        look = self._looked
        return SessionFigures(
            codec=now.codec.lower(),
            encoder=video.encoders.get(now.codec, OTHER),
            path=way,
            congestion=look.trend_since(before),
            width=video.size[0],
            height=video.size[1],
            encode_fps=video.fps,
            target_bps=now.target_bps,
            sent_bps=look.bps_since(before),
            stages_s=stages_s(video, sent),
            dropped={"replaced": replaced, "paced": sent.dropped_frames},
            capture_fps=min(video.fps + look.replaced_fps_since(before), 1000.0),
            rtt_s=None if report is None else report.rtt_s,
            jitter_s=None if report is None else min(report.jitter_s, 3600.0),
            loss=now.loss,
            repair=repair(sent),
        )
