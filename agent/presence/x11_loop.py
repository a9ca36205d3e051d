"""A connection to the X server with a thread's loop around it: what both X11 parts of this room stand on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from Xlib.error import XError

from agent.presence.base import PresenceUnavailable
from agent.probe import why_not
from agent.wake_pipe import WakePipe
from agent.x11 import close, connect, told_when_gone


def probe(extension: str) -> str | None:
    """Why the display of $DISPLAY cannot be used for what needs this extension, in words, or None."""
    return why_not(partial(XLoop, extension), PresenceUnavailable)


class XLoop:
    """Opens the display of $DISPLAY. Raises PresenceUnavailable in words."""

    def __init__(self, extension: str) -> None:
        self.display: Any = connect(PresenceUnavailable, extension=extension)
        self._waker = WakePipe()
        self._closed = False
        self._serving = False
        self._lock = threading.Lock()

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Around what is asked before `serve`: where that fails, all is given back. Raises PresenceUnavailable."""
        try:
            with told_when_gone(PresenceUnavailable):
                yield
        except PresenceUnavailable:
            self._end()
            raise
        except XError as error:
            self._end()
            raise PresenceUnavailable(f"the X server refuses what this needs ({error})") from error

    def serve(self, on_event: Callable[[Any], None], on_wake: Callable[[], None]) -> None:
        """Hand events over until `close`; `on_wake` after each `wake`. Raises PresenceUnavailable."""
        with self._lock:
            self._serving = True
        try:
            with told_when_gone(PresenceUnavailable):
                while not self._closed:
                    on_wake()
                    while self.display.pending_events():
                        on_event(self.display.next_event())
                    self.display.flush()
                    self._waker.wait(self.display, None)
        finally:
            self._end()

    def wake(self) -> None:
        """From any thread."""
        self._waker.wake()

    def close(self) -> None:
        """Let `serve` return, which gives everything back; before it, do that here. From any thread."""
        with self._lock:
            self._closed = True
            serving = self._serving
        if serving:
            self.wake()
        else:
            self._end()

    def _end(self) -> None:
        self._closed = True
        if self._waker.close():
            close(self.display)
