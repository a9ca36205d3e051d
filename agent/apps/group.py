"""An app's processes: a process group on Linux, and how it is begun, told apart from a later one, and ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from agent import host_token
from agent.apps.app import App, Command

TERMINATE_WAIT_S: Final = 5.0
LOOK_S: Final = 0.25


class AppFailed(Exception):
    """A command of an app did not do; the text says which and why."""


def environment_of(app: App, own: Mapping[str, str]) -> dict[str, str]:
    """What its commands get: ours without the host token, and its own on top."""
    return host_token.without(own) | dict(app.environment)


async def begin(app: App, command: Command) -> asyncio.subprocess.Process:
    """Start a command in a process group of its own. Raises AppFailed."""
    words = command
    if app.shell:
        words = ("cmd", "/d", "/c", *command) if sys.platform == "win32" else ("sh", "-c", *command)
    try:
        return await asyncio.create_subprocess_exec(
            *words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            cwd=app.directory,
            env=environment_of(app, os.environ),
            start_new_session=sys.platform != "win32",
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise AppFailed(f"{command[0]!r} cannot be started: {reason}") from None


async def run(app: App, command: Command) -> None:
    """Run a command to its end, within the app's limit. Raises AppFailed."""
    process = await begin(app, command)
    try:
        code = await asyncio.wait_for(process.wait(), app.limit_s)
    except TimeoutError:
        raise AppFailed(f"{command[0]!r} did not end within {app.limit_s} s") from None
    finally:
        if process.returncode is None:
            await asyncio.to_thread(_kill, process.pid)
            await process.wait()
    if code != 0:
        raise AppFailed(f"{command[0]!r} failed with exit code {code}")


def alive(group: int) -> bool:
    """Whether any process of this group is left, zombies not counted. It reads all of /proc: see `lives`."""
    if sys.platform == "win32":
        return False  # its leader's end is its end
    return any(True for _ in members(group))


async def lives(group: int) -> bool:
    """The same on a thread: the loop has a person's shortcut to hear, which ends remote control at once."""
    return await asyncio.to_thread(alive, group)


def members(group: int) -> list[int]:
    """The processes of a group, zombies not counted; of Linux."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))) is not None:
            state, _parent, of_group = fields[:3]
            if state != "Z" and int(of_group) == group:
                found.append(int(entry.name))
    return found


def birth(pid: int) -> str:
    """When a process began, in clock ticks since the boot; empty: there is none."""
    fields = _stat(pid)
    return "" if fields is None else fields[19]


def mark(leader: int) -> str:
    """What tells a group from a later one: its leader's birth, if that is not gone already, and the boot."""
    return f"{birth(leader)} {_boot()}"


def is_left(leader: int, marked: str) -> bool:
    """Whether the group of this mark lives; its leader, a launcher, may be gone."""
    if sys.platform == "win32":
        return False
    if birth(leader):
        return mark(leader) == marked
    # The kernel gives a number to nobody while a session has it, and each app begins one.
    same_boot = marked.rpartition(" ")[2] == _boot() != ""
    return same_boot and any(_session(pid) == leader for pid in members(leader))


def _session(pid: int) -> int:
    fields = _stat(pid)
    return 0 if fields is None else int(fields[3])


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the state on (proc(5))."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return None


async def end(group: int) -> None:
    """Have a group end: asked first, then killed."""
    await asyncio.to_thread(_terminate, group)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + TERMINATE_WAIT_S
    while await lives(group) and loop.time() < deadline:  # noqa: ASYNC110 - nobody tells of a group's end
        await asyncio.sleep(LOOK_S / 5)
    if await lives(group):
        await asyncio.to_thread(_kill, group)


def _terminate(group: int) -> None:
    """Ask a group to end; Windows asks nobody, there it ends the first process and what that started."""
    if sys.platform == "win32":
        command = ["taskkill", "/t", "/f", "/pid", str(group)]
        try:
            subprocess.run(command, check=True, timeout=TERMINATE_WAIT_S, capture_output=True)
        except (OSError, subprocess.SubprocessError):  # Wine's knows no /t
            with contextlib.suppress(OSError):  # it has ended by itself
                os.kill(group, signal.SIGTERM)
    else:
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            os.killpg(group, signal.SIGTERM)


def _kill(group: int) -> None:
    if sys.platform == "win32":
        _terminate(group)
    else:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
