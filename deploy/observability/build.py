"""Writes what is made of the rules and dashboards: a PrometheusRule for Kubernetes, and JSON for Grafana."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from deploy.observability.cluster import CLUSTER
from deploy.observability.fleet import FLEET
from deploy.observability.panels import grafana
from deploy.observability.session_quality import SESSION_QUALITY

HERE: Final = Path(__file__).parent
RULES: Final = HERE / "rules.yml"
DASHBOARDS: Final = (CLUSTER, FLEET, SESSION_QUALITY)
_RULE_HEAD: Final = """\
# Made of rules.yml: python -m deploy.observability
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: tightbeam
spec:
"""


def files() -> Mapping[Path, str]:
    """Each file that is made, and what is in it."""
    rules = RULES.read_text("utf-8")
    groups = rules[rules.index("groups:") :]
    made = {HERE / "prometheusrule.yaml": _RULE_HEAD + textwrap.indent(groups, "  ")}
    for dashboard in DASHBOARDS:
        text = json.dumps(grafana(dashboard), indent=2, ensure_ascii=False)
        made[HERE / "dashboards" / f"{dashboard.name}.json"] = f"{text}\n"
    return made


def write() -> None:
    """Write them."""
    for path, text in files().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
