"""Which requests of a viewer for a key frame count: one per round trip, a FIR only once (RFC 5104 4.3.1)."""

from __future__ import annotations

from typing import Final

MIN_INTERVAL_S: Final = 0.15
"""A key frame on the way answers every request made before it can have arrived."""
MAX_INTERVAL_S: Final = 1.0
"""A longer round trip is a measuring error more likely than a path: it must not freeze the picture."""


class KeyframeRequests:
    """Deduplicates PLI and FIR of one stream."""

    def __init__(self) -> None:
        self._granted_at: float | None = None
        self._fir_sequence: int | None = None

    def pli(self, now: float, rtt_s: float | None) -> bool:
        """Whether this Picture Loss Indication (RFC 4585 6.3.1) asks for a new key frame."""
        wait_s = min(max(rtt_s or 0.0, MIN_INTERVAL_S), MAX_INTERVAL_S)
        if self._granted_at is not None and now - self._granted_at < wait_s:
            return False
        self._granted_at = now
        return True

    def fir(self, sequence: int, now: float, rtt_s: float | None) -> bool:
        """Whether this Full Intra Request does; a repetition has the old sequence number (4.3.1.2)."""
        if sequence == self._fir_sequence:
            return False
        self._fir_sequence = sequence
        return self.pli(now, rtt_s)
