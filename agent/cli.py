"""The command line `tightbeam-agent`: parses, then hands over to agent/host.py. Imports nothing heavy."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import time
from collections.abc import Sequence
from typing import Final

from agent import lifeline
from agent import settings as agent_settings

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_REFUSED: Final = 3

COARSE_S: Final = 0.001
COARSE: Final = (
    "the clock of this Python is too coarse for video: on Windows use Python 3.13 or newer "
    "(before it the clock has steps of 15.6 ms)"
)
SCREENS: Final = {"x11": "x11: the screen of $DISPLAY", "gdi": "gdi: the primary monitor"}

_RUN: Final = """\
Share this machine's desktop: join a room of a signaling node as its host, and serve every browser
that comes. Signaling may go and come back; running sessions are not touched by that.

The host token is taken from TIGHTBEAM_HOST_TOKEN only, so that it shows in no process list:

    export TIGHTBEAM_HOST_TOKEN=$(tightbeam token host --room desk)
    tightbeam-agent run --url https://node.example --room desk
"""

_EXITS: Final = """\
Every flag has an environment variable (TIGHTBEAM_URL, TIGHTBEAM_ROOM, ...); the flag wins.

exit codes:
  0  stopped by SIGTERM, SIGINT or the end of its parent; browsers were told goodbye
  1  failed; the log says why
  2  a flag or variable cannot be used
  3  the node refused the host token, or the address is no node
"""


def parser() -> argparse.ArgumentParser:
    """The flags; a default of None means: ask the environment."""
    top = argparse.ArgumentParser(
        prog="tightbeam-agent", description="The Tightbeam host agent: your desktop in a browser."
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="command")
    run = commands.add_parser(
        "run",
        help="share this machine's desktop",
        description=_RUN,
        epilog=_EXITS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.add_argument("--url", help=f"a node (default {agent_settings.DEFAULT_URL})")
    run.add_argument("--room", help=f"the room to host (default {agent_settings.DEFAULT_ROOM})")
    run.add_argument(
        "--source",
        choices=agent_settings.SOURCES,
        help=f"{SCREENS[agent_settings.SOURCES[0]]} (default); "
        "testpattern: a moving picture and a tone",
    )
    run.add_argument("--size", metavar="WxH", help="size of the test pattern (default 1280x720)")
    run.add_argument("--fps", help=f"pictures a second (default {agent_settings.DEFAULT_FPS})")
    run.add_argument(
        "--bitrate",
        metavar="MBPS",
        help=f"highest video rate, Mbit/s (default {agent_settings.DEFAULT_BITRATE_MBPS:g}); "
        "a slow path lowers it for a while",
    )
    run.add_argument(
        "--congestion",
        choices=agent_settings.CONGESTION,
        help="what lowers the rate. delay: queues on the path, by the arrival of each packet "
        "(default); loss: the share of packets lost, as always with VP8 and VP9",
    )
    run.add_argument("--no-audio", action="store_true", default=None, help="share no sound")
    run.add_argument("--ca-file", metavar="PEM", help="trust this CA for an https or wss node")
    run.add_argument("--log-format", choices=agent_settings.LOG_FORMATS, help="default text")
    run.add_argument(
        "--die-with-parent",
        dest="parent_fd",
        metavar="FD",
        help="stop when the inherited pipe FD (on Windows: 0) reports end of file",
    )
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    flags = parser().parse_args(argv)
    if time.get_clock_info("monotonic").resolution > COARSE_S:
        print(f"tightbeam-agent: {COARSE}", file=sys.stderr)
        return EXIT_USAGE
    try:
        settings = agent_settings.load(vars(flags), os.environ)
    except agent_settings.SettingsError as error:
        print(f"tightbeam-agent: {error}", file=sys.stderr)
        return EXIT_USAGE
    if settings.parent_fd is not None and not lifeline.claim(settings.parent_fd):
        print(
            f"tightbeam-agent: descriptor {settings.parent_fd} is no inherited pipe; "
            "the end of our parent will not be seen",
            file=sys.stderr,
        )
        settings = dataclasses.replace(settings, parent_fd=None)
    return _run(settings)


def _run(settings: agent_settings.Settings) -> int:
    import asyncio  # noqa: PLC0415 - `--help` must not wait for the imports of the agent
    import logging  # noqa: PLC0415

    from agent import logs  # noqa: PLC0415
    from agent.host import Host  # noqa: PLC0415
    from agent.signaling import SignalingRefused  # noqa: PLC0415

    logs.configure(settings.log_format)
    logger = logging.getLogger(__name__)

    async def serve() -> None:
        await Host(settings).run()

    code = EXIT_OK
    try:
        asyncio.run(serve())
    except* SignalingRefused as group:
        for error in group.exceptions:
            logger.error("%s", error)  # noqa: TRY400 - the words are the answer, not the traceback
        code = EXIT_REFUSED
    except* Exception:
        logger.exception("the agent failed")
        code = EXIT_FAILED
    return code


if __name__ == "__main__":
    sys.exit(main())
