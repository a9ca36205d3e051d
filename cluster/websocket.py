"""The WebSocket edge: one connection from its upgrade on, with data frames handed over past ASGI.

The upgrade goes through the application, for Starlette's routing; a data frame goes straight from here to the session,
and a send is one frame header and one write: that saves the coroutine steps and the queue that cost most of a message.
The framing is RFC 6455 5 without extensions; what it makes of a stream is held to what `websockets` does by a test.
"""

from __future__ import annotations

import asyncio
import enum
import logging
import secrets
import struct
from typing import Final, Protocol
from urllib.parse import unquote

import uvicorn
from starlette.types import Message, Scope
from uvicorn.server import ServerState
from websockets.exceptions import ProtocolError
from websockets.frames import Close as CloseFrame

try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform without the wheel's C extension
    from websockets.utils import apply_mask

from cluster import metrics
from cluster.handshake import Upgrade, judge
from cluster.limits import Allowance, MessageLimit
from cluster.protocol import closes
from cluster.protocol.closes import Close

log = logging.getLogger(__name__)

EXTENSION: Final = "tightbeam.connection"
_HEAD_16: Final = struct.Struct("!BBH").pack
_HEAD_64: Final = struct.Struct("!BBQ").pack
CLOSE_LIMIT_S: Final = 2.0
EARLY_FRAMES: Final = 8
_NO_BODY: Final = b"Content-Length: 0\r\nConnection: close\r\n\r\n"
FORBIDDEN: Final = b"HTTP/1.1 403 Forbidden\r\n" + _NO_BODY
FAULT: Final = b"HTTP/1.1 500 Internal Server Error\r\n" + _NO_BODY
FIN: Final = 0x80  # RFC 6455 5.2: bits of a frame's first byte
RESERVED: Final = 0x70
OPCODE: Final = 0x0F
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
OPCODES: Final = frozenset((CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG))
WHOLE_TEXT: Final = FIN | TEXT
MASKED: Final = 0x80  # of the second
CONTROL_BYTES: Final = 125  # RFC 6455 5.5
GOING_AWAY: Final = Close(1012, "")
ABNORMAL: Final = 1006
FRAGMENTS: Final = 1024
"""Of one message: 256 KiB in frames of 256 bytes."""
FRAMES_PER_10S: Final = 2000
"""That are no whole text message. Keepalives of both sides take six, a few large messages in fragments some dozens."""


class Receiver(Protocol):
    """Who takes a connection's frames: a session. All calls come on the event loop, in order, until `closed`."""

    def on_frame(self, frame: bytes, *, is_text: bool) -> None:
        """One whole message."""


class State(enum.Enum):
    """A connection's life goes downwards only."""

    ASKING = "the application has not said whether the peer comes in"
    OPEN = "the 101 is sent"
    CLOSING = "a close frame is sent, and the peer's awaited"
    OVER = "nothing more is sent or heard"


ASKING, OPEN = State.ASKING, State.OPEN
"""Names of the module: through the class each look costs 0.14 us in Python 3.11, and a message takes three."""


class Connection(asyncio.Protocol):
    """One WebSocket of this node. Its application calls `open` and `attach`, and may return then."""

    send_buffer_bytes = 1 << 20
    receiver: Receiver | None = None
    attached = False
    limit: Allowance  # the door gives it
    _upgrade: Upgrade
    _close_code = ABNORMAL  # the first that was sent or came
    _timer: asyncio.TimerHandle | None = None  # of the next ping, of its pong, or of the end
    _ping: bytes | None = None

    def __init__(
        self, config: uvicorn.Config, state: ServerState, transport: asyncio.Transport
    ) -> None:
        self._config = config
        self._server = state
        self.transport = transport
        self._loop = asyncio.get_running_loop()
        self.id = secrets.token_hex(4)
        self.state = ASKING
        self.closed: asyncio.Future[None] = self._loop.create_future()
        self.early: list[tuple[bytes, bool]] = []
        self.rest = bytearray()  # at most one message and its head
        self.parts: list[bytes] = []  # of a message in fragments
        self._parts_bytes = 0
        self._parts_opcode: int | None = None  # while such a message is under way
        self.others = MessageLimit(FRAMES_PER_10S)
        self.message_bytes = config.ws_max_size
        state.connections.add(self)  # type: ignore[arg-type]  # one of uvicorn's own in its eyes
        metrics.SOCKETS.inc()

    # The handshake

    def ask(self, scope: Scope, target: bytes) -> None:
        """Refuse the upgrade, or start the application, which answers it; takes the request's scope over."""
        upgrade = judge(scope.pop("method"), target, scope["headers"])
        if isinstance(upgrade, bytes):
            self._answer(upgrade)
            return
        self._upgrade = upgrade
        raw_path, _, query = target.partition(b"?")
        scope.update(
            type="websocket",
            scheme="wss" if scope["scheme"] == "https" else "ws",
            path=scope["root_path"] + unquote(raw_path.decode("ascii")),
            raw_path=scope["root_path"].encode("ascii") + raw_path,
            query_string=query,
            subprotocols=upgrade.subprotocols,
            extensions={EXTENSION: self},
        )
        task = self._loop.create_task(self._run(scope))
        self._server.tasks.add(task)
        task.add_done_callback(self._server.tasks.discard)

    async def _run(self, scope: Scope) -> None:
        """The application lets the peer in or turns it away. With a receiver the connection goes on without it.

        So an idle connection keeps neither a task nor the request, which would be two thirds of its memory.
        """
        try:
            await self._config.loaded_app(scope, self._receive, self._send)
        except Exception:
            log.exception("a WebSocket could not be let in", extra={"connection": self.id})
        else:
            if self.attached:
                return
        if self.state is ASKING:
            self._answer(FAULT)
        elif self.state is not State.CLOSING:
            self.transport.close()

    @staticmethod
    async def _receive() -> Message:
        return {"type": "websocket.connect"}

    async def _send(self, message: Message) -> None:
        """Starlette itself says only that there is no such path; whoever lets a peer in calls `open`."""
        if message["type"] != "websocket.close":
            raise RuntimeError(f"expected websocket.close, got {message['type']}")
        if self.state is ASKING:
            self._answer(FORBIDDEN)

    def _answer(self, refusal: bytes) -> None:
        self.state = State.OVER
        self.transport.write(refusal)
        self.transport.close()

    def open(self, subprotocol: str | None = None) -> None:
        """Answer the upgrade with a 101, which names one of the subprotocols that were offered, or none."""
        if self.state is not ASKING or self.transport.is_closing():
            return
        self.state = OPEN
        lines = [
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + self._upgrade.accept,
            *(name + b": " + value for name, value in self._server.default_headers),
        ]
        if subprotocol is not None:
            lines.append(b"Sec-WebSocket-Protocol: " + subprotocol.encode("ascii"))
        self.transport.write(b"\r\n".join(lines) + b"\r\n\r\n")
        del self._upgrade
        self._ping_later()

    def attach(self, receiver: Receiver) -> None:
        """From now on frames go to this session; those that came before go first. The application may return."""
        self.receiver = receiver
        self.attached = True
        if not self.transport.is_closing():  # uvloop raises when it is closed
            self.transport.set_write_buffer_limits(high=self.send_buffer_bytes)
        early, self.early = self.early, []
        for frame, is_text in early:
            self._take(frame, is_text)

    def take_up_to(self, size_bytes: int) -> None:
        """The largest message from now on, in one frame or in fragments."""
        self.message_bytes = size_bytes

    # What comes

    def data_received(self, data: bytes) -> None:
        """Cut the stream into frames."""
        if self.state is ASKING:
            self.transport.abort()  # RFC 6455 4.1: a client must wait for the answer before it says more
            return
        rest: bytes | bytearray = data
        if self.rest:
            self.rest += data
            rest = self.rest
        used = self._frames(rest)
        if used < len(rest):
            self.rest = bytearray(rest[used:]) if used else bytearray(rest)
        elif self.rest:
            self.rest = bytearray()

    def _frames(self, data: bytes | bytearray) -> int:
        """Take whole frames from the start; how many bytes these were."""
        at, size = 0, len(data)
        while size - at >= 2:
            first, second = data[at], data[at + 1]
            length = second & 127
            head = 6 if length < 126 else 8 if length == 126 else 14
            if size - at < head:
                if second < MASKED and self.state is OPEN:  # it is not waited for: it has no mask
                    self._fail(closes.BROKEN)
                    return size
                break
            if length == 126:
                length = data[at + 2] << 8 | data[at + 3]
            elif length == 127:
                length = int.from_bytes(data[at + 2 : at + 10], "big")
            body, end = at + head, at + head + length
            if second < MASKED or length > self.message_bytes - self._parts_bytes:
                if self.state is OPEN:
                    known = second >= MASKED and first & OPCODE in OPCODES
                    self._fail(closes.TOO_LARGE if known else closes.BROKEN)
                return size
            if end > size:
                break
            payload = apply_mask(data[body:end], data[body - 4 : body])
            if first == WHOLE_TEXT and self._parts_opcode is None:
                self._take(payload, True)
            else:
                self._other(first, payload)
            at = end
        return at

    def _other(self, first: int, payload: bytes) -> None:
        """A control frame, a fragment or a binary frame: no message to the session's limit, so counted here."""
        opcode = first & OPCODE
        if self.state is not OPEN and not (self.state is State.CLOSING and opcode == CLOSE):
            return
        if self.others.take(self._loop.time()) is not None:
            metrics.RATE_LIMITED.labels("frames").inc()
            self.refuse(closes.RATE_LIMITED)
        elif first & RESERVED or opcode not in OPCODES:
            self._fail(closes.BROKEN)
        elif opcode < CLOSE:
            self._part(opcode, payload, final=first >= FIN)
        elif first < FIN or len(payload) > CONTROL_BYTES:
            self._fail(closes.BROKEN)
        elif opcode == PING:
            self._write_control(PONG, payload)
        elif opcode == PONG:
            self._pong(payload)
        else:
            self._close_came(payload)

    def _part(self, opcode: int, payload: bytes, *, final: bool) -> None:
        """A fragment, or a whole binary frame."""
        if (opcode == CONTINUATION) == (self._parts_opcode is None):  # RFC 6455 5.4
            self._fail(closes.BROKEN)
            return
        if opcode != CONTINUATION:
            self._parts_opcode = opcode
        self.parts.append(payload)
        self._parts_bytes += len(payload)
        if final:
            parts, is_text = self.parts, self._parts_opcode == TEXT
            self.parts, self._parts_bytes, self._parts_opcode = [], 0, None
            self._take(b"".join(parts), is_text)
        elif len(self.parts) > FRAGMENTS:
            self.refuse(closes.FRAGMENTED)

    def _take(self, frame: bytes, is_text: bool) -> None:
        if self.state is not OPEN:
            return
        if self.receiver is not None:
            try:
                self.receiver.on_frame(frame, is_text=is_text)
            except Exception:
                log.exception("a message was not handled", extra={"connection": self.id})
                self.refuse(closes.INTERNAL)
        elif len(self.early) < EARLY_FRAMES:
            self.early.append((frame, is_text))
        else:
            self.refuse(closes.OVERLOADED)

    # What goes

    def send_frame(self, payload: bytes) -> None:
        """Send one text message; a peer that does not read is closed at the buffer's limit."""
        transport = self.transport
        if self.state is not OPEN or transport.is_closing():
            metrics.DROPPED.labels("away").inc()
            return
        length = len(payload)
        # RFC 6455 5.2: FIN and opcode 1; no mask from a server; 7, 16 or 64 bits of length.
        if length < 126:
            head = bytes((0x81, length))
        elif length < 65536:
            head = _HEAD_16(0x81, 126, length)
        else:
            head = _HEAD_64(0x81, 127, length)
        transport.write(head + payload)

    def pause_writing(self) -> None:
        """The transport's buffer is over `send_buffer_bytes`: this peer does not read."""
        if self.receiver is None:
            return
        metrics.SLOW_CONSUMERS.inc()
        metrics.DROPPED.labels("buffer").inc()
        self.refuse(
            closes.OVERLOADED
        )  # behind what it has not read: it has CLOSE_LIMIT_S to come to it
        self._over()

    # Pings

    def _ping_later(self) -> None:
        if self._config.ws_ping_interval:
            self._timer = self._loop.call_later(
                self._config.ws_ping_interval, self._say_ping, self._config.ws_ping_interval
            )

    def _say_ping(self, patience_s: float) -> None:
        self._ping = secrets.token_bytes(4)
        self._write_control(PING, self._ping)
        self._timer = self._loop.call_later(patience_s, self._no_pong)

    def _pong(self, payload: bytes) -> None:
        """RFC 6455 5.5.3: one that answers no ping of ours means nothing."""
        if payload == self._ping and self._timer is not None:
            self._ping = None
            self._timer.cancel()
            self._ping_later()

    def _no_pong(self) -> None:
        """The peer will not take part in an orderly end either (TLS waits 30 s for it)."""
        self._write_close(closes.SILENT)
        self.state = State.OVER
        self.transport.abort()

    # The end

    def refuse(self, close: Close) -> None:
        """Send a close frame and wait a limited time for the peer's."""
        if self.state is not OPEN or self.transport.is_closing():
            return
        self.state = State.CLOSING
        self._write_close(close)
        self._stop_timer()
        self._timer = self._loop.call_later(CLOSE_LIMIT_S, self.transport.abort)

    def _fail(self, close: Close) -> None:
        """The peer broke the protocol. It is read on to its end: closed at once, TCP would reset our close frame."""
        if self.state is State.CLOSING:  # what looks like its close frame
            self._end()
            return
        self.refuse(close)
        self._over()

    def _close_came(self, payload: bytes) -> None:
        """The peer's close frame: answered with the same unless ours went first (RFC 6455 5.5.1)."""
        if self.state is OPEN:
            try:
                code = CloseFrame.parse(payload).code
            except (ProtocolError, UnicodeDecodeError) as error:
                broken = isinstance(error, ProtocolError)
                self._fail(closes.BROKEN if broken else closes.NOT_UTF8)
                return
            if self._parts_opcode is not None:
                self._fail(closes.BROKEN)
                return
            self._close_code = int(code)
            self._write_control(CLOSE, payload)
        self._end()

    def shutdown(self) -> None:
        """The server stops, after its drain."""
        if self.state is ASKING:
            self._answer(FAULT)
            return
        if self.state is OPEN:
            self._write_close(GOING_AWAY)
        self._end()

    def _end(self) -> None:
        """The peer is gone from here on; its socket is, too, when it has read what waits, or after a limited time."""
        self.state = State.OVER
        self._stop_timer()
        self._timer = self._loop.call_later(CLOSE_LIMIT_S, self.transport.abort)
        self.transport.close()
        self._over()

    def _write_close(self, close: Close) -> None:
        self._close_code = close.code
        self._write_control(CLOSE, close.code.to_bytes(2, "big") + close.reason.encode())

    def _write_control(self, opcode: int, payload: bytes) -> None:
        self.transport.write(bytes((FIN | opcode, len(payload))) + payload)

    def connection_lost(self, exc: Exception | None) -> None:
        """The end, however it came."""
        self.state = State.OVER
        self._stop_timer()
        self._server.connections.discard(self)
        metrics.SOCKETS.dec()
        metrics.count_close(self._close_code)
        self._over()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _over(self) -> None:
        """Nothing more comes from this peer."""
        self.receiver = None
        if not self.closed.done():
            self.closed.set_result(None)
