"""The host's socket to the signaling cluster: joins, resumes, and comes back for ever.

Flow: cluster/session -> here -> agent/roster.py -> agent/host.py. Losing this socket touches no session.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidURI, WebSocketException
from websockets.typing import Subprotocol

from agent.roster import Event, Roster
from agent.settings import masked
from cluster.protocol import messages
from cluster.protocol.messages import (
    Bye,
    Error,
    Hello,
    Item,
    MessageError,
    PeerId,
    Reconnect,
    RoomId,
    Welcome,
)

logger = logging.getLogger(__name__)

SUBPROTOCOL: Final = Subprotocol(messages.SUBPROTOCOL)
OPEN_LIMIT_S: Final = 4.0
"""TCP, TLS and upgrade: a node that went without a word must not hold us for long."""
WELCOME_LIMIT_S: Final = 8.0
"""A node may hold a join for six seconds while Redis comes back."""
PING_S: Final = 2.5
PONG_LIMIT_S: Final = 2.5
"""With the close below, the silent death of a node is found within six seconds."""
CLOSE_LIMIT_S: Final = 1.0
SEND_LIMIT_S: Final = 10.0
GOODBYE_LIMIT_S: Final = 2.0
BACK_OFF_FIRST_S: Final = 0.2
BACK_OFF_MOST_S: Final = 10.0
RETRY_AFTER_MOST_S: Final = 60.0
MAX_BAD_FRAMES_LOGGED: Final = 5
LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


class SignalingRefused(Exception):
    """The node does not want this agent, and trying again cannot help; the text says what to do."""


class SignalingListener(Protocol):
    """Who is told what happens in the room, on the event loop."""

    def on_signal(self, event: Event) -> None: ...


@dataclass(frozen=True, slots=True)
class SignalingSettings:
    """Where to join, as whom."""

    url: str
    room: str
    token: str | None = field(default=None, repr=False)
    ca_file: str | None = None

    @property
    def socket_url(self) -> str:
        """The URL of the WebSocket: `/ws` where the user named no path."""
        parts = urlsplit(self.url)
        scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
        path = parts.path if parts.path not in ("", "/") else "/ws"
        return parts._replace(scheme=scheme, path=path, fragment="").geturl()


def back_off(chance: random.Random) -> Iterator[float]:
    """Full jitter: each delay is anything up to a bound that doubles from 0.2 s to 10 s."""
    bound = BACK_OFF_FIRST_S
    while True:
        yield chance.uniform(0, bound)
        bound = min(2 * bound, BACK_OFF_MOST_S)


@dataclass(slots=True)
class _Closed:
    """How a socket ended."""

    error: Error | None = None
    after_s: float | None = None
    welcomed: bool = False


class Signaling:
    """Run `run` in a task; `say` at any time on its loop."""

    def __init__(self, settings: SignalingSettings, listener: SignalingListener) -> None:
        self.roster = Roster()
        self.bad_frames = 0
        self._settings = settings
        self._listener = listener
        self._socket: ClientConnection | None = None
        self._changed = asyncio.Event()
        self._telemetry: bytes | None = None  # one at most: the newest
        self._joined_once = False
        self._leaving = False
        # Jitter that an attacker may know harms nobody.
        self._chance = random.Random()  # noqa: S311

    def say(self, peer: PeerId, negotiation: str, item: Item) -> bool:
        """Say an item to a peer; it arrives even if the socket is away now, unless it is over."""
        said = self.roster.say(peer, negotiation, item)
        self._changed.set()
        return said

    def report(self, telemetry: bytes) -> None:
        """Say a frame of telemetry when the socket takes it; a newer one replaces it until then."""
        self._telemetry = telemetry
        self._changed.set()

    async def run(self) -> None:
        """Stay joined until cancelled. Raises SignalingRefused."""
        delays = back_off(self._chance)
        while not self._leaving:
            ended = await self._one_socket()
            if self._leaving:
                return
            self._judge(ended.error)
            if ended.welcomed:
                delays = back_off(self._chance)
            delay = next(delays)
            if ended.after_s is not None:
                delay += min(ended.after_s, RETRY_AFTER_MOST_S)
            logger.info("signaling is away; sessions go on; next attempt in %.1f s", delay)
            await asyncio.sleep(delay)

    async def goodbye(self, reason: str) -> None:
        """Tell the room that every session is over, and leave."""
        self._leaving = True
        socket, self._socket = self._socket, None
        if socket is None:
            return
        try:
            async with asyncio.timeout(GOODBYE_LIMIT_S):
                await socket.send(messages.encode(Bye(reason)))
                await socket.close()
        except (WebSocketException, OSError, TimeoutError) as error:
            logger.info("could not say goodbye: %s", _words(error))

    def _judge(self, error: Error | None) -> None:
        """What a refusal means for the next attempt."""
        if error is None:
            return
        if error.code in ("unauthorized", "forbidden"):
            if self.roster.resume is not None:
                self.roster.resume = None  # another secret, or too old: join as at first
                return
            if not self._joined_once:
                raise SignalingRefused(
                    f"the node refused the host token for room {self._settings.room} "
                    f"({error.code}: {error.message}); make one with "
                    f"`tightbeam token host --room {self._settings.room}` and set TIGHTBEAM_HOST_TOKEN, "
                    "or give it to `tightbeam-agent enroll`"
                )
        if error.code == "host-present":
            self.roster.resume = None
        logger.warning("the node refused us: %s: %s", error.code, error.message)

    async def _one_socket(self) -> _Closed:
        ended = _Closed()
        try:
            async with open_socket(self._settings) as socket:
                await self._join(socket, ended)
                if not ended.welcomed:
                    return ended
                self._socket = socket
                try:
                    async with asyncio.TaskGroup() as tasks:
                        sender = tasks.create_task(self._send(socket), name="signaling-send")
                        await self._receive(socket, ended)
                        sender.cancel()
                finally:
                    self._socket = None
        except InvalidURI as error:
            raise SignalingRefused(
                f"{masked(self._settings.url)} is not a URL of a node"
            ) from error
        except InvalidHandshake as error:
            logger.warning("%s is no node: %s", masked(self._settings.url), _words(error))
        except (WebSocketException, OSError, TimeoutError) as error:
            logger.info("signaling: %s", _words(error))
        return ended

    async def _join(self, socket: ClientConnection, ended: _Closed) -> None:
        resume = self.roster.resume
        hello = Hello(
            RoomId(self._settings.room),
            "host",
            token=None if resume else self._settings.token,
            resume=resume,
        )
        async with asyncio.timeout(WELCOME_LIMIT_S):
            await socket.send(messages.encode(hello))
            while not ended.welcomed:
                frame = await socket.recv()
                try:
                    message = messages.parse(frame)
                except MessageError as error:
                    self._bad(error)
                    continue
                if isinstance(message, Error):
                    ended.error = message
                    ended.after_s = _seconds(message.retry_after_ms)
                    return
                if isinstance(message, Reconnect):
                    ended.after_s = message.after_ms / 1000
                    return
                if isinstance(message, Welcome):
                    self._welcomed(message)
                    ended.welcomed = True

    def _welcomed(self, welcome: Welcome) -> None:
        self._joined_once = True
        logger.info("joined room %s%s", self._settings.room, " again" if welcome.resumed else "")
        self._tell(self.roster.welcome(welcome))
        self._changed.set()

    def _tell(self, events: list[Event]) -> None:
        """One event that cannot be handled ends neither the others nor the agent with its sessions."""
        for event in events:
            try:
                self._listener.on_signal(event)
            except Exception:
                logger.exception("%s of the room was dropped", type(event).__name__)

    async def _receive(self, socket: ClientConnection, ended: _Closed) -> None:
        """Take frames until the socket is lost or the node wants us elsewhere.

        After `reconnect` this goes on until its delay is over: the place of a lost socket is kept
        for 10 s only, which a longer delay must not use up.
        """
        loop = asyncio.get_running_loop()
        leave_at: float | None = None
        while True:
            try:
                async with asyncio.timeout_at(leave_at):
                    frame = await socket.recv()
            except TimeoutError:
                logger.info("signaling: the node asked us to connect again")
                return
            except (WebSocketException, OSError) as error:
                if not self._leaving:
                    logger.info("signaling: %s", _words(error))
                return
            try:
                message = self._node_message(frame)
                if isinstance(message, Reconnect):
                    after_s = min(message.after_ms / 1000, RETRY_AFTER_MOST_S)
                    leave_at = min(leave_at or math.inf, loop.time() + after_s)
                    continue
                if isinstance(message, Error):
                    ended.after_s = _seconds(message.retry_after_ms)
                    logger.log(
                        # A peer that just left is ordinary life.
                        logging.DEBUG if message.code == "no-such-peer" else logging.WARNING,
                        "the node says: %s: %s",
                        message.code,
                        message.message,
                    )
                    continue
                self._tell(self.roster.receive(frame, time.monotonic()))
            except MessageError as error:
                self._bad(error)
            except Exception:
                self.bad_frames += 1
                logger.exception("a frame from the node was dropped: our own error")
            self._changed.set()

    @staticmethod
    def _node_message(frame: str | bytes) -> Reconnect | Error | None:
        """What the node itself says to this socket."""
        obj = messages.decode_object(frame)
        if obj.get("type") not in ("reconnect", "error"):
            return None
        message = messages.parse_object(obj)
        return message if isinstance(message, Reconnect | Error) else None

    async def _send(self, socket: ClientConnection) -> None:
        """Send what the roster has to say, now and at its deadlines."""
        while True:
            self._changed.clear()
            now = time.monotonic()
            try:
                async with asyncio.timeout(SEND_LIMIT_S):
                    for frame in self.roster.poll(now):
                        await socket.send(frame)
                    telemetry, self._telemetry = self._telemetry, None
                    if telemetry is not None:
                        await socket.send(telemetry)
            except (WebSocketException, OSError, TimeoutError):
                socket.transport.abort()  # `_receive` sees it and says why
                return
            deadline = self.roster.next_deadline()
            wait_s = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _bad(self, error: MessageError) -> None:
        self.bad_frames += 1
        if self.bad_frames <= MAX_BAD_FRAMES_LOGGED:
            logger.warning("a frame from the node was dropped: %s", error)


def open_socket(settings: SignalingSettings) -> connect:
    """The socket to the node, opened by entering it. Raises SignalingRefused."""
    url = settings.socket_url
    secure: ssl.SSLContext | None = None
    if url.startswith("wss:"):
        try:
            secure = ssl.create_default_context(cafile=settings.ca_file)
        except OSError as error:
            raise SignalingRefused(
                f"the CA file {settings.ca_file} cannot be read: {error}"
            ) from error
    return connect(
        url,
        ssl=secure,
        subprotocols=[SUBPROTOCOL],
        compression=None,
        open_timeout=OPEN_LIMIT_S,
        close_timeout=CLOSE_LIMIT_S,
        ping_interval=PING_S,
        ping_timeout=PONG_LIMIT_S,
        max_size=messages.MAX_MESSAGE_BYTES,
        max_queue=64,
        proxy=None if urlsplit(url).hostname in LOOPBACK else True,
    )


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
