"""The rules for tests that cannot wait for minutes: the same rules, but for every `for`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deploy.observability import prometheus
from deploy.observability.build import RULES
from tests.observability.test_rules import promtool


def test_every_for_is_shorter_and_nothing_else_is_changed(tmp_path: Path) -> None:
    rules = RULES.read_text("utf-8")
    made = prometheus.hurried(rules, 12)
    pattern = re.compile(r"^ +for: .*$", re.MULTILINE)
    assert pattern.sub("", made) == pattern.sub("", rules)
    assert len(pattern.findall(made)) == len(pattern.findall(rules)) > 10
    assert "for: 5000ms" in made  # of a minute
    file = tmp_path / "rules.yml"
    file.write_text(made)
    assert "SUCCESS" in promtool("check", "rules", str(file))


def test_a_for_that_is_not_understood_is_not_passed_over() -> None:
    with pytest.raises(ValueError, match="whole number"):
        prometheus.hurried("  - alert: A\n    for: 1h30m\n", 12)


def test_prometheus_takes_the_configuration(tmp_path: Path) -> None:
    file = tmp_path / "prometheus.json"
    file.write_text(prometheus.config({"tightbeam-node": ["127.0.0.1:1"]}, RULES, 1, 1))
    assert "SUCCESS" in promtool("check", "config", str(file))
