"""What processes hold: memory, descriptors and threads, as Linux counts them (proc(5)); and how memory grows."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.browser.system import descendants, descriptors, resident_bytes, threads

MAPPING: Final = re.compile(
    r"^[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \d+ *(.*)\n((?:\w+:.*\n)+)", re.MULTILINE
)
SIZE: Final = re.compile(r"^(Rss|Anonymous): +(\d+) kB$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Vitals:
    """Of one process, or summed over some."""

    resident_bytes: int
    """Physical memory, mapped files included; summed, a page that processes share counts in each."""
    own_bytes: int
    """Of that, what is no file's: the anonymous pages."""
    descriptors: int
    threads: int
    cpu_s: float
    """Since its start, of the threads that live."""


def of(pids: Iterable[int]) -> Vitals:
    """Of these processes together."""
    each = [_one(pid) for pid in pids]
    return Vitals(
        sum(one.resident_bytes for one in each),
        sum(one.own_bytes for one in each),
        sum(one.descriptors for one in each),
        sum(one.threads for one in each),
        sum(one.cpu_s for one in each),
    )


def _one(pid: int) -> Vitals:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Anonymous:\s+(\d+) kB$", rollup, re.MULTILINE)
    own = int(found[1]) * 1024 if found else 0
    return Vitals(resident_bytes(pid), own, descriptors(pid), threads(pid), _busy_s(pid))


def together_bytes(pids: Iterable[int]) -> int:
    """Physical memory of these processes, a file's pages counted once however many of them map it.

    Proportional memory (Pss) would depend on what else runs on the machine.
    """
    own, files = 0, dict[str, int]()
    for pid in pids:
        mapped = Counter[str]()
        for head, rest in MAPPING.findall(Path(f"/proc/{pid}/smaps").read_text()):
            sizes = {name: int(kb) * 1024 for name, kb in SIZE.findall(rest)}
            own += sizes["Anonymous"]
            mapped[head] += sizes["Rss"] - sizes["Anonymous"]
        for path, size in mapped.items():
            files[path] = max(files.get(path, 0), size)
    return own + sum(files.values())


def _busy_s(pid: int) -> float:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def child(pid: int, pattern: str) -> int:
    """The one process below this one whose command line has the pattern; raises LookupError."""
    found = [one for one, words in descendants(pid).items() if re.search(pattern, words)]
    if len(found) != 1:
        raise LookupError(f"below {pid}, {pattern!r} matches {len(found)} processes")
    return found[0]


@dataclass(frozen=True, slots=True)
class Slope:
    """A straight line through samples: what it rises by in a second, and the standard error of that."""

    rise: float
    error: float


def slope(samples: Sequence[tuple[float, float]]) -> Slope:
    """By least squares over (seconds, value); nothing is known of fewer than three."""
    count = len(samples)
    if count < 3:
        return Slope(0.0, math.inf)
    mean_x = sum(x for x, _ in samples) / count
    mean_y = sum(y for _, y in samples) / count
    spread = sum((x - mean_x) ** 2 for x, _ in samples)
    rise = sum((x - mean_x) * (y - mean_y) for x, y in samples) / spread
    rest = sum((y - mean_y - rise * (x - mean_x)) ** 2 for x, y in samples)
    return Slope(rise, math.sqrt(rest / (count - 2) / spread))
