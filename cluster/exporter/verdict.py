"""Whether a session is healthy, by its figures: one word, and the one reason that weighs most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from cluster.protocol.telemetry import SessionFigures

Name = Literal["healthy", "degraded", "failed"]

VERDICTS: Final[tuple[Name, ...]] = ("healthy", "degraded", "failed")
NONE: Final = "none"
HOST: Final = "host"
REASONS: Final = (NONE, HOST, "loss", "rtt", "jitter", "latency")
"""`host`: its media process does not work. `latency`: from the grab to the last packet in the kernel."""

# Where a figure degrades a session, and where it ends the use of it.
_LIMITS: Final = {
    # draft-ietf-rmcat-gcc-02 6: below 2 % a sender may go faster, above 10 % it must go slower.
    "loss": (0.02, 0.10),
    # ITU-T G.114 for one way: 150 ms are fine for most, 400 ms the most that a network may be planned for;
    # a game's player feels 100 ms there and back (Claypool and Claypool, "Latency and player actions", 2006).
    "rtt": (0.1, 0.4),
    # Two frames of 60 a second, and fifteen: a playout delay of nought hides less than the first.
    "jitter": (0.033, 0.25),
    # Three frames of 60 a second; a quarter of a second.
    "latency": (0.05, 0.25),
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """A name with its reason, which is `none` for the healthy only."""

    name: Name
    reason: str


HEALTHY: Final = Verdict("healthy", NONE)
POSSIBLE: Final = (
    HEALTHY,
    *(Verdict(name, reason) for name in VERDICTS[1:] for reason in REASONS[1:]),
)


def judge(session: SessionFigures, *, failing: bool) -> Verdict:
    """By what is known; `failing`: the host says that its media process does not work."""
    if failing:
        return Verdict("failed", HOST)
    figures = {
        "loss": session.loss,
        "rtt": session.rtt_s,
        "jitter": session.jitter_s,
        "latency": sum(session.stages_s.values()),
    }
    worst, share = HEALTHY, 0.0
    for reason, (degraded, failed) in _LIMITS.items():
        value = figures[reason]
        if value is None or value < degraded:
            continue
        name: Name = "failed" if value >= failed else "degraded"
        if (name == "failed", value / degraded) > (worst.name == "failed", share):
            worst, share = Verdict(name, reason), value / degraded
    return worst
