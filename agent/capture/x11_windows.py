"""The windows of an app on an X screen, by the process that made each, and what is done with them.

Sources: X-Resource 1.2 (QueryClientIds); EWMH 1.5 (_NET_CLIENT_LIST_STACKING, _NET_WM_PID, _NET_ACTIVE_WINDOW);
fixesproto 5 (pointer barriers).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from Xlib import X, Xatom, display, error
from Xlib.ext import res, xfixes
from Xlib.protocol import event, rq

from agent.capture.base import Box

# The directions that a barrier lets pass.
POSITIVE_X, POSITIVE_Y, NEGATIVE_X, NEGATIVE_Y = 1, 2, 4, 8
BY_A_PAGER: Final = 2
"""EWMH's source indication of a request that comes from the user himself."""


@dataclass(frozen=True, slots=True)
class Window:
    """A window that can be seen; `area` is what is in its border, on the screen."""

    window: Any
    area: Box
    border: int
    popup: bool
    """The window manager does not manage it: a menu, a tool tip."""


def windows_of(server: display.Display, processes: Collection[int]) -> list[Window]:
    """What these processes show, the lowest window first."""
    root = server.screen().root
    managed = root.get_full_property(server.intern_atom("_NET_CLIENT_LIST_STACKING"), Xatom.WINDOW)
    children = root.query_tree().children
    candidates = list(children)
    if managed is not None:
        known = {child.id for child in children}
        candidates = [
            server.create_resource_object("window", number)
            for number in managed.value
            if number not in known
        ] + candidates
    found = []
    for window in candidates:
        try:
            if process_of(server, window) in processes and (seen := _seen(root, window)):
                found.append(seen)
        except error.XError:
            continue  # it has just been closed
    return found


def _seen(root: Any, window: Any) -> Window | None:
    attributes = window.get_attributes()
    if attributes.map_state != X.IsViewable or attributes.win_class != X.InputOutput:
        return None
    geometry = window.get_geometry()
    corner = root.translate_coords(window, 0, 0)
    # Xlib's names: the coordinates of the window's own corner on the root window.
    left, top = int(corner.x), int(corner.y)
    area = Box(left, top, left + int(geometry.width), top + int(geometry.height))
    return Window(window, area, int(geometry.border_width), bool(attributes.override_redirect))


def process_of(server: display.Display, window: Any) -> int:
    """The process that made a window, 0: not known."""
    if server.has_extension("X-Resource"):
        specs = [{"client": window.id, "mask": res.LocalClientPIDMask}]
        for told in res.query_client_ids(server, specs).ids:
            if told.value:
                return int(told.value[0])
    said = window.get_full_property(server.intern_atom("_NET_WM_PID"), Xatom.CARDINAL)
    return int(said.value[0]) if said is not None and len(said.value) > 0 else 0


def activate(server: display.Display, window: Any) -> None:
    """Raise a window and give it the keyboard; what becomes of it is the window manager's word."""
    root = server.screen().root
    active = server.intern_atom("_NET_ACTIVE_WINDOW")
    supported = root.get_full_property(server.intern_atom("_NET_SUPPORTED"), Xatom.ATOM)
    if supported is not None and active in supported.value:
        message = event.ClientMessage(
            window=window, client_type=active, data=(32, [BY_A_PAGER, X.CurrentTime, 0, 0, 0])
        )
        root.send_event(message, event_mask=X.SubstructureRedirectMask | X.SubstructureNotifyMask)
    else:
        window.configure(stack_mode=X.Above)
        window.set_input_focus(X.RevertToParent, X.CurrentTime)
    server.flush()


class CreatePointerBarrier(rq.Request):  # type: ignore[misc]
    """A line that the pointer does not cross, but in these directions."""

    _request = rq.Struct(
        rq.Card8("opcode"),
        rq.Opcode(31),
        rq.RequestLength(),
        rq.Card32("barrier"),
        rq.Window("window"),
        rq.Card16("x1"),
        rq.Card16("y1"),
        rq.Card16("x2"),
        rq.Card16("y2"),
        rq.Card32("directions"),
        rq.Pad(2),
        rq.LengthOf("devices", 2),
        rq.List("devices", rq.Card16Obj),
    )


class DeletePointerBarrier(rq.Request):  # type: ignore[misc]
    """Takes it away; with its client it goes by itself."""

    _request = rq.Struct(
        rq.Card8("opcode"), rq.Opcode(32), rq.RequestLength(), rq.Card32("barrier")
    )


class Fence:
    """Four barriers around an area: relative motion does not leave it. The server must have XFIXES."""

    def __init__(self, server: display.Display) -> None:
        self._server = server
        self._opcode = server.display.get_extension_major("XFIXES")
        # Not python-xlib's own query, which asks for version 4: the server knows no barriers then.
        xfixes.QueryVersion(
            display=server.display, opcode=self._opcode, major_version=5, minor_version=0
        )
        self._barriers: list[int] = []

    def put(self, area: Box) -> None:
        """Around this one from now on."""
        for barrier in self._barriers:
            DeletePointerBarrier(display=self._server.display, opcode=self._opcode, barrier=barrier)
        left, top = max(0, area.left), max(0, area.top)
        right, bottom = max(left + 1, area.right), max(top + 1, area.bottom)
        lines = (
            (left, top, left, bottom, POSITIVE_X),
            (right, top, right, bottom, NEGATIVE_X),
            (left, top, right, top, POSITIVE_Y),
            (left, bottom, right, bottom, NEGATIVE_Y),
        )
        self._barriers = [self._create(*line) for line in lines]

    def _create(self, x1: int, y1: int, x2: int, y2: int, directions: int) -> int:
        barrier = int(self._server.display.allocate_resource_id())
        CreatePointerBarrier(
            display=self._server.display,
            opcode=self._opcode,
            barrier=barrier,
            window=self._server.screen().root,
            x1=x1,
            y1=y1,
            x2=x2,
            y2=y2,
            directions=directions,
            devices=[],
        )
        return barrier
