"""How the sound is coded on the path at hand: what is left for it beside the picture, and what gets lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

BITRATE_BPS: Final = 128_000
"""RFC 7587 3.1.1: 64 to 128 kbit/s for full-band stereo music; a desktop plays music and games."""
RUNGS: Final = ((0, 32_000), (750_000, 64_000), (1_500_000, BITRATE_BPS))
"""From which rate of the picture on the sound has which: about a tenth of it below the highest."""
CLIMB: Final = 1.25
"""The picture must have so much more before the sound rises again."""
STEPS_PERCENT: Final = (0, 5, 10, 20)
"""Of expected loss. libopus repeats each packet's core in the next one, the finer the more loss it expects."""
ON: Final = 0.02
"""From this loss on: below it the code without repetition sounds better than what it loses."""
OFF: Final = 0.01
WINDOW_PACKETS: Final = 300
"""3 s: five losses are the least that counts."""
REPEAT: Final = 0.005
"""From this loss on each packet is sent twice: a losing path seldom loses one less, and it costs no quality."""
CALM_PACKETS: Final = 3000
"""30 s with nothing lost end the repetition: at 2 % loss that it repairs, one packet in 25 s still gets lost twice."""


@dataclass(frozen=True, slots=True)
class OpusSettings:
    """How the encoder is opened."""

    bitrate_bps: int = BITRATE_BPS
    expected_loss_percent: int = 0
    """0: no in-band FEC, in the mode with the least delay."""


class SoundLoss:
    """How much of the sound to one listener gets lost; fed with receiver reports."""

    def __init__(self) -> None:
        self._before: tuple[int, int] | None = None
        self.fraction = 0.0
        """Smoothed over about 3 s, 0 to 1; what a repetition repaired is not lost."""
        self.repeats = False
        """Whether each packet is worth sending twice: in-band FEC has nothing of music."""
        self._calm_packets = 0
        """Since one was lost."""

    def on_report(self, packets_lost: int, highest_sequence: int) -> None:
        """Both counted since the start (RFC 3550 6.4.1)."""
        before, self._before = self._before, (packets_lost, highest_sequence)
        if before is None:
            return
        sent = (highest_sequence - before[1]) & 0xFFFFFFFF
        if not 0 < sent < 1 << 31:  # nothing new, or the receiver began to count anew
            return
        lost = min(max(packets_lost - before[0], 0), sent)
        weight = min(sent / WINDOW_PACKETS, 1.0)
        self.fraction += weight * (lost / sent - self.fraction)
        self._calm_packets = 0 if lost else self._calm_packets + sent
        if self.fraction >= REPEAT:
            self.repeats = True
        elif self._calm_packets >= CALM_PACKETS:
            self.repeats = False


class SoundPlan:
    """What the encoder, which all listeners share, is to do."""

    def __init__(self) -> None:
        self.settings = OpusSettings()

    def decide(self, picture_bps: int, fraction_lost: float) -> OpusSettings:
        """`picture_bps`: the target of the picture; `fraction_lost`: of the listener who loses most."""
        before = self.settings
        self.settings = OpusSettings(
            _bitrate(picture_bps, before.bitrate_bps),
            _expected(fraction_lost, before.expected_loss_percent),
        )
        return self.settings


def _bitrate(picture_bps: int, before_bps: int) -> int:
    now_bps = next(rate for least, rate in reversed(RUNGS) if picture_bps >= least)
    if now_bps <= before_bps:
        return now_bps
    climbed = next(rate for least, rate in reversed(RUNGS) if picture_bps >= CLIMB * least)
    return max(climbed, before_bps)


def _expected(fraction_lost: float, before_percent: int) -> int:
    """The step at or above the loss; down only when the loss is well below the step under it."""
    if fraction_lost < (OFF if before_percent else ON):
        return 0
    steps = STEPS_PERCENT[1:]
    wanted = next((step for step in steps if 100 * fraction_lost <= step), steps[-1])
    if wanted >= before_percent:
        return wanted
    lower = next(step for step in reversed(steps) if step < before_percent)
    return lower if 100 * fraction_lost < 0.7 * lower else before_percent
