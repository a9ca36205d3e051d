"""What this host says of itself to the fleet every two seconds, as docs/protocol.md 3.5 has it.

Flow: agent/session.py looks at each viewer, agent/media.py gathers, agent/host.py adds what only it knows
and hands the frame to agent/signaling.py.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Final

from agent.graphics_card import Load
from cluster.protocol.telemetry import (
    SessionFigures,
    Telemetry,
    TelemetryError,
    decode,
    encode,
)

logger = logging.getLogger(__name__)

EVERY_S: Final = 2.0
AGENT_VERSION: Final = version("tightbeam")


def gathered(sessions: tuple[SessionFigures, ...]) -> bytes:
    """What the media process tells the agent's."""
    return encode(Telemetry(AGENT_VERSION, "streaming" if sessions else "idle", 0.0, sessions))


def checked(figures: bytes) -> Telemetry | None:
    """What the media process gathered; None, with a word in the log, when it is not fit for the node."""
    try:
        return decode(figures)
    except TelemetryError as error:
        logger.error("figures of this host are not told: %s", error)  # noqa: TRY400 - no traceback helps
        return None


@dataclass(frozen=True, slots=True)
class Own:
    """What the agent's own process knows."""

    uptime_s: float
    cpu: float | None
    card: Load


def frame(newest: Telemetry | None, own: Own, *, media_ready: bool) -> bytes:
    """What the node is told, from the newest that was gathered; None: nothing was lately."""
    telemetry = newest or Telemetry(AGENT_VERSION, "idle", 0.0, ())
    state = telemetry.state if media_ready else "failing"
    known = replace(telemetry, state=state, uptime_s=own.uptime_s, cpu=own.cpu)
    return encode(replace(known, gpu=own.card.card, gpu_encoder=own.card.encoder))
