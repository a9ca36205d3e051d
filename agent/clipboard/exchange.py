"""One player's share in the host's clipboard, by the `clipboard` channel (docs/protocol.md 6.7).

Flow: agent/session.py hands over what the page says, agent/clipboard/stage.py does it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Final

from agent.clipboard.stage import ClipboardStage
from agent.clipboard.wire import (
    TO_CLIENT,
    TO_HOST,
    WAYS,
    ClipboardReader,
    Text,
    Want,
    encode_offer,
    encode_policy,
    encode_taken,
    encode_text,
)

TRY_AGAIN_S: Final = 0.02
"""When the channel was full: 64 KiB wait in it at most (agent/transport/channels.py)."""
MAX_ANSWERS: Final = 16
"""Short ones that wait for the channel; the oldest is given up."""


class ClipboardExchange:
    """Lives on the event loop. To whom is no player no way is open, and what goes another way is not done."""

    def __init__(
        self, name: str, stage: ClipboardStage, send: Callable[[bytes], bool], *, player: bool
    ) -> None:
        self.refused = 0
        """Messages that asked for a way that is not open."""
        self._name = name
        self._stage = stage
        self._send = send
        self._ways = WAYS[stage.policy] if player else 0
        self._loop = asyncio.get_running_loop()
        self._reader = ClipboardReader()
        self._answers: deque[bytes] = deque(maxlen=MAX_ANSWERS)
        self._text: deque[bytes] = deque()
        """What is left of the newest text for the page."""
        self._open = False
        self._retry: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """The page's channel is open."""
        if self._open:
            return
        self._open = True
        self._say(encode_policy(self._ways))
        if self._ways:
            self._stage.watch(self._name, self._changed)

    def on_message(self, payload: bytes) -> None:
        """A message of the page; raises ClipboardError when it is none."""
        match self._reader.hear(payload):
            case Want(number):
                if self._ways & TO_CLIENT:
                    self._stage.read(lambda text: self._soon(self._read, number, text))
                else:
                    self.refused += 1
                    self._read(number, None)
            case Text(number, text):
                if self._ways & TO_HOST:
                    self._stage.write(text, lambda done: self._soon(self._written, number, done))
                else:
                    self.refused += 1
                    self._written(number, None)

    def close(self) -> None:
        """Say nothing more. Idempotent."""
        self._open = False
        self._stage.leave(self._name)
        if self._retry is not None:
            self._retry.cancel()

    def _soon(self, call: Callable[..., None], *arguments: object) -> None:
        """From the stage's thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            self._loop.call_soon_threadsafe(call, *arguments)

    def _changed(self, text: bool) -> None:
        if self._ways & TO_CLIENT:
            self._soon(self._say, encode_offer(text=text))

    def _written(self, number: int, done: str | None) -> None:
        self._say(encode_taken(number, taken=done is not None))

    def _read(self, number: int, text: str | None) -> None:
        if self._open:
            self._text = deque(encode_text(number, text))
            self._pump()

    def _say(self, message: bytes) -> None:
        self._answers.append(message)
        self._pump()

    def _pump(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        while self._open and (waiting := self._answers or self._text):
            if not self._send(waiting[0]):
                self._retry = self._loop.call_later(TRY_AGAIN_S, self._pump)
                return
            waiting.popleft()
