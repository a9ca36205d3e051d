"""The cost model: what adds up, what does not, and that its measuring part runs."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.scaling import LOADS, MEASURED, Costs, Load, need, table

COSTS = Costs(
    join=30,
    leave=20,
    register=25,
    beat=30,
    beat_per_node=0.5,
    publish=3,
    publish_per_node=0.02,
    telemetry=2,
    node_session=1500,
)
LOAD = Load(nodes=10, sessions_per_s=100, messages=40, rooms=1000)


def test_message_costs_redis_one_publish_whatever_the_number_of_nodes() -> None:
    few, many = need(COSTS, LOAD), need(COSTS, replace(LOAD, nodes=100))
    assert few.redis_messages == pytest.approx(100 * 40 * (3 + 0.02 * 9) / 1e6)
    assert many.redis_messages - few.redis_messages == pytest.approx(100 * 40 * 0.02 * 90 / 1e6)
    assert many.node == pytest.approx(few.node / 10)


def test_parts_add_up_to_the_whole() -> None:
    found = need(COSTS, LOAD)
    joins = 200 * (30 + 20 + 2 * 3.18) / 1e6
    sweeps, beats, telemetry = 2000 / 300 * 25, 10 / 3 * (30 + 9 * 0.5), 500 * 2
    assert found.redis_joins == pytest.approx(joins)
    assert found.redis == pytest.approx(
        joins + found.redis_messages + (sweeps + beats + telemetry) / 1e6
    )
    assert found.whole_again_s == pytest.approx(0.05)


def test_table_has_a_row_for_each_load() -> None:
    rows = table(COSTS, [LOAD, replace(LOAD, nodes=1000)]).splitlines()
    assert [row.split("|")[1].strip() for row in rows[2:]] == ["10", "1,000"]
    assert len({row.count("|") for row in rows}) == 1


def test_document_has_the_table_of_the_model() -> None:
    document = Path(__file__).parents[2] / "docs" / "scaling.md"
    assert table(MEASURED, LOADS) in document.read_text()


def test_steps_are_measured() -> None:
    argv = [sys.executable, "-m", "benchmarks.scaling", "--rounds", "1", "--count", "100"]
    result = subprocess.run(argv, capture_output=True, text=True, timeout=100, check=True)
    assert "join" in result.stdout
    assert "telemetry" in result.stdout
