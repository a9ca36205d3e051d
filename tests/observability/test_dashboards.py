"""The dashboards' JSON: in step with what makes it, and fit for any Grafana."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy.observability import build
from deploy.observability.build import DASHBOARDS, HERE, RULES

UNITS = {"s", "bps", "bytes", "percentunit", "reqps", "short"}
BOARDS = [json.loads(path.read_text()) for path in sorted((HERE / "dashboards").glob("*.json"))]
PANELS = [panel for board in BOARDS for panel in board["panels"] if panel["type"] != "row"]


def test_the_files_are_what_the_script_makes() -> None:
    for path, text in build.files().items():
        assert path.read_text("utf-8") == text, f"{path.name}: run python -m deploy.observability"
    assert len(BOARDS) == len(DASHBOARDS)


def test_the_kubernetes_rule_has_the_very_rules() -> None:
    made = (HERE / "prometheusrule.yaml").read_text()
    plain = RULES.read_text()
    stripped = [line.strip() for line in plain[plain.index("groups:") :].splitlines()]
    assert [line.strip() for line in made[made.index("  groups:") :].splitlines()] == stripped


def test_the_component_names_every_file() -> None:
    text = (HERE / "kustomization.yaml").read_text()
    named = set(re.findall(r"^ +- ((?:dashboards/)?\S+\.(?:json|yaml))$", text, re.MULTILINE))
    assert named == {path.relative_to(HERE).as_posix() for path in build.files()}


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board["uid"])
def test_a_dashboard_runs_on_any_datasource(board: dict[str, Any]) -> None:
    assert board["title"].startswith("Tightbeam / ")
    assert board["description"]
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert "id" not in board, "an id is one Grafana's own"
    text = json.dumps(board)
    assert set(re.findall(r"\$\{?(\w+)", text)) == {
        "datasource",
        "namespace",
        "__rate_interval",
        "__all",
    }
    assert not re.search(r"\d+\.\d+\.\d+\.\d+|localhost|:\d{4}", text), "an address"
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in board["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells), "panels overlap"
    assert max(x for x, _ in cells) < 24


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_explains_itself(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    for target in panel["targets"]:
        assert target["legendFormat"]
        assert target["datasource"] == panel["datasource"]
        expr = target["expr"]
        assert "or vector(0)" not in expr
        assert not re.search(r'(instance|job|host|pod)=~?"(?!tightbeam-node")', expr)
        selectors = re.findall(r"\{([^}]*)\}", expr)
        assert selectors
        assert all('namespace=~"$namespace"' in selector for selector in selectors)
        for name in re.findall(r"(?:rate|increase)\((\w+)", expr):
            assert name.endswith(("_total", "_bucket", "_count", "_sum")), f"{name} is no counter"


def test_kubectl_takes_the_component(tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text(f"components: [{_relative(tmp_path)}]\n")
    done = subprocess.run(
        [str(Path(sys.executable).with_name("kubectl")), "kustomize", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "kind: PrometheusRule" in done.stdout
    assert done.stdout.count('"uid": "tightbeam-') == len(DASHBOARDS)


def _relative(start: Path) -> str:
    return "/".join([".."] * (len(start.parts) - 1)) + str(HERE)
