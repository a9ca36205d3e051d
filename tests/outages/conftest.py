"""Marks everything in this folder, and gives it the loop that nodes and agents run on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], uvloop.Loop]]:
    """Two thousand clients in one process need the quick one."""
    return {"uvloop": uvloop.new_event_loop}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test in here is an outage."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.outage)
            item.add_marker(pytest.mark.timeout(240))
