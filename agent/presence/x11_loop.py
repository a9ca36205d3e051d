"""A connection to the X server with a thread's loop around it: what both X11 parts of this room stand on."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from typing import Any

from agent.input.base import InputUnavailable
from agent.input.xtest import open_display, told_when_gone
from agent.presence.base import PresenceUnavailable


class XLoop:
    """Opens the display of $DISPLAY. Raises PresenceUnavailable in words."""

    def __init__(self, extension: str) -> None:
        try:
            self.display: Any = open_display()
            with told_when_gone():
                known = self.display.has_extension(extension)
        except InputUnavailable as error:
            raise PresenceUnavailable(str(error)) from error
        if not known:
            self.display.close()
            raise PresenceUnavailable(f"the X server has no extension {extension}")
        self._read, self._write = os.pipe()
        self._closed = False
        self._ended = False
        self._lock = threading.Lock()

    def serve(self, on_event: Callable[[Any], None], on_wake: Callable[[], None]) -> None:
        """Hand events over until `close`; `on_wake` after each `wake`. Raises PresenceUnavailable."""
        try:
            with told_when_gone():
                while not self._closed:
                    on_wake()
                    while self.display.pending_events():
                        on_event(self.display.next_event())
                    self.display.flush()
                    readable, _, _ = select.select([self.display, self._read], [], [])
                    if self._read in readable:
                        os.read(self._read, 4096)
        except InputUnavailable as error:
            raise PresenceUnavailable(str(error)) from error
        finally:
            self._end()

    def wake(self) -> None:
        """From any thread."""
        with self._lock:
            if not self._ended:
                os.write(self._write, b"\0")

    def close(self) -> None:
        """Let `serve` return; it gives everything back. From any thread."""
        if not self._closed:
            self._closed = True
            self.wake()

    def _end(self) -> None:
        self._closed = True
        with self._lock:
            if self._ended:
                return
            self._ended = True
            os.close(self._read)
            os.close(self._write)
        try:
            with told_when_gone():
                self.display.close()
        except InputUnavailable:
            return  # it is gone already
