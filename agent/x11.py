"""Connections to an X server: each of the agent's is opened here, and here it is said why one is not, or no more.

Whoever opens one (capture, cursor, clipboard, input, presence) has it for itself, on one thread, and gives the
exception of its family.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from typing import Any, Final

from Xlib import display, error
from Xlib.protocol import event

logger = logging.getLogger(__name__)

GONE: Final = (error.ConnectionClosedError, OSError)
"""What a call raises once the server is not there any more; python-xlib has closed its socket then."""
_REFUSALS: Final = (error.DisplayError, error.XauthError, error.XNoAuthError, OverflowError, *GONE)
"""How opening fails in python-xlib 0.33; OverflowError when the display's number makes no port."""

_FIRST_EXTENSION_ERROR: Final = 128
"""X Window System Protocol, "Errors"."""


class _OwnTables(display._BaseDisplay):  # type: ignore[misc]
    """A connection whose extension codes are its own.

    python-xlib 0.33 keeps the codes of every server that a process ever spoke to in tables of the
    class, and a server with other extensions than the last one then breaks the next connection.
    """

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        self.extension_major_opcodes: dict[str, int] = {}
        self.error_classes = dict(error.xerror_class)
        self.event_classes = dict(event.event_class)
        super().__init__(*arguments, **keywords)

    def add_extension_error(self, code: int, kind: type[Exception]) -> None:
        """Differs: python-xlib enters RANDR's and DAMAGE's at 0, 1 and 2, over BadValue; theirs begin at 128."""
        if code >= _FIRST_EXTENSION_ERROR:
            super().add_extension_error(code, kind)


display._BaseDisplay = _OwnTables


def connect(
    unavailable: type[Exception], name: str | None = None, *, extension: str | None = None
) -> display.Display:
    """A connection to this X display, or to $DISPLAY, with this extension. Raises `unavailable` in words.

    Blocks for as long as a server that stands still does.
    """
    shown = name or os.environ.get("DISPLAY", "")
    if not shown:
        if os.environ.get("WAYLAND_DISPLAY") or os.environ.get("XDG_SESSION_TYPE") == "wayland":
            raise unavailable(
                "this is a Wayland session and $DISPLAY is not set: Wayland screens cannot be"
                " shared yet; log in to an X11 session, or share a virtual X display (Xvfb)"
            )
        raise unavailable(
            "$DISPLAY is not set: start the agent inside an X session, or an X server, and set DISPLAY"
        )
    try:
        server = display.Display(shown)
    except _REFUSALS as problem:
        raise unavailable(
            f"cannot open the X display {shown!r} ({problem}): is the server running, and may this"
            " user connect (XAUTHORITY, xhost)?"
        ) from problem
    server.set_error_handler(_note_late_error)
    with told_when_gone(unavailable):
        lacks = extension is not None and not server.has_extension(extension)
    if lacks:
        close(server)
        raise unavailable(
            f"the X server {shown} has no extension {extension}: start it with +extension {extension}"
        )
    return server


@contextlib.contextmanager
def connected(unavailable: type[Exception]) -> Iterator[display.Display]:
    """A connection to $DISPLAY for the length of a block. Raises `unavailable` in words."""
    server = connect(unavailable)
    try:
        with told_when_gone(unavailable):
            yield server
    finally:
        close(server)


@contextlib.contextmanager
def told_when_gone(unavailable: type[Exception]) -> Iterator[None]:
    """Turn the end of the connection into `unavailable`, in words."""
    try:
        yield
    except GONE as problem:
        raise unavailable(words(problem)) from problem


def words(problem: Exception) -> str:
    """What to tell of one of GONE."""
    return f"the X server went away ({problem}): is it still running?"


def close(server: display.Display) -> None:
    """Give a connection back, also one whose server is gone."""
    with contextlib.suppress(*GONE):
        server.close()


def _note_late_error(problem: error.XError, request: Any) -> None:
    """Of a request without a reply: what it was for has gone meanwhile; where it matters, `sync` asks."""
    # Not all of it: the value that is refused may be a key.
    logger.debug("an X server refused a request: %s", type(problem).__name__)
