"""One `[[apps]]` table of agent.toml: a core."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

MAX_APPS: Final = 32
MAX_NAME: Final = 48
MAX_LIMIT_S: Final = 600
DEFAULT_LIMIT_S: Final = 30

Share = Literal["window", "monitor"]
Command = tuple[str, ...]
"""A program and its arguments; of an app with `shell`, the one line for it."""


@dataclass(frozen=True, slots=True)
class App:
    """What is started, and how."""

    name: str
    command: Command
    share: Share = "window"
    """`window`: players see and reach its windows only; `monitor`: what was shown before."""
    directory: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    """On top of the agent's own, without the host token."""
    prepare: tuple[Command, ...] = ()
    """Run one after the other before it; one that fails ends the start."""
    undo: tuple[Command, ...] = ()
    """All are run in the end, whatever the end was."""
    limit_s: int = DEFAULT_LIMIT_S
    """For each of these commands."""
    shell: bool = False


def read_apps(text: str) -> tuple[App, ...]:
    """The apps of a JSON list of tables. Raises ValueError in words."""
    rows = json.loads(text) if text else []
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("expected [[apps]] tables")
    if len(rows) > MAX_APPS:
        raise ValueError(f"expected at most {MAX_APPS} apps")
    apps = tuple(_app(row) for row in rows)
    names = [app.name for app in apps]
    if len(set(names)) != len(names):
        raise ValueError("expected another name for each app")
    return apps


def write_apps(apps: tuple[App, ...]) -> str:
    """The same as JSON, with every key."""
    return json.dumps([asdict(app) for app in apps])


def _app(row: Mapping[str, Any]) -> App:
    unknown = sorted(row.keys() - _READERS.keys())
    if unknown:
        raise ValueError(f"an app has no key {unknown[0]!r}; it has: {', '.join(_READERS)}")
    for key in ("name", "command"):
        if key not in row:
            raise ValueError(f"an app needs a {key}")
    shell = _flag(row.get("shell", False), "shell")
    values: dict[str, Any] = {}
    for key, value in row.items():
        values[key] = _READERS[key](value, key, shell)
    return App(**values)


def _text(value: Any, key: str, most: int = 4096) -> str:
    if not isinstance(value, str) or not value.strip() or "\0" in value or len(value) > most:
        raise ValueError(f"{key}: expected a text of 1 to {most} characters")
    return value


def _flag(value: Any, key: str) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{key}: expected true or false")  # noqa: TRY004 - as every other setting
    return value


def _command(value: Any, key: str, shell: bool) -> Command:
    if shell:
        if isinstance(value, list) and len(value) == 1:
            (value,) = value
        return (_text(value, f"{key} (with shell = true a line for it)"),)
    if not isinstance(value, list) or not value:
        raise ValueError(f'{key}: expected a list such as ["program", "argument"]')
    return tuple(_text(word, key) if at == 0 else _word(word, key) for at, word in enumerate(value))


def _word(value: Any, key: str) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise ValueError(f"{key}: expected texts")
    return value


def _commands(value: Any, key: str, shell: bool) -> tuple[Command, ...]:
    if not isinstance(value, list):
        raise ValueError(f"{key}: expected a list of commands")  # noqa: TRY004
    return tuple(_command(entry, key, shell) for entry in value)


def _share(value: Any, key: str, _shell: bool) -> Share:
    if value not in ("window", "monitor"):
        raise ValueError(f"{key}: expected window or monitor")
    return "window" if value == "window" else "monitor"


def _environment(value: Any, key: str, _shell: bool) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError(f"{key}: expected a table of texts")  # noqa: TRY004
    for name in value:
        if not name or "=" in name or "\0" in name:
            raise ValueError(f"{key}: expected names of variables, got {name!r}")
    return {name: _word(text, key) for name, text in value.items()}


def _limit(value: Any, key: str, _shell: bool) -> int:
    if type(value) is not int or not 1 <= value <= MAX_LIMIT_S:
        raise ValueError(f"{key}: expected a whole number of seconds from 1 to {MAX_LIMIT_S}")
    return value


_READERS: Final[dict[str, Callable[[Any, str, bool], Any]]] = {
    "name": lambda value, key, _: _text(value, key, MAX_NAME),
    "command": _command,
    "share": _share,
    "directory": lambda value, key, _: None if value is None else _text(value, key),
    "environment": _environment,
    "prepare": _commands,
    "undo": _commands,
    "limit_s": _limit,
    "shell": lambda value, key, _: _flag(value, key),
}
