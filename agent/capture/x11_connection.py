"""Connecting to an X server, and saying in words why its screen cannot be captured."""

from __future__ import annotations

import os
from typing import Any

from Xlib import X, display, error
from Xlib.ext import randr
from Xlib.protocol import event

from agent.capture.base import CaptureUnavailable

CONNECTION_ERRORS = (error.ConnectionClosedError, OSError)


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


display._BaseDisplay = _OwnTables


def connect(name: str | None) -> display.Display:
    """Connect to an X server, or raise CaptureUnavailable in words."""
    shown = name or os.environ.get("DISPLAY", "")
    if not shown:
        if os.environ.get("WAYLAND_DISPLAY") or os.environ.get("XDG_SESSION_TYPE") == "wayland":
            raise CaptureUnavailable(
                "this is a Wayland session and $DISPLAY is not set: Wayland screens cannot be"
                " captured yet; log in to an X11 session, or share a virtual X display (Xvfb)"
            )
        raise CaptureUnavailable("$DISPLAY is not set: start an X server or set DISPLAY")
    try:
        return display.Display(name)
    except (error.DisplayError, error.XauthError, error.XNoAuthError, OverflowError) as problem:
        raise CaptureUnavailable(
            f"cannot open the X display {shown!r} ({problem}): is the server running, and may this"
            " user connect (XAUTHORITY, xhost)?"
        ) from problem
    except CONNECTION_ERRORS as problem:
        raise CaptureUnavailable(f"the X display {shown!r} closed the connection") from problem


def unsuitable(server: display.Display) -> str | None:
    """Why this server's screen cannot be captured, in words, or None."""
    screen = server.screen()
    info = server.display.info
    bits = [entry.bits_per_pixel for entry in info.pixmap_formats if entry.depth == 24]
    if screen.root_depth != 24 or bits != [32] or info.image_byte_order != X.LSBFirst:
        return (
            f"the X screen has depth {screen.root_depth}: only depth 24 with 32 bits per pixel,"
            " little-endian, can be captured (Xvfb: -screen 0 1280x720x24)"
        )
    if not server.has_extension("DAMAGE"):
        return "the X server lacks the DAMAGE extension, which says when the picture changes"
    if is_xwayland(server):
        return (
            "$DISPLAY is Xwayland, whose root window is black: windows of a Wayland session cannot"
            " be captured yet; log in to an X11 session, or share a virtual X display (Xvfb)"
        )
    return None


def is_xwayland(server: display.Display) -> bool:
    """Whether the server is Xwayland: by its extension (21.1 and later), else by output names."""
    if server.query_extension("XWAYLAND") is not None:
        return True
    if not server.has_extension("RANDR"):
        return False
    resources = randr.get_screen_resources(server.screen().root)
    outputs = [
        randr.get_output_info(server.screen().root, output, resources.config_timestamp).name
        for output in resources.outputs[:1]
    ]
    return any(str(name).startswith("XWAYLAND") for name in outputs)
