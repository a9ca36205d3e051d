"""Panels and dashboards as values, and the JSON that Grafana imports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

Kind = Literal["timeseries", "stat", "table"]
COLUMNS: Final = 24
"""Of Grafana's grid."""
SCHEMA: Final = 39
"""Of dashboards in Grafana 11."""
DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL expression and the name of its series; `{{label}}` is filled in."""

    expr: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture. `unit` is Grafana's (`s`, `percentunit`, `reqps`); stacked series add up to a whole."""

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    kind: Kind = "timeseries"
    width: int = 8
    stacked: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A heading and the panels below it, from left to right."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """`name` is that of its file and its uid."""

    name: str
    title: str
    description: str
    rows: tuple[Row, ...]

    def panels(self) -> list[Panel]:
        """All of them."""
        return [panel for row in self.rows for panel in row.panels]


HEIGHTS: Final[Mapping[Kind, int]] = {"timeseries": 8, "stat": 4, "table": 8}


def _target(query: Query, index: int, kind: Kind) -> dict[str, Any]:
    target: dict[str, Any] = {
        "datasource": DATASOURCE,
        "expr": query.expr,
        "legendFormat": query.legend,
        "refId": chr(ord("A") + index),
    }
    if kind == "table":
        target |= {"format": "table", "instant": True, "range": False}
    return target


def _options(kind: Kind) -> dict[str, Any]:
    match kind:
        case "timeseries":
            return {
                "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
                "tooltip": {"mode": "multi", "sort": "desc"},
            }
        case "stat":
            return {
                "colorMode": "none",
                "graphMode": "area",
                "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
                "textMode": "auto",
            }
        case "table":
            return {"showHeader": True, "sortBy": [{"desc": True, "displayName": "Value"}]}


def _panel(panel: Panel, number: int, place: Mapping[str, int]) -> dict[str, Any]:
    custom: dict[str, Any] = {}
    if panel.kind == "timeseries":
        custom = {"fillOpacity": 30 if panel.stacked else 8, "lineWidth": 1, "showPoints": "never"}
        if panel.stacked:
            custom["stacking"] = {"group": "A", "mode": "normal"}
    shown: dict[str, Any] = {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "gridPos": dict(place),
        "fieldConfig": {
            "defaults": {"custom": custom, "min": 0, "unit": panel.unit},
            "overrides": [],
        },
        "options": _options(panel.kind),
        "targets": [_target(query, i, panel.kind) for i, query in enumerate(panel.queries)],
    }
    if panel.kind == "table":
        unwanted = ("Time", "job", "instance", "namespace", "pod", "container", "endpoint")
        hidden = dict.fromkeys(unwanted, True)
        shown["transformations"] = [
            {"id": "organize", "options": {"excludeByName": hidden, "renameByName": {}}}
        ]
    return shown


def _laid_out(rows: Sequence[Row]) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = []
    y = 0
    for row in rows:
        heading = {"h": 1, "w": COLUMNS, "x": 0, "y": y}
        shown.append(
            {
                "id": len(shown) + 1,
                "type": "row",
                "title": row.title,
                "collapsed": False,
                "gridPos": heading,
                "panels": [],
            }
        )
        x, y, tallest = 0, y + 1, 0
        for panel in row.panels:
            height = HEIGHTS[panel.kind]
            if x + panel.width > COLUMNS:
                x, y, tallest = 0, y + tallest, 0
            place = {"h": height, "w": panel.width, "x": x, "y": y}
            shown.append(_panel(panel, len(shown) + 1, place))
            x, tallest = x + panel.width, max(tallest, height)
        y += tallest
    return shown


def _variables() -> list[dict[str, Any]]:
    return [
        {
            "name": "datasource",
            "label": "Data source",
            "type": "datasource",
            "query": "prometheus",
            "refresh": 1,
        },
        {
            "name": "namespace",
            "label": "Namespace",
            "type": "query",
            "datasource": DATASOURCE,
            "definition": 'label_values(up{job=~"tightbeam-.+"}, namespace)',
            "query": {
                "query": 'label_values(up{job=~"tightbeam-.+"}, namespace)',
                "refId": "namespaces",
            },
            "includeAll": True,
            "allValue": ".*",
            "multi": True,
            "current": {"text": ["All"], "value": ["$__all"]},
            "refresh": 2,
            "sort": 1,
        },
    ]


def grafana(dashboard: Dashboard) -> dict[str, Any]:
    """What Grafana imports."""
    return {
        "uid": f"tightbeam-{dashboard.name}",
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": ["tightbeam"],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": []},
        "links": [
            {
                "asDropdown": False,
                "includeVars": True,
                "keepTime": True,
                "tags": ["tightbeam"],
                "title": "Tightbeam",
                "type": "dashboards",
            }
        ],
        "templating": {"list": _variables()},
        "panels": _laid_out(dashboard.rows),
    }
