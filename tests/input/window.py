"""A window over a whole X screen that tells what input reaches it."""

import time
from collections.abc import Callable
from typing import Any

from Xlib import X
from Xlib import display as xdisplay

from tests.xserver import keys_down

LIMIT_S = 10.0


class Window:
    """A window over the whole screen that writes down every key, button and motion event."""

    def __init__(self, name: str) -> None:
        self.seen: list[tuple[str, int]] = []
        self.display: Any = xdisplay.Display(name)
        screen = self.display.screen()
        self.root: Any = screen.root
        self.window: Any = screen.root.create_window(
            0, 0, screen.width_in_pixels, screen.height_in_pixels, 0, X.CopyFromParent,
            override_redirect=True,
            event_mask=X.KeyPressMask | X.KeyReleaseMask | X.ButtonPressMask
            | X.ButtonReleaseMask | X.PointerMotionMask | X.ExposureMask,
        )  # fmt: skip
        self.window.map()
        self.until(lambda: any(kind == "expose" for kind, _ in self.seen))
        self.window.set_input_focus(X.RevertToParent, X.CurrentTime)
        self.display.sync()
        self.seen.clear()

    def pump(self) -> None:
        names = {
            X.KeyPress: "key down", X.KeyRelease: "key up", X.Expose: "expose",
            X.ButtonPress: "button down", X.ButtonRelease: "button up",
        }  # fmt: skip
        while self.display.pending_events():
            event = self.display.next_event()
            if event.type in names:
                self.seen.append((names[event.type], getattr(event, "detail", 0)))

    def until(self, true: Callable[[], bool], limit_s: float = LIMIT_S) -> None:
        """Read events until the condition holds."""
        end = time.monotonic() + limit_s
        while True:
            self.pump()
            if true():
                return
            assert time.monotonic() < end, f"not within {limit_s} s; seen {self.seen}"
            time.sleep(0.005)

    def pointer(self) -> tuple[int, int]:
        place = self.root.query_pointer()
        return place.root_x, place.root_y

    def keys_down(self) -> set[int]:
        """The X keycodes that the server holds for down."""
        return keys_down(self.display)

    def buttons_down(self) -> int:
        """The button bits of the pointer's state."""
        return int(self.root.query_pointer().mask) & 0x1F00

    def close(self) -> None:
        self.display.close()
