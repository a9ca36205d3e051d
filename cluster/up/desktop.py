"""A private desktop for a machine without a display: Xvfb, a window manager, a terminal, a clock, sound."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import socket
import struct
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cluster.up.children import Child, Command, Lifeline

PROGRAMS: Final = ("Xvfb", "openbox", "xterm", "xclock", "xeyes", "pulseaudio")
PACKAGES: Final = "xvfb openbox xterm x11-apps pulseaudio libpulse0"
START_TIMEOUT_S: Final = 10.0
FAMILY_LOCAL: Final = 256  # X11/Xauth.h
FAMILY_WILD: Final = 65535
COOKIE_NAME: Final = b"MIT-MAGIC-COOKIE-1"
POLL_S: Final = 0.02
BACKGROUND: Final = "#10151c"
FOREGROUND: Final = "#d7e0ea"
ACCENT: Final = "#5eead4"
GREETING: Final = "printf 'A private desktop, made by tightbeam up. It ends with it.\\n\\n'; exec \"${SHELL:-sh}\""


class DesktopUnavailable(RuntimeError):
    """The private desktop cannot start; the text says what to install."""


def missing_programs() -> list[str]:
    """What is not on the PATH."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


def authority_entry(family: int, address: bytes, display: bytes, cookie: bytes) -> bytes:
    """One entry of an Xauthority file (libXau, AuWrite.c): lengths and shorts are big-endian."""
    parts = (address, display, COOKIE_NAME, cookie)
    return struct.pack("!H", family) + b"".join(struct.pack("!H", len(p)) + p for p in parts)


class Desktop:
    """Starts in order, each program under its own guard; `environment` is for whoever uses it."""

    def __init__(self, size: str, lifeline: Lifeline, log_file: Path) -> None:
        self._size = size
        self._lifeline = lifeline
        self._log_file = log_file
        self._folder = Path(tempfile.mkdtemp(prefix="tightbeam-desktop-"))  # mode 0700
        self._children: list[Child] = []
        self.environment: dict[str, str] = {}

    async def start(self, base: Mapping[str, str]) -> None:
        """Raises DesktopUnavailable in words."""
        missing = missing_programs()
        if missing:
            raise DesktopUnavailable(
                f"there is no $DISPLAY, and a private desktop needs {', '.join(missing)}:"
                f" sudo apt-get install {PACKAGES}\n"
                "(or share the test picture instead: tightbeam up --source testpattern)"
            )
        env = {name: value for name, value in base.items() if not name.startswith("WAYLAND_")}
        env["XAUTHORITY"] = str(self._folder / "Xauthority")
        env["PULSE_SERVER"] = f"unix:{self._folder / 'pulse.sock'}"
        env["DISPLAY"] = await self._start_xvfb(env)
        self.environment = env
        await self._start_sound(env)
        width, height = (int(part) for part in self._size.split("x"))
        await self._run("openbox", ["openbox", "--sm-disable"])
        look = ["-bg", BACKGROUND, "-fg", FOREGROUND]
        shell = ["-e", "sh", "-c", GREETING]
        terminal = ["xterm", "-T", "Terminal", "-geometry", "80x24+40+40"]
        await self._run("xterm", [*terminal, "-fa", "Monospace", "-fs", "11", *look, *shell])
        right = width - 260
        clock = ["xclock", "-update", "1", "-geometry", f"220x220+{right}+40", *look]
        for part in ("hour", "minute", "major", "minor"):
            clock += ["-xrm", f"*{part}Color: {FOREGROUND}"]
        await self._run("xclock", [*clock, "-xrm", f"*secondColor: {ACCENT}"])
        eyes = ["xeyes", "-geometry", f"220x140+{right}+{min(320, height - 180)}"]
        colours = ["-bg", BACKGROUND, "-fg", BACKGROUND, "-outline", ACCENT, "-center", FOREGROUND]
        await self._run("xeyes", [*eyes, *colours])

    async def _run(self, name: str, argv: list[str], env: Mapping[str, str] | None = None) -> Child:
        command = Command(name, argv, env or self.environment, self._log_file)
        child = await Child.start(command, self._lifeline)
        self._children.append(child)
        return child

    async def _start_xvfb(self, env: Mapping[str, str]) -> str:
        """The display's name; the server finds a free number itself and says it on a pipe."""
        cookie = secrets.token_bytes(16)
        authority = self._folder / "Xauthority"
        wild = authority_entry(FAMILY_WILD, b"", b"", cookie)
        authority.touch(mode=0o600)
        authority.write_bytes(wild)
        read_fd, write_fd = os.pipe()
        argv = ["Xvfb", "-displayfd", str(write_fd), "-screen", "0", f"{self._size}x24"]
        argv += ["-nolisten", "tcp", "-noreset", "-auth", str(authority), "-dpi", "96"]
        command = Command("xvfb", argv, env, self._log_file, (write_fd,), remove=str(self._folder))
        try:
            server = await Child.start(command, self._lifeline)
        finally:
            os.close(write_fd)
        self._children.append(server)
        number = await _read_line(read_fd)
        if not number:
            raise DesktopUnavailable(f"Xvfb did not start: {server.log_tail()}")
        host = socket.gethostname().encode()
        authority.write_bytes(authority_entry(FAMILY_LOCAL, host, number, cookie) + wild)
        return f":{number.decode()}"

    async def _start_sound(self, env: Mapping[str, str]) -> None:
        path = self._folder / "pulse.sock"
        own = dict(env) | {
            "HOME": str(self._folder),
            "XDG_RUNTIME_DIR": str(self._folder),
            "PULSE_RUNTIME_PATH": str(self._folder / "pulse"),
        }
        argv = ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no"]
        argv += ["--disable-shm=yes", "--realtime=no", "--high-priority=no"]
        argv += ["-L", f"module-native-protocol-unix socket={path} auth-anonymous=1"]
        argv += ["-L", "module-null-sink sink_name=tightbeam rate=48000 channels=2"]
        sound = await self._run("pulseaudio", argv, own)
        deadline = asyncio.get_running_loop().time() + START_TIMEOUT_S
        while not path.exists():
            if not sound.running or asyncio.get_running_loop().time() > deadline:
                raise DesktopUnavailable(f"PulseAudio did not start: {sound.log_tail()}")
            await asyncio.sleep(POLL_S)

    @property
    def display_running(self) -> bool:
        """False when the X server has ended."""
        return bool(self._children) and self._children[0].running

    async def stop(self) -> None:
        """Everything, newest first but the X server's clients at once."""
        clients = self._children[1:]
        await asyncio.gather(*(child.stop() for child in clients))
        for child in self._children[:1]:
            await child.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


async def _read_line(fd: int) -> bytes:
    """The first line from a pipe; empty when it ends or nothing comes in time."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(fd, "rb")
    )
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            return (await reader.readline()).strip()
    except TimeoutError:
        return b""
    finally:
        transport.close()
