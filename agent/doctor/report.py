"""What the doctor found, as a table and as JSON, and what follows from it: a core."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Final, Literal, get_args

from agent import settings

Family = Literal[
    "display",
    "capture",
    "encoder",
    "audio",
    "injector",
    "cursor",
    "clipboard",
    "gamepad",
    "shortcut",
    "indicator",
    "network",
]
FAMILIES: Final[tuple[Family, ...]] = get_args(Family)
State = Literal["works", "absent", "fails"]
"""`absent`: it says by itself that it cannot be used here; `fails`: it should work and does not."""

SHOWN: Final[dict[State, str]] = {"works": "works", "absent": "not here", "fails": "FAILS"}
STAND_INS: Final = ("tone", "silence")
"""Sound that is not the host's."""
MIN_WIDTH: Final = 60
MAX_NAME: Final = 21
"""The column's width; URLs of servers may be longer."""


@dataclass(frozen=True, slots=True)
class Check:
    """One row: `words` say in one line what was seen or why not and what to do."""

    family: Family
    name: str
    state: State
    words: str
    figures: Mapping[str, str | int | float | bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Needs:
    """What this machine is configured to do."""

    source: str
    audio: bool
    node: bool
    """Whether a node is configured, so that it must let us in."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`problems` keep sessions from working; `notes` are what they must do without."""

    problems: tuple[str, ...]
    notes: tuple[str, ...]


def judge(checks: Sequence[Check], needs: Needs, looked_at: Iterable[Family]) -> Verdict:
    """What follows for sessions, from the families that were looked at."""

    def works(family: Family) -> list[Check]:
        return [row for row in checks if row.family == family and row.state == "works"]

    families, problems, notes = set(looked_at), [], []
    sources = settings.shown_by(needs.source)
    if "capture" in families and not any(row.name in sources for row in works("capture")):
        problems.append(f"no picture: the source {needs.source} cannot be captured")
    if "encoder" in families and not any(
        row.figures.get("codec") in ("H264", "VP8") for row in works("encoder")
    ):
        problems.append("no video: no encoder of H.264 or VP8 works")
    if "injector" in families and needs.source != "testpattern" and not works("injector"):
        problems.append("no input: keys and pointer cannot be injected")
    if "audio" in families and needs.audio and not _sound(works("audio"), needs.source):
        notes.append("no sound")
    if "gamepad" in families and needs.source != "testpattern" and not works("gamepad"):
        notes.append("no gamepads")
    if "network" in families:
        failing = [row for row in checks if row.family == "network" and row.state == "fails"]
        if needs.node and any(row.name == "node" for row in failing):
            problems.append("no signaling: the node does not take this host")
        notes += [f"{row.name} does not work" for row in failing if row.name != "node"]
    return Verdict(tuple(problems), tuple(notes))


def _sound(working: Iterable[Check], source: str) -> bool:
    return source == "testpattern" or any(row.name not in STAND_INS for row in working)


def table(checks: Sequence[Check], verdict: Verdict, versions: str, columns: int) -> str:
    """For people, at most `columns` wide."""
    width = min(max((len(row.name) for row in checks), default=0), MAX_NAME)
    indent = 10 + width + 2 + 10
    lines, family = [versions, ""], ""
    for row in checks:
        head = f"{'' if row.family == family else row.family:10}{row.name:{width}}  "
        family = row.family
        wrapped = textwrap.wrap(row.words, max(columns - indent, MIN_WIDTH), break_long_words=False)
        first, *rest = wrapped or [""]
        lines.append(f"{head}{SHOWN[row.state]:10}{first}".rstrip())
        lines += [" " * indent + line for line in rest]
    lines.append("")
    lines += [f"Note: {note}." for note in verdict.notes]
    if verdict.problems:
        lines += [f"Not ready: {problem}." for problem in verdict.problems]
    else:
        lines.append("Ready: nothing that was looked at keeps sessions from working.")
    return "\n".join(lines)


def as_json(checks: Sequence[Check], verdict: Verdict, versions: Mapping[str, str]) -> str:
    """For programs; keys may be added, none is taken away."""
    return json.dumps(
        {
            "versions": dict(versions),
            "ready": not verdict.problems,
            "problems": verdict.problems,
            "notes": verdict.notes,
            "checks": [asdict(row) for row in checks],
        },
        indent=2,
    )
