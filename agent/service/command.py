"""`tightbeam-agent service install|start|stop|status|uninstall`."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    Subcommands = argparse._SubParsersAction[Any]

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_NOT_RUNNING: Final = 3

_ABOUT: Final = """\
The Windows service: the agent runs from the start of the machine, in whichever session is at the
screen, and is started again when it ends. As an administrator:

    tightbeam-agent service install
    tightbeam-agent service start

install    make the service (it starts with Windows), or bring it to this version
start      start it and wait until it runs
stop       release what is held, end the session, and wait until it has stopped
status     print its state; exit code 0: running, 3: not
uninstall  stop and remove it

Its log is %ProgramData%\\Tightbeam\\logs\\agent.log; starts, stops and failures are in the event log, too.
"""
ACTIONS: Final = ("install", "start", "stop", "status", "uninstall")


def add_to(commands: Subcommands) -> None:
    """Add the command to those of `tightbeam-agent`."""
    service = commands.add_parser(
        "service",
        help="the Windows service",
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    service.add_argument("action", choices=ACTIONS)


def run(action: str) -> int:
    """Do it; returns the exit code."""
    if sys.platform != "win32":
        print(
            "tightbeam-agent: the service is for Windows; on Linux let systemd run "
            "`tightbeam-agent run` in the user's session",
            file=sys.stderr,
        )
        return EXIT_USAGE
    from agent.service import scm  # noqa: PLC0415 - Windows alone

    try:
        match action:
            case "install":
                for missing in scm.install():
                    print(missing)
            case "start":
                scm.start()
            case "stop":
                scm.stop()
            case "uninstall":
                scm.uninstall()
        state = scm.state()
    except (scm.ServiceError, OSError) as error:
        print(f"tightbeam-agent: {error}", file=sys.stderr)
        return EXIT_FAILED
    print("not installed" if state is None else scm.STATES[state])
    return EXIT_OK if action != "status" or state == scm.RUNNING else EXIT_NOT_RUNNING
