"""Questions to a Prometheus: a dashboard's expressions, filled in as Grafana would."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

LIMIT_S = 20.0


class Refused(RuntimeError):
    """Prometheus refused an expression, or cannot be reached; the text is its own."""


@dataclass(frozen=True, slots=True)
class Series:
    """One line: its labels, and (seconds, value) in order of time."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]

    def legend(self, form: str) -> str:
        """The name, by a legend's `{{label}}`."""
        return re.sub(r"\{\{(\w+)\}\}", lambda found: self.labels.get(found[1], ""), form)


def filled(expr: str, rate_interval: str) -> str:
    """All namespaces, and this much for rates."""
    return expr.replace("$namespace", ".*").replace("$__rate_interval", rate_interval)


def _asked(url: str, path: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    body = urlencode(parameters).encode()
    try:
        with urllib.request.urlopen(f"{url}/api/v1/{path}", body, timeout=LIMIT_S) as reply:
            answer = json.loads(reply.read())
    except urllib.error.HTTPError as error:
        with error:
            raise Refused(f"{error.read().decode(errors='replace')}: {parameters}") from None
    except OSError as error:
        raise Refused(f"{url}: {error}") from None
    result: list[dict[str, Any]] = answer["data"]["result"]
    return result


def now(url: str, expr: str) -> list[Series]:
    """What the expression is at this moment; raises Refused."""
    return [
        Series(row["metric"], ((float(row["value"][0]), float(row["value"][1])),))
        for row in _asked(url, "query", {"query": expr})
    ]


def lately(url: str, expr: str, span: tuple[float, float], step_s: float) -> list[Series]:
    """What it was from one moment to another; raises Refused."""
    parameters = {"query": expr, "start": span[0], "end": span[1], "step": step_s}
    return [
        Series(row["metric"], tuple((float(at), float(value)) for at, value in row["values"]))
        for row in _asked(url, "query_range", parameters)
    ]
