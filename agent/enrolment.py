"""What `tightbeam-agent enroll` keeps: which room of which node this machine hosts, and the host token, protected.

On Linux by the rights of file (0600) and folder (0700); on Windows by DPAPI and the folder's access list.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agent.config_file import state_folder
from agent.settings import SettingsError

if sys.platform == "win32":
    from agent import dpapi

NAME: Final = "enrolment.json"
MAX_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Enrolment:
    """One node and room, and the token that is for them alone."""

    url: str
    room: str
    ca_file: str | None
    token: str = field(repr=False)


def path_of(environment: Mapping[str, str]) -> Path:
    """Where it is kept."""
    return state_folder(environment) / NAME


def store(enrolment: Enrolment, path: Path) -> None:
    """Replace what was stored, in one step. Raises OSError."""
    folder = path.parent
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    token = enrolment.token
    if sys.platform == "win32":
        dpapi.keep_others_out(folder)
        token = dpapi.protect(token)
    else:
        folder.chmod(0o700)
    row = {"url": enrolment.url, "room": enrolment.room, "ca_file": enrolment.ca_file}
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(json.dumps(row | {"token": token}).encode())
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def read(path: Path) -> Enrolment | None:
    """What was stored, or None. Raises SettingsError when it cannot be used or others may read it."""
    try:
        with path.open("rb") as file:
            _check_rights(path, os.fstat(file.fileno()))
            row = json.loads(file.read(MAX_BYTES))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(f"the enrolment {path} cannot be read: {error.strerror}") from None
    except SettingsError:
        raise
    except ValueError:
        raise _broken(path) from None
    if not isinstance(row, dict):
        raise _broken(path)
    url, room, ca_file, token = (row.get(name) for name in ("url", "room", "ca_file", "token"))
    if not all(isinstance(text, str) and text for text in (url, room, token)):
        raise _broken(path)
    if ca_file is not None and not isinstance(ca_file, str):
        raise _broken(path)
    if sys.platform == "win32":
        try:
            token = dpapi.reveal(str(token))
        except (OSError, ValueError):
            raise _broken(path) from None
    return Enrolment(str(url), str(room), ca_file, str(token))


def _broken(path: Path) -> SettingsError:
    return SettingsError(f"the enrolment {path} is damaged: run tightbeam-agent enroll again")


def _check_rights(path: Path, status: os.stat_result) -> None:
    if sys.platform != "win32" and (
        status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077
    ):
        raise SettingsError(
            f"the enrolment {path} has a host token that others may read: expected mode 0600 and this"
            " user as its owner; make a new token and run tightbeam-agent enroll again"
        )
