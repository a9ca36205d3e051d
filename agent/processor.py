"""How busy this machine's processors are, for the host's telemetry."""

from __future__ import annotations

from pathlib import Path
from typing import Final

STAT: Final = Path("/proc/stat")
IDLE, IOWAIT, STEAL = 3, 4, 7
"""Fields of its first line (proc(5)); those after steal are part of user and nice."""


class Processor:
    """The used share between two looks; only Linux tells it so."""

    def __init__(self, stat: Path = STAT) -> None:
        self._stat = stat
        self._before = self._ticks()

    def used_share(self) -> float | None:
        """Of all processors since the last call, 0 to 1; None where it is not known."""
        before, self._before = self._before, self._ticks()
        if before is None or self._before is None:
            return None
        idle, total = (now - then for now, then in zip(self._before, before, strict=True))
        return min(1.0, max(0.0, 1 - idle / total)) if total > 0 else None

    def _ticks(self) -> tuple[int, int] | None:
        """Idle and all, since the machine started."""
        try:
            fields = self._stat.read_text("ascii").partition("\n")[0].split()
        except OSError:
            return None
        ticks = [int(field) for field in fields[1 : STEAL + 2]]
        if fields[:1] != ["cpu"] or len(ticks) <= IOWAIT:
            return None
        return ticks[IDLE] + ticks[IOWAIT], sum(ticks)
