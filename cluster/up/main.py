"""`tightbeam up`: owns Valkey, a node, an agent and perhaps a desktop; prints one link; ends them all."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import logging
import os
import re
import signal
import socket
import ssl
import sys
import threading
import webbrowser
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import redis

from cluster import logs, server, settings
from cluster.protocol.messages import ROOM_PATTERN
from cluster.settings import Settings, SettingsError
from cluster.store.valkey import EmbeddedValkey
from cluster.up import links, tls
from cluster.up.children import Command, Kept, Lifeline
from cluster.up.desktop import Desktop

log = logging.getLogger(__name__)

READY_TIMEOUT_S: Final = 20.0
WATCH_S: Final = 0.5
DRAIN_MS: Final = 300
AGENT_GRACE_S: Final = 4.0
NODE_GRACE_S: Final = 3.0
NODE_SECRETS: Final = (
    "TIGHTBEAM_SECRET",
    "TIGHTBEAM_JWT_SECRET",
    "TIGHTBEAM_TURN_SECRET",
    "TIGHTBEAM_REDIS_URL",
)
"""Not for the agent: it may have a token for its room, nothing else."""
DEFAULT_SIZE: Final = "1280x720"
ANY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not bound
# Documentation addresses (RFC 5737, RFC 3849): connecting a UDP socket sends nothing.
ROUTE_PROBES: Final = (
    (socket.AF_INET, ("192.0.2.1", 9)),
    (socket.AF_INET6, ("2001:db8::1", 9)),
)


@dataclass(frozen=True, slots=True)
class Address:
    """How the page is reached by people, and how the agent reaches the node."""

    page_url: str
    agent_url: str
    ca_file: str | None
    trust: str | None


class Ended(RuntimeError):
    """Something that cannot be started again has ended; the text says what."""


def run(options: argparse.Namespace) -> int:
    """The command; raises ValueError, OSError or RuntimeError in words."""
    _check(options)
    chosen = settings.load(options)
    logs.configure("text", "warning")
    listener = server.listen(chosen)
    chosen = replace(chosen, port=listener.getsockname()[1])
    folder = links.state_directory()
    try:
        return asyncio.run(Up(options, chosen, listener, folder).run())
    finally:
        listener.close()


def _check(options: argparse.Namespace) -> None:
    if not ROOM_PATTERN.fullmatch(options.room):
        raise SettingsError("--room: expected 1 to 64 letters, digits or _-:.")
    if options.size is not None and not re.fullmatch(r"\d{2,4}x\d{2,4}", options.size):
        raise SettingsError("--size: expected WIDTHxHEIGHT such as 1280x720")
    if not 1 <= options.fps <= 240:
        raise SettingsError("--fps: expected 1 to 240")


def own_addresses() -> list[str]:
    """The addresses of this machine on the routes to the outside."""
    found = []
    for family, target in ROUTE_PROBES:
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(target)
            found.append(str(probe.getsockname()[0]))
    return found


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def address_of(chosen: Settings, folder: Path) -> tuple[Settings, Address]:
    """Where we are; beyond loopback this makes certificates when none are given."""
    local = ANY_ADDRESS.get(chosen.host, chosen.host)
    port = chosen.port
    if chosen.tls_cert is None and chosen.loopback:
        url = f"http://{_bracketed(local)}:{port}"
        return chosen, Address(url, url, None, None)
    outside = own_addresses()
    shown = chosen.host if chosen.host not in ANY_ADDRESS else next(iter(outside), local)
    if chosen.tls_cert is not None:
        given = tls.read_given(Path(chosen.tls_cert), shown)
        url = f"https://{_bracketed(given.name)}:{port}"
        hosts = (*chosen.allowed_hosts, given.name)
        authority = chosen.tls_cert if given.has_root else None
        return replace(chosen, allowed_hosts=hosts), Address(url, url, authority, None)
    names = list(
        dict.fromkeys(
            (shown, local, *outside, "127.0.0.1", "::1", "localhost", socket.gethostname())
        )
    )
    made = tls.ensure(folder / "tls", names)
    chosen = replace(chosen, tls_cert=str(made.certificate), tls_key=str(made.key))
    trust = (
        f"This machine made its own certificate authority. Trust it once on each device, or the"
        f" browser warns:\n  {made.authority}\n  SHA-256 {made.fingerprint}\n"
        "  It can speak only for this machine's names and addresses, for .local and for private"
        " addresses, not for any other site.\n"
        "  Firefox: Settings, Certificates, Authorities, Import. Chrome: Settings, Manage"
        " certificates, Authorities.\n"
        "  Debian: sudo cp it to /usr/local/share/ca-certificates/tightbeam.crt and run"
        " sudo update-ca-certificates"
    )
    page = f"https://{_bracketed(shown)}:{port}"
    return chosen, Address(page, f"https://{_bracketed(local)}:{port}", str(made.authority), trust)


class Up:
    """One run of the command."""

    def __init__(
        self,
        options: argparse.Namespace,
        chosen: Settings,
        listener: socket.socket,
        folder: Path,
    ) -> None:
        self._options = options
        self._listener = listener
        self._folder = folder
        self._settings, self._address = address_of(chosen, folder)
        self._secret = self._settings.secret or links.own_secret(folder)
        self._stop = asyncio.Event()

    async def run(self) -> int:
        """Until a signal, or until something that cannot be started again has ended."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._stop.set)
        lifeline = Lifeline()
        valkey = EmbeddedValkey()
        try:
            await asyncio.to_thread(valkey.start)
            async with self._desktop(lifeline) as (env, desktop):
                await self._serve(env, desktop, valkey, lifeline)
        finally:
            links.forget_running(self._folder, valkey.url)
            (self._folder / links.REDIRECT_FILE).unlink(missing_ok=True)
            lifeline.cut()
            await asyncio.to_thread(valkey.stop)
        return 0

    @contextlib.asynccontextmanager
    async def _desktop(
        self, lifeline: Lifeline
    ) -> AsyncIterator[tuple[dict[str, str], Desktop | None]]:
        """The environment of the agent, with a private desktop when there is no display."""
        env = dict(os.environ)
        if self._options.source != "x11" or env.get("DISPLAY"):
            if self._options.source == "x11" and env.get("WAYLAND_DISPLAY"):
                _say(
                    "This is a Wayland session: only the windows of X11 programs (XWayland) can be"
                    " captured and controlled. Log in to an X11 session to share the whole desktop."
                )
            yield env, None
            return
        if env.get("WAYLAND_DISPLAY"):
            _say(
                "This is a Wayland session without XWayland: its desktop cannot be captured."
                " Sharing a private X11 desktop instead."
            )
        size = self._options.size or DEFAULT_SIZE
        desktop = Desktop(size, lifeline, self._log_file("desktop"))
        try:
            await desktop.start(env)
            _say(f"There is no $DISPLAY: sharing a private desktop of {size}.")
            yield desktop.environment, desktop
        finally:
            await desktop.stop()

    def _log_file(self, name: str) -> Path:
        path = self._folder / f"{name}.log"
        path.write_bytes(b"")
        path.chmod(0o600)
        return path

    async def _serve(
        self,
        env: Mapping[str, str],
        desktop: Desktop | None,
        valkey: EmbeddedValkey,
        lifeline: Lifeline,
    ) -> None:
        node = Kept(self._node_command(valkey.url, lifeline), lifeline)
        agent = Kept(self._agent_command(env, lifeline), lifeline)
        try:
            async with asyncio.TaskGroup() as tasks:
                keeping = [
                    tasks.create_task(node.run()),
                    tasks.create_task(valkey.keep(lambda: self._restarted(valkey.url))),
                ]
                await self._wait_for_node(node)
                keeping.append(tasks.create_task(agent.run()))
                self._announce(valkey.url)
                try:
                    await self._watch(desktop)
                finally:
                    await agent.stop()  # says goodbye to the viewers through the node
                    await node.stop()
                    for task in keeping:
                        task.cancel()
        except ExceptionGroup as group:
            if len(group.exceptions) > 1:
                raise
            raise group.exceptions[0] from None

    async def _watch(self, desktop: Desktop | None) -> None:
        while not self._stop.is_set():
            if desktop is not None and not desktop.display_running:
                raise Ended("the private desktop has ended; start `tightbeam up` again")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WATCH_S):
                    await self._stop.wait()

    def _node_command(self, redis_url: str, lifeline: Lifeline) -> Command:
        chosen = self._settings
        listen_fd = self._listener.fileno()
        env = dict(os.environ) | {
            "TIGHTBEAM_HOST": chosen.host,
            "TIGHTBEAM_PORT": str(chosen.port),
            "TIGHTBEAM_LISTEN_FD": str(listen_fd),
            "TIGHTBEAM_PARENT_FD": str(lifeline.read_fd),
            "TIGHTBEAM_REDIS_URL": redis_url,
            "TIGHTBEAM_SINGLE_NODE": "1",
            "TIGHTBEAM_SECRET": self._secret,
            "TIGHTBEAM_PAIRING": str(int(chosen.pairing)),
            "TIGHTBEAM_ALLOWED_HOSTS": ",".join(chosen.allowed_hosts),
        }
        env.setdefault("DRAIN_TIMEOUT_MS", str(DRAIN_MS))
        if not chosen.loopback:  # nobody shall meet on this desktop's node uninvited
            env.setdefault("TIGHTBEAM_MODE", "secure")
        if chosen.tls_cert is not None and chosen.tls_key is not None:
            env |= {"TIGHTBEAM_TLS_CERT": chosen.tls_cert, "TIGHTBEAM_TLS_KEY": chosen.tls_key}
        argv = [sys.executable, "-P", "-m", "cluster.cli", "node"]
        return Command("node", argv, env, self._log_file("node"), (listen_fd,), NODE_GRACE_S)

    def _agent_command(self, env: Mapping[str, str], lifeline: Lifeline) -> Command:
        options = self._options
        env = dict(env) | {
            "TIGHTBEAM_URL": self._address.agent_url,
            "TIGHTBEAM_HOST_TOKEN": links.host_token(self._secret, options.room),
            "TIGHTBEAM_ROOM": options.room,
            "TIGHTBEAM_SOURCE": options.source,
            "TIGHTBEAM_SIZE": options.size or DEFAULT_SIZE,
            "TIGHTBEAM_FPS": str(options.fps),
            "TIGHTBEAM_PARENT_FD": str(lifeline.read_fd),
        }
        for name in NODE_SECRETS:
            env.pop(name, None)
            env.pop(name.removeprefix("TIGHTBEAM_"), None)
        if options.bitrate is not None:
            env["TIGHTBEAM_BITRATE"] = str(options.bitrate)
        if self._address.ca_file is not None:
            env["TIGHTBEAM_CA_FILE"] = self._address.ca_file
        argv = [sys.executable, "-P", "-m", "agent.cli", "run"]
        return Command("agent", argv, env, self._log_file("agent"), (), AGENT_GRACE_S)

    async def _wait_for_node(self, node: Kept) -> None:
        host = ANY_ADDRESS.get(self._settings.host, self._settings.host)
        secure = self._settings.tls_cert is not None
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                while not await asyncio.to_thread(_ready, host, self._settings.port, secure):
                    if self._stop.is_set():
                        return
                    await asyncio.sleep(0.05)
        except TimeoutError:
            tail = (self._folder / "node.log").read_text("utf-8", "replace")[-2000:]
            raise Ended(f"the node did not start ({node.restarts} restarts):\n{tail}") from None

    def _announce(self, redis_url: str) -> None:
        if self._stop.is_set():
            return
        room, page = self._options.room, self._address.page_url
        links.write_running(self._folder, links.Running(page, room, redis_url))
        if self._address.trust is not None:
            _say(self._address.trust)
        url = self._link(redis_url)
        if not self._settings.pairing:
            _say(f"Open this page on this machine (no pairing is asked for):\n\n  {url}\n")
        else:
            _say(f"Open this link and click Connect. It works once, for 10 minutes:\n\n  {url}\n")
        if sys.stdin.isatty() and self._settings.pairing:
            _say("Press Enter for another link, Ctrl-C to end.")
            asyncio.get_running_loop().add_reader(sys.stdin, self._entered, redis_url)
        else:
            _say("Ctrl-C ends everything.")
        if self._options.open:
            page = links.write_redirect(self._folder, url).as_uri()
            threading.Thread(
                target=webbrowser.open, args=(page,), name="tightbeam-open", daemon=True
            ).start()

    def _link(self, redis_url: str) -> str:
        token = None
        if self._settings.pairing:
            token = links.make_pairing(links.connect(redis_url), self._options.room, "player")
        return links.link(self._address.page_url, self._options.room, token)

    def _restarted(self, redis_url: str) -> None:
        if self._settings.pairing:
            _say(
                f"A link that was not used yet is void. Another one:\n\n  {self._link(redis_url)}\n"
            )

    def _entered(self, redis_url: str) -> None:
        if not sys.stdin.readline():
            asyncio.get_running_loop().remove_reader(sys.stdin)
            return
        try:
            _say(f"\n  {self._link(redis_url)}\n")
        except redis.RedisError as error:
            _say(f"No link could be made: {error}")


def _say(text: str) -> None:
    print(text, flush=True)


def _ready(host: str, port: int, secure: bool) -> bool:
    """Whether the node takes peers. Its certificate may be for another name than loopback."""
    connection: http.client.HTTPConnection
    if secure:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(host, port, timeout=1.0, context=context)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=1.0)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
