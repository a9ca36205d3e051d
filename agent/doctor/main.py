"""The root of the doctor: looks at what was asked for, prints, and says by its exit code whether sessions can work."""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Final, get_args

from agent import backends
from agent.doctor import local, network, report
from agent.doctor.report import FAMILIES, Check, Family, Needs
from agent.settings import BY_DEFAULT, Effective

BACKENDS: Final[tuple[backends.Family, ...]] = get_args(backends.Family)


def look(effective: Effective, families: Sequence[Family]) -> list[Check]:
    """Every check of the families; the network last, when nothing here is busy."""
    found = [local.display(os.environ)] if "display" in families and sys.platform != "win32" else []
    found += asyncio.run(local.backend_checks([row for row in BACKENDS if row in families]))
    if "network" in families:
        # As agent/media.py: Windows's default loop gives a UDP socket up at the first unreachable server.
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            found += runner.run(network.checks(effective.settings, configured=_has_node(effective)))
    return found


def examine(effective: Effective, families: Sequence[Family] = (), *, as_json: bool) -> bool:
    """Look, print, and return whether sessions can work."""
    chosen = [family for family in FAMILIES if not families or family in families]
    checks = look(effective, chosen)
    settings = effective.settings
    needs = Needs(settings.source, settings.audio, _has_node(effective))
    verdict = report.judge(checks, needs, chosen)
    if as_json:
        print(report.as_json(checks, verdict, _versions()))
    else:
        names = ", ".join(f"{name} {number}" for name, number in _versions().items())
        columns = shutil.get_terminal_size((120, 24)).columns
        print(report.table(checks, verdict, names, columns))
    return not verdict.problems


def _has_node(effective: Effective) -> bool:
    return effective.values["url"].origin != BY_DEFAULT or effective.settings.token is not None


def _versions() -> dict[str, str]:
    found = {}
    for package in ("tightbeam", "av", "aiortc", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "missing"
    return found | {
        "Python": platform.python_version(),
        platform.system(): f"{platform.release().partition('-')[0]} ({platform.machine()})",
    }
