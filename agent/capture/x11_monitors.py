"""The monitors of an X screen by RandR, and the events that tell of a change.

Source: randrproto 1.6, section 5.5 ("Monitors", since 1.5).
"""

from __future__ import annotations

from typing import Any, Final

from Xlib import X, display
from Xlib.ext import randr

from agent.capture.base import Box, Monitor

WHOLE: Final = "screen"
"""The name of the only monitor of a server that tells of none."""
EVENTS: Final = (
    randr.RRScreenChangeNotifyMask | randr.RRCrtcChangeNotifyMask | randr.RROutputChangeNotifyMask
)
_NOTIFIES: Final = (randr.ScreenChangeNotify, randr.CrtcChangeNotify, randr.OutputChangeNotify)


def monitors(server: display.Display) -> tuple[Monitor, ...]:
    """Every monitor that is on, at least one; of those that show the same, one."""
    root = server.screen().root
    geometry = root.get_geometry()
    screen = Box(0, 0, int(geometry.width), int(geometry.height))
    found: dict[Box, Monitor] = {}
    for entry in _told(server, root):
        area = Box(
            entry.x, entry.y, entry.x + entry.width_in_pixels, entry.y + entry.height_in_pixels
        )
        area = area.within(screen)
        if area.empty or (area in found and not entry.primary):
            continue
        name = str(server.get_atom_name(entry.name))
        found[area] = Monitor(name, area, bool(entry.primary))
    return tuple(found.values()) or (Monitor(WHOLE, screen, primary=True),)


def _told(server: display.Display, root: Any) -> list[Any]:
    if not server.has_extension("RANDR"):
        return []
    version = randr.query_version(server)
    if (version.major_version, version.minor_version) < (1, 5):
        return []
    return list(randr.get_monitors(root).monitors)


def watch(server: display.Display) -> None:
    """Have changes of the monitors reported to this connection."""
    root = server.screen().root
    root.change_attributes(event_mask=X.StructureNotifyMask)
    if server.has_extension("RANDR"):
        randr.select_input(root, EVENTS)


def tells(event: Any) -> bool:
    """Whether an event says that the monitors may have changed."""
    return event.type == X.ConfigureNotify or isinstance(event, _NOTIFIES)
