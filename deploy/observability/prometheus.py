"""A Prometheus of one's own beside a cluster of this machine: its configuration, its command, and rules in a hurry."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

_FOR: Final = re.compile(r"^(\s+for: )(\d+)(s|m|h)$", re.MULTILINE)
_UNITS_MS: Final = {"s": 1000, "m": 60_000, "h": 3_600_000}


def config(jobs: Mapping[str, Sequence[str]], rules: Path, scrape_s: int, evaluate_s: int) -> str:
    """JSON, which is YAML; `jobs` are targets by the name of their job."""
    made = {
        "global": {
            "scrape_interval": f"{scrape_s}s",
            "scrape_timeout": f"{scrape_s}s",
            "evaluation_interval": f"{evaluate_s}s",
        },
        "rule_files": [str(rules)],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": list(targets)}]}
            for job, targets in jobs.items()
        ],
    }
    return json.dumps(made, indent=2)


def command(folder: Path, config: Path, place: str) -> list[str]:
    """What starts it; it keeps its series in the folder and listens at the place (host:port)."""
    return [
        "prometheus",
        f"--config.file={config}",
        "--log.level=warn",
        f"--storage.tsdb.path={folder / 'series'}",
        f"--web.listen-address={place}",
    ]


def hurried(rules: str, factor: float) -> str:
    """The same rules with every `for` so many times shorter; expressions, and their windows, stay as they are.

    For a test that cannot wait for minutes. Raises ValueError when there is a `for` that it does not understand.
    """

    def shorter(found: re.Match[str]) -> str:
        whole_ms = int(found[2]) * _UNITS_MS[found[3]]
        return f"{found[1]}{max(1, round(whole_ms / factor))}ms"

    made, count = _FOR.subn(shorter, rules)
    if count != rules.count(" for: "):
        raise ValueError("a rule's `for` is not a whole number of s, m or h")
    return made
