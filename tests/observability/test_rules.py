"""The alert rules: promtool's own check and unit tests, and that each alert has its tests and its page."""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict

from deploy.observability.build import DASHBOARDS, HERE, RULES
from tests.observability.names import exported

ROOT = HERE.parent.parent
WANTED = {
    "NodeDown", "RedisSubscriptionDown", "RelayLatencyHigh", "HandshakeErrorsHigh", "HostsOfflineSpike",
    "ConnectionsNearCapacity", "SlowConsumers", "DrainStuck", "TurnIssueFailures", "LoadSkew",
    "SessionQualityDegraded",
}  # fmt: skip
ALERTS = set(re.findall(r"^ +- alert: (\w+)$", RULES.read_text(), re.MULTILINE))


def promtool(*words: str) -> str:
    done = subprocess.run(["promtool", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_accepts_the_rules() -> None:
    assert "SUCCESS" in promtool("check", "rules", str(RULES))


def test_every_alert_does_what_its_unit_tests_say() -> None:
    promtool("test", "rules", str(HERE / "rules_test.yml"))


def test_every_alert_is_tested_to_fire_and_not_to_fire() -> None:
    text = (HERE / "rules_test.yml").read_text()
    ways: dict[str, set[bool]] = defaultdict(set)
    for name, after in re.findall(r"alertname: (\w+)\n( *exp_alerts:)?", text):
        ways[name].add(bool(after))
    assert ALERTS >= WANTED
    assert ways == {name: {True, False} for name in ALERTS}


def test_every_alert_has_a_severity_words_and_a_section_of_the_runbook() -> None:
    runbook = (ROOT / "docs" / "runbook.md").read_text()
    sections = set(re.findall(r"^## (\w+)$", runbook, re.MULTILINE))
    assert sections == ALERTS
    for rule in RULES.read_text().split("- alert: ")[1:]:
        name = rule.split("\n", 1)[0]
        assert re.search(r"severity: (critical|warning|info)\n", rule), name
        for key in ("summary: ", "description: ", f"runbook_url: docs/runbook.md#{name.lower()}\n"):
            assert key in rule, name


def test_every_metric_that_is_asked_for_exists() -> None:
    known = exported() | {"up"}
    recorded = set(re.findall(r"- record: (\S+)", RULES.read_text()))
    asked = [
        query.expr for board in DASHBOARDS for panel in board.panels() for query in panel.queries
    ]
    text = "\n".join([RULES.read_text(), *asked])
    names = set(re.findall(r"\btightbeam[a-z0-9_]*[:_][a-z0-9_:]+", text))
    assert {name for name in names if ":" in name} == recorded
    assert {name for name in names if ":" not in name} <= known
