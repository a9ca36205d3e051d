"""A connection to the X server with a thread's loop around it: what both X11 parts of this room stand on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from Xlib.error import XError

from agent.input.base import InputUnavailable
from agent.input.xtest import open_display, told_when_gone
from agent.presence.base import PresenceUnavailable
from agent.wake_pipe import WakePipe


def why_not(extension: str) -> str | None:
    """Why the display of $DISPLAY cannot be used for what needs this extension, in words, or None."""
    try:
        XLoop(extension).close()
    except PresenceUnavailable as error:
        return str(error)
    return None


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
        self._waker = WakePipe()
        self._closed = False
        self._serving = False
        self._lock = threading.Lock()

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Around what is asked before `serve`: where that fails, all is given back. Raises PresenceUnavailable."""
        try:
            with told_when_gone():
                yield
        except InputUnavailable as error:
            self._end()
            raise PresenceUnavailable(str(error)) from error
        except XError as error:
            self._end()
            raise PresenceUnavailable(f"the X server refuses what this needs ({error})") from error

    def serve(self, on_event: Callable[[Any], None], on_wake: Callable[[], None]) -> None:
        """Hand events over until `close`; `on_wake` after each `wake`. Raises PresenceUnavailable."""
        with self._lock:
            self._serving = True
        try:
            with told_when_gone():
                while not self._closed:
                    on_wake()
                    while self.display.pending_events():
                        on_event(self.display.next_event())
                    self.display.flush()
                    self._waker.wait(self.display, None)
        except InputUnavailable as error:
            raise PresenceUnavailable(str(error)) from error
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
        if not self._waker.close():
            return
        try:
            with told_when_gone():
                self.display.close()
        except InputUnavailable:
            return  # it is gone already
