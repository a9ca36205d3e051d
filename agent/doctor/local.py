"""Tries this machine's backends in a process of its own (agent/doctor/trials.py), each for a limited time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Final

from agent import backends
from agent.doctor.report import Check
from agent.exit_code import ending

COMMAND: Final = (sys.executable, "-P", "-m", "agent.doctor.trials")
CHECK_LIMIT_S: Final = 20.0
"""Of one backend, with the start of its process; on a loaded machine an encoder takes some seconds."""
MAX_LINE_BYTES: Final = 1 << 16


def display(environment: Mapping[str, str]) -> Check:
    """Which kind of desktop this process belongs to, by its environment."""
    x11, wayland = environment.get("DISPLAY", ""), environment.get("WAYLAND_DISPLAY", "")
    if wayland or environment.get("XDG_SESSION_TYPE") == "wayland":
        words = f"a Wayland session (WAYLAND_DISPLAY={wayland}, DISPLAY={x11})"
        return Check(
            "display",
            "session",
            "absent",
            f"{words}: its screen cannot be captured yet; log in to an X11 session, or share a virtual"
            " X display (Xvfb)",
        )
    if not x11:
        return Check(
            "display",
            "session",
            "absent",
            "DISPLAY is not set: run this in the desktop's session, or set DISPLAY (and XAUTHORITY)",
        )
    return Check("display", "session", "works", f"X11 on DISPLAY={x11}", {"display": x11})


async def backend_checks(
    families: Sequence[backends.Family],
    command: Sequence[str] = COMMAND,
    limit_s: float = CHECK_LIMIT_S,
) -> list[Check]:
    """Every backend of the families; one that ends or holds up its process is told, and the next ones go on."""
    names = [(family, name) for family in families for name, _ in backends.backends(family)]
    checks: list[Check] = []
    while len(checks) < len(names):
        began = len(checks)
        problem = await _one_process(checks, command, families, limit_s)
        if len(checks) < len(names):
            family, name = names[len(checks)]
            checks.append(Check(family, name, "fails", problem))
        assert len(checks) > began  # noqa: S101 - each process takes us further
    return checks


async def _one_process(
    checks: list[Check],
    command: Sequence[str],
    families: Sequence[backends.Family],
    limit_s: float,
) -> str:
    """Append what a process finds out, until it ends or holds us up; why that was, in words."""
    process = await asyncio.create_subprocess_exec(
        *command,
        ",".join(families),
        str(len(checks)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        limit=MAX_LINE_BYTES,
    )
    assert process.stdout is not None  # noqa: S101 - PIPE above
    try:
        while line := await asyncio.wait_for(process.stdout.readline(), limit_s):
            if not line.endswith(b"\n"):  # it ended while it wrote
                break
            checks.append(Check(**json.loads(line)))
        code = await asyncio.wait_for(process.wait(), limit_s)
    except TimeoutError:
        return f"it did not come to an end within {limit_s:.0f} s, and was ended"
    except ValueError:  # of readline
        return f"what it says of itself is a line of over {MAX_LINE_BYTES >> 10} KiB: its process was ended"
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return f"it ended its process: {ending(code)}"
