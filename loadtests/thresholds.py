"""Whether a run is good: its counts and times against what was allowed (a core)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loadtests.tally import Tally


def failures(
    options: Any, tallies: Mapping[str, Tally], p95_ms: Mapping[str, float | None]
) -> list[str]:
    """In words, what is beyond its threshold; empty: the run is good.

    `p95_ms`: by "answer" and "join"; None: there was none. A run without a whole session proves nothing and fails.
    """
    tightbeam, plain = tallies["tightbeam"], tallies["plain"]
    found = []
    if not tightbeam.sessions + plain.sessions:
        found.append("no session came about")
    counts = {
        "lost": tightbeam.lost,
        "doubled": tightbeam.doubled + plain.doubled,
        "reordered": tightbeam.reordered + plain.reordered,
        "unfinished": tightbeam.unfinished,
        "given_up": tightbeam.given_up,
        "plain_lost": plain.lost + plain.unfinished,
    }
    for name, count in counts.items():
        most = int(getattr(options, f"max_{name}"))
        if count > most:
            found.append(f"{name.replace('_', ' ')}: {count:,}, allowed are {most:,}")
    for name, value in p95_ms.items():
        most_ms = float(getattr(options, f"max_{name}_p95"))
        if value is not None and value > most_ms:
            found.append(f"95 % of {name}s within {value:,.0f} ms, allowed are {most_ms:,.0f} ms")
    return found
