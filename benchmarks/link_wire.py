"""The emulated link (benchmarks/emulator.py) for a program: starts it, gives it orders, ends it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.processes import Nursery, StartError


@dataclass(frozen=True, slots=True)
class Passed:
    """What passed in one direction since `begin`, in steps of a tenth of a second; IP headers included."""

    udp_bytes: list[int]
    other_bytes: list[int]
    packets: int
    lost: int
    overflowed: int
    late_us: list[float]
    """How much later than due packets were written: p50, p95, p99, p99.9."""


class EmulatedLink:
    """Both namespaces and what is between them, until the nursery ends it. Raises StartError."""

    def __init__(self, nursery: Nursery) -> None:
        argv = [sys.executable, "-m", "benchmarks.emulator", "--control"]
        self._process = nursery.start("emulator", argv, pipes=True)
        places = self._answer()
        self.host_path: str = places["host"]
        self.viewer_path: str = places["viewer"]
        self.is_prompt: bool = places["prompt"]
        """Whether it runs before other processes."""

    def set_link(self, link: Mapping[str, Any], seed: int) -> None:
        """The `link` of a scenario file: as at its time 0 and without losses, until `begin`."""
        self._order("link " + json.dumps({"link": link, "seed": seed}))

    def begin(self) -> float:
        """The link's time 0 is now; returned on CLOCK_MONOTONIC."""
        at_s: float = self._order("begin")["at_s"]
        return at_s

    def end(self) -> Passed:
        """What came to the viewer since `begin`."""
        return Passed(**self._order("end")["down"])

    def _order(self, line: str) -> dict[str, Any]:
        if self._process.stdin is None:
            raise ValueError("the emulator needs pipes")
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout is not None else b""
        if not line:
            raise StartError(f"the emulator ended: {self._process.log_tail()}")
        answer: dict[str, Any] = json.loads(line)
        return answer
