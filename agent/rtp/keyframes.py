"""Which requests of a viewer for a key frame count: at most one per round trip, a FIR only once (RFC 5104 4.3.1)."""

from __future__ import annotations

from typing import Final

MIN_INTERVAL_S: Final = 0.15
"""A key frame on the way answers every request made before it can have arrived."""
MAX_INTERVAL_S: Final = 1.0
"""More must not freeze the picture; a longer round trip is a measuring error more likely than a path."""
MAX_IN_VAIN: Final = 3
"""Three doublings of the shortest interval are more than a second."""
CALM_S: Final = 2.0
"""Without a request for so long, the next one counts at once after the shortest interval again."""


class KeyframeRequests:
    """Deduplicates PLI and FIR of one stream.

    While losses go on, each key frame, which is several times as large as other frames, would be hit as
    well: the interval doubles with each that does not help, up to a second.
    """

    def __init__(self) -> None:
        self._granted_at: float | None = None
        self._in_vain = 0
        """Key frames after which another was soon asked for."""
        self._fir_sequence: int | None = None

    def pli(self, now: float, rtt_s: float | None) -> bool:
        """Whether this Picture Loss Indication (RFC 4585 6.3.1) asks for a new key frame."""
        wait_s = min(max(rtt_s or 0.0, MIN_INTERVAL_S) * 2**self._in_vain, MAX_INTERVAL_S)
        if self._granted_at is not None:
            passed_s = now - self._granted_at
            if passed_s < wait_s:
                return False
            self._in_vain = min(self._in_vain + 1, MAX_IN_VAIN) if passed_s < CALM_S else 0
        self._granted_at = now
        return True

    def fir(self, sequence: int, now: float, rtt_s: float | None) -> bool:
        """Whether this Full Intra Request does; a repetition has the old sequence number (4.3.1.2)."""
        if sequence == self._fir_sequence:
            return False
        granted = self.pli(now, rtt_s)
        if (
            granted
        ):  # else its repetition is to count: the interval may be longer than a key frame's way
            self._fir_sequence = sequence
        return granted
