"""What a whole run has delivered, by dialect: sums that workers send to their master (a core)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Final

DIALECTS: Final = ("tightbeam", "plain")


@dataclass(slots=True)
class Tally:
    """Counts of one dialect."""

    sessions: int = 0
    """That began, each counted by the side that offers."""
    items: int = 0
    """That came out, each once."""
    lost: int = 0
    doubled: int = 0
    reordered: int = 0
    unfinished: int = 0
    """Sides of sessions that did not hear the other to its end within the limits, nobody having left."""
    given_up: int = 0
    """Sides of sessions whose other side was lost to them."""

    def add(self, counts: Mapping[str, int]) -> None:
        """Add the counts of another one."""
        for name, count in counts.items():
            setattr(self, name, getattr(self, name) + count)


COLUMNS: Final = tuple(field.name for field in fields(Tally))


class Tallies:
    """Of all dialects."""

    def __init__(self) -> None:
        self.by_dialect = {dialect: Tally() for dialect in DIALECTS}

    def take(self) -> dict[str, dict[str, int]]:
        """All counts, which are zero afterwards."""
        counts = {dialect: asdict(tally) for dialect, tally in self.by_dialect.items()}
        self.by_dialect = {dialect: Tally() for dialect in DIALECTS}
        return counts

    def add(self, counts: Mapping[str, Mapping[str, int]]) -> None:
        """What `take` of another one gave."""
        for dialect, tally in counts.items():
            self.by_dialect[dialect].add(tally)

    def csv(self) -> str:
        """One line a dialect."""
        lines = [f"dialect,{','.join(COLUMNS)}"]
        for dialect, tally in self.by_dialect.items():
            lines.append(",".join([dialect, *(str(count) for count in asdict(tally).values())]))
        return "\n".join(lines) + "\n"

    def table(self) -> str:
        """The same for a terminal."""
        lines = [f"{'':<12}" + "".join(f"{name.replace('_', ' '):>12}" for name in COLUMNS)]
        for dialect, tally in self.by_dialect.items():
            lines.append(f"{dialect:<12}" + "".join(f"{n:>12,}" for n in asdict(tally).values()))
        return "\n".join(lines)
