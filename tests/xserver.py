"""A private X server for tests: a real Xvfb on a display number of its own choosing."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from Xlib import X, display
from Xlib.ext import randr, xtest

from agent.capture.base import Box


class XServer:
    """One Xvfb; `name` is what DISPLAY must be."""

    def __init__(self, size: str = "640x480", depth: int = 24, extra: tuple[str, ...] = ()) -> None:
        read_fd, write_fd = os.pipe()
        command = ["Xvfb", "-displayfd", str(write_fd), "-screen", "0", f"{size}x{depth}"]
        self.process = subprocess.Popen(
            [*command, "-noreset", "-nolisten", "tcp", *extra],
            pass_fds=[write_fd],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(write_fd)
        with os.fdopen(read_fd) as answer:
            number = answer.readline().strip()
        if not number:
            self.process.wait(timeout=10)
            raise RuntimeError("Xvfb did not start")
        self.name = f":{number}"
        self._connection: display.Display | None = None

    @property
    def connection(self) -> display.Display:
        """A client of this server, opened at the first use."""
        if self._connection is None:
            self._connection = display.Display(self.name)
        return self._connection

    def paint(self, x: int, y: int, width: int, height: int, rgb: int) -> None:
        """Fill a rectangle of the root window; done when this returns."""
        root = self.connection.screen().root
        context = root.create_gc(foreground=rgb)
        root.fill_rectangle(context, x, y, width, height)
        context.free()
        self.connection.sync()

    def move_pointer(self, x: int, y: int) -> None:
        """Move the pointer as a mouse would; done when this returns."""
        xtest.fake_input(self.connection, X.MotionNotify, x=x, y=y)
        self.connection.sync()

    def resize(self, width: int, height: int) -> None:
        """Change the screen to a smaller size; done when this returns."""
        root = self.connection.screen().root
        resources = randr.get_screen_resources(root)
        name = f"{width}x{height}"
        timings = (0, width, height, 1_000_000, width, width, width, 0, height, height, height)
        mode = randr.create_mode(root, (*timings, len(name), 0), name).mode
        output, crtc = resources.outputs[0], resources.crtcs[0]
        randr.add_output_mode(
            self.connection.create_resource_object("window", output), output, mode
        )
        configured_at = randr.get_screen_resources(root).config_timestamp
        randr.set_crtc_config(
            self.connection, crtc, configured_at, 0, 0, mode, randr.Rotate_0, [output]
        )
        randr.set_screen_size(root, width, height, width, height)
        self.connection.sync()

    def set_monitor(self, name: str, area: Box, *, output: bool = False) -> None:
        """Make or change a monitor; with the server's only output the monitor that is there by itself is gone."""
        size = f"{area.width}/{area.width // 4}x{area.height}/{area.height // 4}"
        place = f"{size}{area.left:+}{area.top:+}"
        self._xrandr("--setmonitor", name, place, "screen" if output else "none")

    def remove_monitor(self, name: str) -> None:
        """Take a monitor away; done when this returns."""
        self._xrandr("--delmonitor", name)

    def _xrandr(self, *arguments: str) -> None:
        command = ["xrandr", "-d", self.name, *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=20)

    def kill(self) -> None:
        """End the server as a crash would."""
        self._disconnect()
        self.process.kill()
        self.process.wait(timeout=10)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def stop(self) -> None:
        """End the server; idempotent."""
        self._disconnect()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.kill()


@contextmanager
def x_server(
    size: str = "640x480", depth: int = 24, extra: tuple[str, ...] = ()
) -> Iterator[XServer]:
    """A running X server for the length of a `with` block."""
    server = XServer(size, depth, extra)
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def two_monitors(size: str, left: Box, right: Box) -> Iterator[XServer]:
    """The same with the monitors `left` and `right`."""
    with x_server(size) as server:
        server.set_monitor("left", left, output=True)
        server.set_monitor("right", right)
        yield server


@contextmanager
def x_display(size: str = "640x480") -> Iterator[str]:
    """The same, with DISPLAY set to it for this process and its children."""
    before = os.environ.get("DISPLAY")
    with x_server(size) as server:
        os.environ["DISPLAY"] = server.name
        try:
            yield server.name
        finally:
            if before is None:
                del os.environ["DISPLAY"]
            else:
                os.environ["DISPLAY"] = before


def keys_down(connection: display.Display) -> set[int]:
    """The X keycodes that the server holds for down."""
    bits = connection.query_keymap()
    return {8 * byte + bit for byte in range(32) for bit in range(8) if bits[byte] >> bit & 1}
