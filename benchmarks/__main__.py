"""`python -m benchmarks`: every benchmark in turn, each in a process of its own; `make bench` runs this.

Arguments choose some of them by name and pass the rest on: `python -m benchmarks m3 --rounds 1`.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Final

NAMES = (
    "c",
    "s1",
    "s2",
    "s4",
    "s5",
    "s3",
    "s7",
    "s6",
    "s8",
    "s9",
    "footprint",
    "scaling",
    "m1",
    "m2",
    "v1",
    "m4",
    "m5",
    "m6",
    "i1",
    "a1",
    "m3",
    "m3_1080p30",
    "m3_legs",
    "link",
)  # from cheap to long
VARIANTS: Final = {
    "m3_1080p30": ("m3", "--size", "1920x1080", "--fps", "30", "--bitrate", "12000000"),
}
"""What is another benchmark with options of its own; those that are passed on come after them."""


def chosen(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The benchmarks to run, and the arguments that are passed on to each."""
    picked = [name for name in NAMES if name in arguments]
    return picked or list(NAMES), [text for text in arguments if text not in NAMES]


def command_of(name: str, options: list[str]) -> list[str]:
    """The process that runs one of them."""
    module, *own = VARIANTS.get(name, (name,))
    return [sys.executable, "-m", f"benchmarks.{module}", *own, *options]


def main() -> int:
    """0 when every one of them measured something."""
    names, options = chosen(sys.argv[1:])
    failed = 0
    for name in names:
        try:
            failed += subprocess.run(command_of(name, options), check=False).returncode != 0
        except KeyboardInterrupt:
            return 130  # the terminal sent Ctrl-C to the child as well, which cleans up itself
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
