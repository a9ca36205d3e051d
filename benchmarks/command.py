"""The command line that the signaling benchmarks share, and the scope in which one runs."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.processes import Nursery, StartError, nothing_remains
from benchmarks.report import OURS, Report


def make_parser(
    name: str, text: str | None, *, rounds: int = 5, seconds: float = 2
) -> argparse.ArgumentParser:
    """The options that all have."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}",
        description=text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    line = f"interleaved rounds (default {rounds})"
    parser.add_argument("--rounds", type=int, default=rounds, help=line)
    line = f"of each measurement (default {seconds:g})"
    parser.add_argument("--seconds", type=float, default=seconds, help=line)
    parser.add_argument("--only-ours", action="store_true", help="leave the peers out")
    parser.add_argument("--json", type=Path, help="also write every figure to this file")
    return parser


def numbers(text: str) -> list[int]:
    """Whole numbers by comma, smallest first."""
    return sorted({int(part) for part in text.split(",")})


def run(name: str, measure: Callable[[Nursery], Report], json_file: Path | None) -> int:
    """Measure, print and leave no process behind; 0 when ours was measured."""
    started = time.monotonic()
    try:
        with (
            nothing_remains(),
            tempfile.TemporaryDirectory() as folder,
            Nursery(Path(folder)) as nursery,
        ):
            report = measure(nursery)
    except StartError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    print(report.text())
    print(f"\nin {time.monotonic() - started:.0f} s")
    if json_file is not None:
        report.write_json(json_file)
    return 0 if OURS in report.subjects else 1
