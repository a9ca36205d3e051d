"""The indicator on X11: a small window at the top of the screen, which no window manager and no click gets at."""

from __future__ import annotations

import contextlib
import time
from typing import Any, ClassVar, Final

from Xlib import X
from Xlib.error import XError
from Xlib.ext import randr, shape

from agent.presence.x11_loop import XLoop, probe

EXTENSION: Final = "SHAPE"
BACKGROUND, FOREGROUND, DOT = 0x202124, 0xFFFFFF, 0xE53935
FONTS: Final = ("-misc-fixed-medium-r-normal--18-*-*-*-*-*-iso8859-1", "9x15", "fixed")
"""The server has the last one always."""
PADDING_PX, DOT_PX = 6, 10
RAISE_EVERY_S: Final = 1.0
"""Two windows that both want to be on top must not fight faster than this."""


class X11Indicator:
    """See Indicator."""

    name: ClassVar[str] = "x11"

    def __init__(self) -> None:
        self._loop = XLoop(EXTENSION)
        self._text = ""
        self._shown = ""
        self._raised = 0.0
        display = self._loop.display
        with self._loop.asking():
            self._root: Any = display.screen().root
            self._root.change_attributes(event_mask=X.StructureNotifyMask)
            self._window: Any = self._root.create_window(
                0, 0, 1, 1, 0, X.CopyFromParent, override_redirect=True, background_pixel=BACKGROUND,
                event_mask=X.ExposureMask | X.VisibilityChangeMask,
            )  # fmt: skip
            self._window.set_wm_name("Tightbeam")
            # Clicks go through to what is below: it has no place for them.
            self._window.shape_rectangles(shape.SO.Set, shape.SK.Input, X.YXBanded, 0, 0, [])
            self._font: Any = next(filter(None, map(self._open_font, FONTS)), None)
            self._ink: Any = self._window.create_gc(foreground=FOREGROUND, background=BACKGROUND)
            self._dot: Any = self._window.create_gc(foreground=DOT)
            if self._font is not None:
                self._ink.change(font=self._font)
            display.flush()

    @staticmethod
    def probe() -> str | None:
        """Why it cannot be used here, in words, or None."""
        return probe(EXTENSION)

    def show(self, text: str) -> None:
        """See Indicator.show."""
        self._text = text
        self._loop.wake()

    def serve(self) -> None:
        """See Part.serve."""
        self._loop.serve(self._event, self._follow)

    def close(self) -> None:
        """See Part.close."""
        self._loop.close()

    def _open_font(self, name: str) -> Any:
        return self._loop.display.open_font(name)

    def _event(self, event: Any) -> None:
        if event.type == X.Expose:
            self._paint()
        elif event.type == X.ConfigureNotify and event.window.id == self._root.id:
            self._place()
        elif event.type == X.VisibilityNotify and event.state != X.VisibilityUnobscured:
            now = time.monotonic()
            if self._shown and now - self._raised >= RAISE_EVERY_S:
                self._raised = now
                self._window.configure(stack_mode=X.Above)

    def _follow(self) -> None:
        """Show what is to be shown."""
        text = self._text
        if text == self._shown:
            return
        self._shown = text
        if text:
            self._place()
            self._window.map()
            self._window.clear_area(exposures=True)
        else:
            self._window.unmap()

    def _place(self) -> None:
        """At the top of the primary monitor, in its middle."""
        if not self._shown:
            return
        ink = self._font.query_text_extents(self._shown.encode("latin-1", "replace"))
        width = ink.overall_width + 3 * PADDING_PX + DOT_PX
        height = ink.font_ascent + ink.font_descent + PADDING_PX
        left, top, across = self._monitor()
        self._baseline = PADDING_PX // 2 + ink.font_ascent
        self._window.configure(
            x=left + (across - width) // 2, y=top, width=width, height=height, stack_mode=X.Above
        )

    def _monitor(self) -> tuple[int, int, int]:
        """Left, top and width of the primary monitor, or of the screen."""
        if self._loop.display.has_extension("RANDR"):
            # Unplugged between two questions, the second of which the server refuses.
            with contextlib.suppress(XError):
                output = randr.get_output_primary(self._root).output
                at = randr.get_screen_resources(self._root).config_timestamp
                crtc = randr.get_output_info(self._root, output, at).crtc if output else 0
                if crtc:
                    place = randr.get_crtc_info(self._root, crtc, at)
                    return place.x, place.y, place.width
        return 0, 0, self._root.get_geometry().width

    def _paint(self) -> None:
        text = self._shown.encode("latin-1", "replace")
        top = (self._baseline + PADDING_PX - DOT_PX) // 2
        self._window.fill_arc(self._dot, PADDING_PX, top, DOT_PX, DOT_PX, 0, 360 * 64)
        self._window.draw_text(self._ink, 2 * PADDING_PX + DOT_PX, self._baseline, text)
