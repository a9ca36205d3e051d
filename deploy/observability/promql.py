"""The expressions that the dashboards share; all of them are of the namespaces that the dashboard has chosen."""

from __future__ import annotations

from typing import Final

NAMESPACE: Final = 'namespace=~"$namespace"'


def of(name: str, labels: str = "") -> str:
    """The series of a metric; `labels` as in `code="1000"`."""
    return f"{name}{{{NAMESPACE}{', ' + labels if labels else ''}}}"


def fleet(name: str, labels: str = "") -> str:
    """The same, of the exporter."""
    return of(f"tightbeam_fleet_{name}", labels)


def rate(name: str, labels: str = "") -> str:
    """Of a counter, a second."""
    return f"rate({of(name, labels)}[$__rate_interval])"


def quantile(share: float, name: str, by: str = "", labels: str = "") -> str:
    """Of a histogram, by further labels with a comma before each."""
    return f"histogram_quantile({share}, sum by (le{by}) ({rate(f'{name}_bucket', labels)}))"


def mean(name: str) -> str:
    """Of a histogram."""
    return f"sum({rate(f'{name}_sum')}) / sum({rate(f'{name}_count')})"
