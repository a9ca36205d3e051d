"""The WebSocket edge: uvicorn's sans-IO WebSocket protocol with data frames handed over past ASGI.

uvicorn keeps the handshake, the closing handshake and the keepalive, Starlette keeps the routing. A data
frame goes straight from here to the session, and a send is one frame header and one write: that saves the
coroutine steps and the queue that cost most of a message. Whole text frames are unmasked here; every other frame
(control, fragment, binary, wrong) goes to `websockets` as it came, always whole. Names of uvicorn and
`websockets` that are not public are listed in OVERRIDDEN and ATTRIBUTES and held by a contract test.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import struct
from typing import Any, Final, Protocol, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Close as CloseFrame
from websockets.frames import Opcode
from websockets.http11 import Request
from websockets.protocol import OPEN

try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform without the wheel's C extension
    from websockets.utils import apply_mask

from cluster import metrics
from cluster.limits import Allowance, MessageLimit
from cluster.protocol.closes import FRAGMENTED, INTERNAL, OVERLOADED, RATE_LIMITED, Close

log = logging.getLogger(__name__)

EXTENSION: Final = "tightbeam.connection"
_HEAD_16: Final = struct.Struct("!BBH").pack
_HEAD_64: Final = struct.Struct("!BBQ").pack
CLOSE_LIMIT_S: Final = 2.0
EARLY_FRAMES: Final = 8
BAD_REQUEST: Final = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
WHOLE_TEXT: Final = 0x81  # RFC 6455 5.2: FIN and opcode 1
OPCODE: Final = 0x0F
MASKED: Final = 0x80
FRAGMENTS: Final = 1024
"""Of one message: 256 KiB in frames of 256 bytes."""
FRAMES_PER_10S: Final = 2000
"""That are no whole text message. Keepalives of both sides take six, a few large messages in fragments some dozens."""
OVERRIDDEN: Final = (
    "handle_connect",
    "data_received",
    "handle_parser_exception",
    "run_asgi",
    "send_receive_event_to_app",
    "pause_writing",
    "keepalive_timeout",
    "connection_lost",
)
ATTRIBUTES: Final = (
    "app",
    "close_sent",
    "close_timer",
    "config.ws_max_size",
    "conn.close_rcvd",
    "conn.close_rcvd_then_sent",
    "conn.close_sent",
    "conn.data_to_send",
    "conn.handshake_exc",
    "conn.max_message_size",
    "conn.send_close",
    "conn.state",
    "curr_msg_data_type",
    "frames",
    "handshake_complete",
    "handshake_initiated",
    "loop",
    "queue",
    "receive",
    "request.headers",
    "response.headers",
    "scope",
    "send",
    "send_500_response",
    "stop_keepalive",
    "transport",
    "writable",
)


class Receiver(Protocol):
    """Who takes a connection's frames: a session. All calls come on the event loop, in order, until `closed`."""

    def on_frame(self, frame: bytes, *, is_text: bool) -> None:
        """One whole message."""


class Unheard:
    """In the place of uvicorn's queue to the application, and of the event it waits on, once that has returned."""

    def put_nowait(self, _message: object) -> None:
        """Part of asyncio.Queue."""

    def set(self) -> None:
        """Part of asyncio.Event."""

    def clear(self) -> None:
        """Part of asyncio.Event."""


UNHEARD: Final[Any] = Unheard()


class Connection(WebSocketsSansIOProtocol):
    """One WebSocket of this node."""

    send_buffer_bytes = 1 << 20
    receiver: Receiver | None = None
    attached = False
    limit: Allowance  # the door gives it

    def handle_connect(self, event: Request) -> None:
        """Start the application as uvicorn does, and tell it who we are."""
        self.id = secrets.token_hex(4)
        self.closed: asyncio.Future[None] = self.loop.create_future()
        self.early: list[tuple[bytes, bool]] = []
        self.rest = bytearray()  # at most one message and its head
        self.others = MessageLimit(FRAMES_PER_10S)
        self.counted = True
        metrics.SOCKETS.inc()
        super().handle_connect(event)
        self.take_up_to(self.config.ws_max_size)
        if hasattr(self, "scope"):
            extensions: dict[str, Any] = self.scope["extensions"]
            extensions[EXTENSION] = self

    def take_up_to(self, size_bytes: int) -> None:
        """The largest message from now on, in one frame or in fragments."""
        self.message_bytes = self.conn.max_message_size = size_bytes

    async def run_asgi(self) -> None:
        """The application lets the peer in or turns it away. With a receiver the connection goes on without it.

        So an idle connection keeps neither a task nor the request, which would be two thirds of its memory.
        """
        try:
            await self.app(self.scope, self.receive, self.send)
        except Exception:
            log.exception("a WebSocket could not be let in", extra={"connection": self.id})
        else:
            if self.attached:
                return
        self.send_500_response()  # uvicorn does nothing after the 101
        if self.close_timer is None:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Cut the stream into frames; the first call brings the request, from uvicorn's HTTP side."""
        if not self.handshake_complete:
            self._before_open(data)
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

    def _before_open(self, data: bytes) -> None:
        if self.handshake_initiated:
            self.transport.abort()  # RFC 6455 4.1: a client must wait for the answer before it says more
            return
        super().data_received(data)
        if self.conn.handshake_exc is not None:  # uvicorn does not look
            answer = b"".join(self.conn.data_to_send())
            self.transport.write(answer or BAD_REQUEST)
            self.transport.close()

    def _frames(self, data: bytes | bytearray) -> int:
        """Take whole frames from the start; how many bytes these were."""
        at, size = 0, len(data)
        while size - at >= 2:
            first, second = data[at], data[at + 1]
            length = second & 127
            head = 6 if length < 126 else 8 if length == 126 else 14
            if size - at < head:
                break
            if length == 126:
                length = data[at + 2] << 8 | data[at + 3]
            elif length == 127:
                length = int.from_bytes(data[at + 2 : at + 10], "big")
            body, end = at + head, at + head + length
            if second < MASKED or length > self.message_bytes:
                if not self.close_sent:
                    super().data_received(bytes(data[at:]))  # fails it: RFC 6455 5.1, 7.4.1
                return size
            if end > size:
                break
            if first == WHOLE_TEXT and not self.frames:
                self._take(apply_mask(data[body:end], data[body - 4 : body]), True)
            else:
                self._other(bytes(data[at:end]))
            at = end
        return at

    def _other(self, frame: bytes) -> None:
        """A control frame, a fragment or a binary frame: no message to the session's limit, so counted here."""
        if self.close_sent and frame[0] & OPCODE != Opcode.CLOSE:
            return
        if self.others.take(self.loop.time()) is not None:
            metrics.RATE_LIMITED.labels("frames").inc()
            self.refuse(RATE_LIMITED)
            return
        super().data_received(frame)
        if len(self.frames) > FRAGMENTS:
            self.refuse(FRAGMENTED)

    def handle_parser_exception(self) -> None:
        """The peer broke the protocol. It is read on to its end: closed at once, TCP would reset our close frame."""
        if self.close_sent:  # what looks like its close frame
            self.transport.close()
            return
        self._closing()
        self._over()

    def send_receive_event_to_app(self) -> None:
        """A message that `websockets` put together is complete."""
        frame = self.frames[0] if len(self.frames) == 1 else b"".join(self.frames)
        self.frames = []
        self._take(frame, self.curr_msg_data_type == "text")

    def _take(self, frame: bytes, is_text: bool) -> None:
        if self.close_sent or self.conn.state is not OPEN:
            return
        if self.receiver is not None:
            try:
                self.receiver.on_frame(frame, is_text=is_text)
            except Exception:
                log.exception("a message was not handled", extra={"connection": self.id})
                self.refuse(INTERNAL)
        elif len(self.early) < EARLY_FRAMES:
            self.early.append((frame, is_text))
        else:
            self.refuse(OVERLOADED)

    def attach(self, receiver: Receiver) -> None:
        """From now on frames go to this session; those that came before go first. The application may return."""
        self.receiver = receiver
        self.attached = True
        self._forget_request()
        if not self.transport.is_closing():  # uvloop raises when it is closed
            self.transport.set_write_buffer_limits(high=self.send_buffer_bytes)
        early, self.early = self.early, []
        for frame, is_text in early:
            self._take(frame, is_text)

    def _forget_request(self) -> None:
        self.queue = self.writable = UNHEARD
        self.scope = cast(Any, {})
        self.request.headers.clear()
        self.response.headers.clear()

    def send_frame(self, payload: bytes) -> None:
        """Send one text message; a peer that does not read is closed at the buffer's limit."""
        transport = self.transport
        if self.close_sent or not self.handshake_complete or transport.is_closing():
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
        super().pause_writing()
        if self.receiver is None:
            return
        metrics.SLOW_CONSUMERS.inc()
        metrics.DROPPED.labels("buffer").inc()
        self.refuse(OVERLOADED)  # behind what it has not read: it has CLOSE_LIMIT_S to come to it
        self._over()

    def refuse(self, close: Close) -> None:
        """Send a close frame and wait a limited time for the peer's."""
        if self.close_sent or self.conn.state is not OPEN or self.transport.is_closing():
            return
        self.conn.send_close(close.code, close.reason)
        self._closing()

    def _closing(self) -> None:
        self.stop_keepalive()
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.close_timer = self.loop.call_later(CLOSE_LIMIT_S, self.transport.abort)

    def keepalive_timeout(self) -> None:
        """No pong came: the peer will not take part in an orderly end either (TLS waits 30 s for it)."""
        super().keepalive_timeout()
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The end, however it came."""
        super().connection_lost(exc)
        if not getattr(self, "counted", False):
            return
        self.counted = False
        metrics.SOCKETS.dec()
        metrics.count_close(self._close_code())
        self._over()

    def _over(self) -> None:
        """Nothing more comes from this peer."""
        self.receiver = None
        if not self.closed.done():
            self.closed.set_result(None)

    def _close_code(self) -> int:
        frames: tuple[CloseFrame | None, ...] = (self.conn.close_rcvd, self.conn.close_sent)
        if self.conn.close_rcvd_then_sent is False:
            frames = frames[::-1]
        return next((int(frame.code) for frame in frames if frame is not None), 1006)
