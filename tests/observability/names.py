"""The names that a node and the exporter export, as they are scraped."""

from __future__ import annotations

import re

from cluster import metrics
from cluster.exporter.app import Exporter
from cluster.settings import Settings

PAGE_TYPES = re.compile(r"^# TYPE (\S+) (\w+)$", re.MULTILINE)


def exported() -> set[str]:
    """Of histograms their three series."""
    exporter = Exporter(Settings(redis_url="redis://127.0.0.1"))
    text = (metrics.exposition() + exporter.exposition()).decode()
    names: set[str] = set()
    for name, kind in PAGE_TYPES.findall(text):
        if kind == "histogram":
            names |= {f"{name}_bucket", f"{name}_sum", f"{name}_count"}
        else:
            names.add(name)
    return names
