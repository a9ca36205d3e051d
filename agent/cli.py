"""The command line `tightbeam-agent`: parses, then hands over to agent/host.py and others. Imports nothing heavy."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Sequence
from typing import Final

from agent import config_file, enrolment, lifeline
from agent import settings as agent_settings
from agent.clipboard.base import POLICIES
from agent.doctor.report import FAMILIES
from agent.service import command as service_command
from agent.settings import Effective, SettingsError

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_REFUSED: Final = 3

COARSE_S: Final = 0.001
COARSE: Final = (
    "the clock of this Python is too coarse for video: on Windows use Python 3.13 or newer "
    "(before it the clock has steps of 15.6 ms)"
)
SCREENS: Final = {
    "x11": "x11: the screen of $DISPLAY",
    "dxgi": "dxgi: the monitors, by gdi where that cannot be",
}
DEFAULT_FILE: Final = (
    r"%ProgramData%\Tightbeam\agent.toml"
    if sys.platform == "win32"
    else "~/.config/tightbeam/agent.toml"
)

_RUN: Final = """\
Share this machine's desktop: join a room of a signaling node as its host, and serve every browser
that comes. Signaling may go and come back; running sessions are not touched by that.

The host token is what `tightbeam-agent enroll` stored, or that of TIGHTBEAM_HOST_TOKEN; never a flag,
so that it shows in no process list:

    export TIGHTBEAM_HOST_TOKEN=$(tightbeam token host --room desk)
    tightbeam-agent run --url https://node.example --room desk
"""
_SOURCES: Final = f"""\
A flag beats its environment variable (TIGHTBEAM_URL, TIGHTBEAM_ROOM, ...), which beats the configuration
file ({DEFAULT_FILE}, or --config), which beats what `enroll` stored (node, room, CA),
which beats the default. docs/agent.md explains every key; `tightbeam-agent config` prints what is in effect.
"""
_RUN_EXITS: Final = """\
exit codes:
  0  stopped by SIGTERM, SIGINT or the end of its parent; browsers were told goodbye
  1  failed; the log says why
  2  a flag, a variable or the file cannot be used
  3  the node refused the host token, or the address is no node
"""
_CONFIG: Final = """\
Print the configuration in effect, as an agent.toml, with where each value is from. The host token is not shown.
"""
_ENROLL: Final = """\
Try a join of the room with the host token, and if the node takes it, keep node, room and token for
`tightbeam-agent run`; the token in a file that only this user can read. The room is the token's own
unless it is named. It refuses while another host (or this machine's own agent) is in the room.

    tightbeam token host --room desk | ssh gaming-pc tightbeam-agent enroll --url https://node.example --token -
"""
_DOCTOR: Final = """\
Say what works on this machine, what does not, why, and what to do: screen, every encoder with a real encode and a
change of its rate, sound, input; and the node of the configuration, its STUN and TURN servers and the kind of
NAT. The node is asked by a join and a goodbye, as `enroll` does it. Nothing is pressed, and nothing is changed, but
that a virtual gamepad is plugged in and out. Each backend has 20 s at most, in a process of its own; usually all of
it takes some seconds.
"""
_DOCTOR_EXITS: Final = """\
exit codes:
  0  sessions can work: the configured source, an encoder of H.264 or VP8, input, and, if one is configured, the
     node; what sessions must do without (sound, a relay) is noted
  1  something that they need does not work; the lines "Not ready" name it
  2  a flag, a variable or the file cannot be used
"""
_ENROLL_EXITS: Final = """\
exit codes:
  0  joined and stored
  1  the node cannot be reached, or the room has a host already; nothing is stored
  2  a flag, a variable or the file cannot be used
  3  the node refused the host token; nothing is stored
"""


def parser() -> argparse.ArgumentParser:
    """The flags; a default of None means: ask the environment, then the file."""
    top = argparse.ArgumentParser(
        prog="tightbeam-agent", description="The Tightbeam host agent: your desktop in a browser."
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="command")
    run = _command(commands, "run", "share this machine's desktop", (_RUN, _RUN_EXITS))
    _add_settings(run)
    run.add_argument(
        "--die-with-parent",
        dest="parent_fd",
        metavar="FD",
        help="stop when the inherited pipe FD (on Windows: 0) reports end of file",
    )
    run.add_argument(
        "--user-pipes",
        metavar="READ,WRITE",
        help="inherited pipes (on Windows: handles) of the service, which starts apps as the user at the screen",
    )
    _add_settings(_command(commands, "config", "print the configuration in effect", (_CONFIG, "")))
    enroll = _command(
        commands, "enroll", "keep the host token of a node's room", (_ENROLL, _ENROLL_EXITS)
    )
    _add_node(enroll)
    enroll.add_argument(
        "--token",
        help="- reads it from standard input; without the flag it is TIGHTBEAM_HOST_TOKEN or asked for."
        " Given here itself, it shows in the process list and in the shell's history",
    )
    service_command.add_to(commands)
    doctor = _command(
        commands, "doctor", "say what works on this machine", (_DOCTOR, _DOCTOR_EXITS)
    )
    _add_settings(doctor)
    doctor.add_argument("--json", action="store_true", help="for programs, instead of a table")
    doctor.add_argument(
        "--only", choices=FAMILIES, action="append", help="look at this alone; may be repeated"
    )
    return top


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    line: str,
    texts: tuple[str, str],
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=line,
        description=texts[0],
        epilog="\n".join(text for text in (_SOURCES, texts[1]) if text),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_node(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--config", metavar="FILE", help=f"instead of {DEFAULT_FILE}".replace("%", "%%")
    )
    command.add_argument("--url", help=f"a node (default {agent_settings.DEFAULT_URL})")
    command.add_argument("--room", help=f"the room to host (default {agent_settings.DEFAULT_ROOM})")
    command.add_argument("--ca-file", metavar="PEM", help="trust this CA for an https or wss node")


def _add_settings(command: argparse.ArgumentParser) -> None:
    _add_node(command)
    command.add_argument(
        "--source",
        choices=agent_settings.sources(),
        help=f"{SCREENS[agent_settings.SOURCES[0]]} (default); "
        "testpattern: a moving picture and a tone",
    )
    command.add_argument("--size", metavar="WxH", help="of the test pattern (default 1280x720)")
    command.add_argument("--fps", help=f"pictures a second (default {agent_settings.DEFAULT_FPS})")
    command.add_argument(
        "--bitrate",
        metavar="MBPS",
        help=f"highest video rate, Mbit/s (default {agent_settings.DEFAULT_BITRATE_MBPS:g}); "
        "a slow path lowers it for a while",
    )
    command.add_argument(
        "--congestion",
        choices=agent_settings.CONGESTION,
        help="what lowers the rate. delay: queues on the path, by the arrival of each packet "
        "(default); loss: the share of packets lost, as always with VP8 and VP9",
    )
    command.add_argument(
        "--audio", action=argparse.BooleanOptionalAction, help="share the sound (default)"
    )
    command.add_argument(
        "--udp-ports",
        metavar="FIRST-LAST",
        help="UDP ports of this machine that sessions use, for a firewall (default: any)",
    )
    command.add_argument(
        "--clipboard",
        choices=POLICIES,
        help="which ways text of the clipboard may go, for players, by their own act (default both)",
    )
    command.add_argument(
        "--indicator",
        action=argparse.BooleanOptionalAction,
        help="show on the screen that somebody is connected (default)",
    )
    command.add_argument(
        "--panic",
        metavar="KEYS",
        help="the shortcut that ends remote control at once, and allows it again (default "
        f"{agent_settings.DEFAULT_PANIC}), or off",
    )
    command.add_argument("--log-format", choices=agent_settings.LOG_FORMATS, help="default text")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    flags = parser().parse_args(argv)
    try:
        match flags.command:
            case "config":
                print(_config_text(_effective(flags)), end="")
                return EXIT_OK
            case "enroll":
                return _enroll(flags)
            case "service":
                return service_command.run(flags.action)
            case "doctor":
                return _doctor(flags)
            case _:
                return _run(_effective(flags).settings)
    except SettingsError as error:
        print(f"tightbeam-agent: {error}", file=sys.stderr)
        return EXIT_USAGE


def _effective(flags: argparse.Namespace) -> Effective:
    file = config_file.read(flags.config, os.environ)
    stored = enrolment.read(enrolment.path_of(os.environ))
    return agent_settings.load(vars(flags), os.environ, file, stored)


def _config_text(effective: Effective) -> str:
    """The configuration as a TOML file that has the same effect, with origins as comments."""
    rows = []
    for key in agent_settings.KEYS:
        value = effective.values[key.name]
        if not key.types:
            continue
        text = agent_settings.masked(value.text) if key.name == "url" else value.text
        if key.types == (list,):
            shown = config_file.inline(json.loads(text or "[]"))
        elif key.types == (bool,):
            shown = "true" if getattr(effective.settings, key.name) else "false"
        else:
            shown = json.dumps(text) if str in key.types else text
        off = "" if text else "# "  # unset: TOML has no word for it
        rows.append((f"{off}{key.name} = {shown}", value.origin))
    width = max(len(row) for row, _ in rows)
    token = "********" if effective.settings.token else "none"
    lines = [f"{row:{width}}  # {origin}" for row, origin in rows]
    return "\n".join([*lines, f"{f'# host token: {token}':{width}}  # {effective.token_from}", ""])


def _doctor(flags: argparse.Namespace) -> int:
    from agent.doctor import main as doctor  # noqa: PLC0415

    fine = doctor.examine(_effective(flags), flags.only or (), as_json=flags.json)
    return EXIT_OK if fine else EXIT_FAILED


def _enroll(flags: argparse.Namespace) -> int:
    from agent import enroll  # noqa: PLC0415 - `--help` must not wait for the imports
    from agent.trial import JoinFailed  # noqa: PLC0415

    file = config_file.read(flags.config, os.environ)
    token = enroll.read_token(flags.token, os.environ, sys.stdin)
    effective = agent_settings.load(vars(flags), os.environ, file)
    chosen, room = effective.settings, enroll.room_of(token)
    if room is not None and effective.values["room"].origin == agent_settings.BY_DEFAULT:
        chosen = dataclasses.replace(chosen, room=room)
    try:
        print(enroll.enroll(chosen, token, os.environ))
    except JoinFailed as error:
        print(f"tightbeam-agent: {error.words}", file=sys.stderr)
        return EXIT_REFUSED if error.failure == "refused" else EXIT_FAILED
    stored = enrolment.read(enrolment.path_of(os.environ))
    warning = None if stored is None else enroll.overruled(os.environ, file, stored)
    if warning is not None:
        print(f"tightbeam-agent: {warning}", file=sys.stderr)
    return EXIT_OK


def _run(settings: agent_settings.Settings) -> int:
    if time.get_clock_info("monotonic").resolution > COARSE_S:
        print(f"tightbeam-agent: {COARSE}", file=sys.stderr)
        return EXIT_USAGE
    if settings.parent_fd is not None and not lifeline.claim(settings.parent_fd):
        print(
            f"tightbeam-agent: descriptor {settings.parent_fd} is no inherited pipe; "
            "the end of our parent will not be seen",
            file=sys.stderr,
        )
        settings = dataclasses.replace(settings, parent_fd=None)
    if settings.user_pipes is not None:
        settings = dataclasses.replace(settings, user_pipes=lifeline.adopt(*settings.user_pipes))
        if settings.user_pipes is None:
            print("tightbeam-agent: --user-pipes: expected inherited pipes", file=sys.stderr)
    return _serve(settings)


def _serve(settings: agent_settings.Settings) -> int:
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
