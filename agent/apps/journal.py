"""Which apps owe their undo commands: files that outlive the agent, so that a killed one's successor runs them.

Each agent of a user writes a file of its own beside a lock that it holds for as long as it lives; whoever gets the
lock of another one knows that its agent is gone.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.apps.app import App, read_apps, write_apps

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

logger = logging.getLogger(__name__)

MAX_BYTES: Final = 1 << 20


@dataclass(slots=True, eq=False)
class Owed:
    """An app that was begun; `leader` is its first process and the group's mark, once there is one."""

    app: App
    leader: tuple[int, str] | None = None


class Journal:
    """What changes it returns when it is on the disk. Raises OSError."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / f"apps-{secrets.token_hex(8)}.json"
        self._lock: int | None = None
        self._owed: list[Owed] = []

    def adopt(self) -> list[Owed]:
        """Take over what agents that are gone left; a damaged file is told of and stays."""
        adopted: list[Owed] = []
        for path in sorted(self._folder.glob("apps-*.json")):
            if path == self._path:
                continue
            try:
                adopted += self._take_over(path)
            except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
                logger.warning("what %s owes is not undone: %s", path, error)
        return adopted

    def _take_over(self, path: Path) -> list[Owed]:
        lock = _locked(path.with_suffix(".lock"))
        if lock is None:
            return []
        try:
            found = [_owed(row) for row in json.loads(path.read_bytes()[:MAX_BYTES])]
            self._owe(found)
            path.unlink()
        finally:
            os.close(lock)
        with contextlib.suppress(OSError):  # nobody asks for it without the other file
            path.with_suffix(".lock").unlink()  # Windows deletes no open file
        return found

    def note(self, app: App) -> Owed:
        """This app is begun: its undo commands are owed from now on."""
        owed = Owed(app)
        self._owe([owed])
        return owed

    def started(self, owed: Owed, leader: tuple[int, str]) -> None:
        """It has a first process now."""
        owed.leader = leader
        self._write()

    def done(self, owed: Owed) -> None:
        """They were run."""
        self._owed.remove(owed)
        self._write()

    def _owe(self, more: list[Owed]) -> None:
        """Also these, or none of them. Raises OSError."""
        before = self._owed
        self._owed = [*before, *more]
        try:
            self._write()
        except OSError:
            self._owed = before
            raise

    def _write(self) -> None:
        if self._lock is None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = _locked(self._path.with_suffix(".lock"))
        if not self._owed:
            self._path.unlink(missing_ok=True)
            return
        part = self._path.with_suffix(".part")
        rows = [
            {"app": json.loads(write_apps((owed.app,)))[0], "leader": owed.leader}
            for owed in self._owed
        ]
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(rows, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self._path)

    def close(self) -> None:
        """Give the lock back; what is owed is the next agent's. Idempotent."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)
            if not self._owed:
                self._path.with_suffix(".lock").unlink(missing_ok=True)


def _locked(path: Path) -> int | None:
    """The descriptor of a lock that is ours as long as it is open; None: another process has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if sys.platform == "win32":
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _owed(row: dict[str, object]) -> Owed:
    (app,) = read_apps(json.dumps([row["app"]]))
    leader = row["leader"]
    if leader is None:
        return Owed(app)
    if not isinstance(leader, list) or len(leader) != 2:
        raise ValueError("leader: expected two entries")
    return Owed(app, (int(leader[0]), str(leader[1])))
