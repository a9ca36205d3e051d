"""The agent's configuration file `agent.toml`, and where this system keeps it and the enrolment."""

from __future__ import annotations

import json
import os
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from agent.settings import SettingsError, Value, file_values

VARIABLE: Final = "TIGHTBEAM_CONFIG"
NAME: Final = "agent.toml"
MAX_BYTES: Final = 1 << 20


def config_folder(environment: Mapping[str, str]) -> Path:
    """`~/.config/tightbeam` (XDG Base Directory 0.8), on Windows `%ProgramData%\\Tightbeam`."""
    return _folder(environment, "XDG_CONFIG_HOME", (".config",))


def state_folder(environment: Mapping[str, str]) -> Path:
    """`~/.local/state/tightbeam`, on Windows `%ProgramData%\\Tightbeam`; not made here."""
    return _folder(environment, "XDG_STATE_HOME", (".local", "state"))


def user_folder(environment: Mapping[str, str]) -> Path:
    """For what one user's agent runs by itself: the state's, on Windows `%LocalAppData%\\Tightbeam`."""
    if sys.platform == "win32":
        local = environment.get("LOCALAPPDATA") or os.path.expanduser("~\\AppData\\Local")
        return Path(local, "Tightbeam")
    return state_folder(environment)


def _folder(environment: Mapping[str, str], variable: str, below_home: tuple[str, ...]) -> Path:
    if sys.platform == "win32":
        return Path(environment.get("ProgramData") or "C:\\ProgramData", "Tightbeam")
    base = environment.get(variable, "")
    if not os.path.isabs(base):  # "consider the path invalid and ignore it"
        base = os.path.join(environment.get("HOME") or os.path.expanduser("~"), *below_home)
    return Path(base, "tightbeam")


def inline(value: object) -> str:
    """A value of a file as TOML on one line: texts, whole numbers, booleans, lists and tables of them."""
    if isinstance(value, Mapping):
        pairs = (f"{json.dumps(key)} = {inline(item)}" for key, item in value.items())
        return "{ " + ", ".join(pairs) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(inline(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def read(flag: str | None, environment: Mapping[str, str]) -> dict[str, Value]:
    """The file's settings. A file that was named must be there, the default one need not. Raises SettingsError."""
    named = flag or environment.get(VARIABLE)
    path = Path(named) if named else config_folder(environment) / NAME
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        if not named:
            return {}
        raise SettingsError(f"there is no configuration file {path}") from None
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise SettingsError(f"{path}: expected at most {MAX_BYTES} bytes")
    try:
        table = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is no TOML: {error}") from None
    return file_values(table, str(path))
