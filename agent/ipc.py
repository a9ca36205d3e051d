"""What the agent's process says to its media process, and to the process that starts apps for a service; over pipes.

A frame is a 4-byte big-endian length and a msgpack map: the field names of one message below and
`type`, its class name. Both ends are the same version of this package; a frame that is not as this
table says is a bug or a broken pipe, and ends the media process.
"""

from __future__ import annotations

import dataclasses
import math
import os
import select
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgpack

MAX_FRAME_BYTES: Final = 1 << 20
WRITE_LIMIT_S: Final = 5.0
_LENGTH: Final = struct.Struct("!I")


class IpcError(Exception):
    """The other end sent what is no frame, or does not read what it is sent."""


@dataclass(frozen=True, slots=True)
class Configure:
    """First of all, to the media process: what to share."""

    source: str
    width: int | None
    height: int | None
    fps: int
    bitrate_bps: int
    congestion: str
    audio: bool
    udp_ports: tuple[int, ...] = ()
    """The first and the last one for our own candidates; none: any."""
    clipboard: str = "off"
    apps: tuple[str, ...] = ()
    """The names of the apps that players may start."""
    window_apps: tuple[str, ...] = ()
    """Of those, whose windows are shown instead of the monitor."""


@dataclass(frozen=True, slots=True)
class OpenSession:
    """A browser's offer. Answered by SessionAnswer, SessionRefused, or by one after the other."""

    session: int
    role: str
    sdp: str = field(repr=False)
    ice_servers: tuple[Mapping[str, Any], ...] = field(repr=False)
    former: int = 0
    """The session of the same browser whose place it takes once it is connected; 0: none."""


@dataclass(frozen=True, slots=True)
class RemoteCandidate:
    session: int
    candidate: str
    sdp_mid: str | None
    sdp_mline_index: int | None


@dataclass(frozen=True, slots=True)
class LoseSession:
    """The browser is lost to signaling: end the session when its media is silent too."""

    session: int


@dataclass(frozen=True, slots=True)
class CloseSession:
    session: int
    reason: str


@dataclass(frozen=True, slots=True)
class AppChanged:
    """How it is with an app: agent/apps/runner.py, AppState."""

    name: str
    state: str
    group: int
    words: str


@dataclass(frozen=True, slots=True)
class Ping:
    """Once a second, to see that the media process's event loop runs. Answered by Pong."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Close every session and exit."""


@dataclass(frozen=True, slots=True)
class Ready:
    """First of all, from the media process: what it will use, and what is missing in words."""

    uses: tuple[str, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SessionAnswer:
    session: int
    sdp: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class LocalCandidate:
    session: int
    candidate: str
    sdp_mid: str | None
    sdp_mline_index: int | None


@dataclass(frozen=True, slots=True)
class SessionRefused:
    """No session came of the offer; `message` is for the user."""

    session: int
    message: str


@dataclass(frozen=True, slots=True)
class SessionConnected:
    session: int


@dataclass(frozen=True, slots=True)
class SessionSilent:
    """Nothing of what is sent to the browser is heard of: it should make a second connection."""

    session: int


@dataclass(frozen=True, slots=True)
class SessionClosed:
    session: int
    reason: str


@dataclass(frozen=True, slots=True)
class Notice:
    """Something is wrong that every user should know of; `message` is for them.

    `about` is what it is wrong with: of each only so many are passed on.
    """

    about: str
    message: str


@dataclass(frozen=True, slots=True)
class StartApp:
    """A player wants this app."""

    name: str


@dataclass(frozen=True, slots=True)
class EndApp:
    """A player wants this app no more."""

    name: str


@dataclass(frozen=True, slots=True)
class RunApp:
    """To the process of the user who is signed in (agent/apps/user_process.py): run this app."""

    app: str = field(repr=False)
    """As `write_apps` of agent/apps/app.py writes it, a list of one: its environment may hold what is secret."""


@dataclass(frozen=True, slots=True)
class UserProcessEnded:
    """From the service: that process is not there, or not any more; `message` is for the players."""

    message: str


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to a Ping."""


@dataclass(frozen=True, slots=True)
class HeldInput:
    """Every key and button that is down on the host, sent before the first of them goes down."""

    keys: tuple[int, ...] = field(repr=False)
    buttons: tuple[int, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Figures:
    """Every two seconds: a frame of telemetry, without what the agent's process alone knows."""

    telemetry: bytes = field(repr=False)


Message = (
    Configure
    | OpenSession
    | RemoteCandidate
    | LoseSession
    | CloseSession
    | AppChanged
    | Ping
    | Stop
    | Ready
    | SessionAnswer
    | LocalCandidate
    | SessionRefused
    | SessionConnected
    | SessionSilent
    | SessionClosed
    | Notice
    | StartApp
    | EndApp
    | RunApp
    | UserProcessEnded
    | Pong
    | HeldInput
    | Figures
)

MESSAGES: Final[dict[str, type[Message]]] = {shape.__name__: shape for shape in Message.__args__}


def _is(*kinds: type) -> Callable[[Any], bool]:
    return lambda value: type(value) in kinds


def _list_of(kind: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(type(entry) is kind for entry in value)


# By the annotation as it is written above.
_CHECKS: Final[dict[str, Callable[[Any], bool]]] = {
    "int": _is(int),
    "bool": _is(bool),
    "str": _is(str),
    "bytes": _is(bytes),
    "int | None": _is(int, type(None)),
    "str | None": _is(str, type(None)),
    "tuple[int, ...]": _list_of(int),
    "tuple[str, ...]": _list_of(str),
    "tuple[Mapping[str, Any], ...]": _list_of(dict),
}


def encode(message: Message) -> bytes:
    """The frame of a message."""
    values = {entry.name: getattr(message, entry.name) for entry in dataclasses.fields(message)}
    body: bytes = msgpack.packb({"type": type(message).__name__, **values})
    if len(body) > MAX_FRAME_BYTES:
        raise IpcError(f"{type(message).__name__}: {len(body)} bytes, at most {MAX_FRAME_BYTES}")
    return _LENGTH.pack(len(body)) + body


def decode(body: bytes) -> Message:
    """The message of a frame's body; raise IpcError when it is none."""
    try:
        values = msgpack.unpackb(body)
    except (ValueError, RecursionError, msgpack.UnpackException) as error:
        raise IpcError(f"expected msgpack, got {len(body)} bytes of something else") from error
    shape = MESSAGES.get(str(values.get("type"))) if isinstance(values, dict) else None
    if shape is None:
        raise IpcError("type: expected one of the table's")
    rows = dataclasses.fields(shape)
    if values.keys() != {"type", *(row.name for row in rows)}:
        raise IpcError(f"{shape.__name__}: expected exactly its own keys")
    for row in rows:
        if not _CHECKS[str(row.type)](values[row.name]):
            raise IpcError(f"{shape.__name__}.{row.name}: expected {row.type}")
    made = {row.name: _tuple(values[row.name]) for row in rows}
    return shape(**made)


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


class FrameDecoder:
    """Cuts a byte stream into messages; holds at most one frame that is not whole yet."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def feed(self, piece: bytes) -> Iterator[Message]:
        """Take some bytes; yields the messages that are whole. Raises IpcError for good."""
        self._waiting += piece
        while len(self._waiting) >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(self._waiting)
            if size > MAX_FRAME_BYTES:
                raise IpcError(f"a frame of {size} bytes, at most {MAX_FRAME_BYTES}")
            end = _LENGTH.size + size
            if len(self._waiting) < end:
                return
            body = bytes(self._waiting[_LENGTH.size : end])
            del self._waiting[:end]
            yield decode(body)


READ_BYTES: Final = 65_536


def messages(descriptor: int) -> Iterator[Message]:
    """What comes by a pipe, to its end; each wait blocks. Raises IpcError."""
    decoder = FrameDecoder()
    try:
        while piece := os.read(descriptor, READ_BYTES):
            yield from decoder.feed(piece)
    except OSError as error:
        raise IpcError(f"it cannot be read: {error.strerror}") from error


class PipeWriter:
    """Writes frames to a pipe from any thread, in the kernel before `send` returns.

    So what was sent arrives even when this process is killed in the next instant. Waits at most
    WRITE_LIMIT_S for a reader that does not read.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._writing: threading.Thread | None = None
        if sys.platform != "win32":
            os.set_blocking(descriptor, False)

    def send(self, message: Message) -> None:
        """Raises IpcError when the other end is gone or does not read."""
        frame = memoryview(encode(message))
        with self._lock:
            if sys.platform == "win32":
                self._write_on_a_thread(frame)
            else:
                self._write(frame, time.monotonic() + WRITE_LIMIT_S)

    def _write(self, frame: memoryview, deadline: float) -> None:
        while frame:
            try:
                frame = frame[os.write(self._descriptor, frame) :]
            except BlockingIOError:
                left = deadline - time.monotonic()
                if left <= 0 or not select.select([], [self._descriptor], [], left)[1]:
                    raise IpcError("the agent does not read its pipe") from None
            except OSError as error:
                raise IpcError("the agent has closed its pipe") from error

    def _write_on_a_thread(self, frame: memoryview) -> None:
        """For Windows: its select knows sockets only, so there a write blocks, and nothing else is limited."""
        problems: list[IpcError] = []

        def write() -> None:
            try:
                self._write(frame, math.inf)
            except IpcError as error:
                problems.append(error)

        if self._writing is None or _ends(self._writing):
            self._writing = threading.Thread(target=write, name="pipe", daemon=True)
            self._writing.start()
            if _ends(self._writing):
                if problems:
                    raise problems[0]
                return
        raise IpcError("the agent does not read its pipe")


def _ends(thread: threading.Thread) -> bool:
    thread.join(WRITE_LIMIT_S)
    return not thread.is_alive()
