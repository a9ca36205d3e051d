"""Why the screen of an X server cannot be captured, in words."""

from __future__ import annotations

from Xlib import X, display
from Xlib.ext import randr


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
