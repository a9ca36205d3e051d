"""Where a screen changed: the extents of its damage, by the regions of the XFIXES extension.

Source: fixesproto 2 ("Region Objects"), which python-xlib 0.33 has no requests for.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from Xlib import X, display
from Xlib.ext import damage
from Xlib.protocol import rq, structs

from agent.capture.base import Box
from agent.capture.x11_wire import Wire

EXTENSION_NAME = "XFIXES"

_SUBTRACT: Final = Struct("=BBHIII")
"""DamageSubtract (damageproto 1.1): what was damaged goes to the last region."""
_INTERSECT: Final = Struct("=BBHIII")
"""IntersectRegion: leaves in the last region what is in both of the others."""
_FETCH: Final = Struct("=BBHI")
"""FetchRegion."""
_EXTENTS: Final = Struct("=8xhhHH")
"""Of the reply to it, which has the single rectangles behind them."""


class CreateRegion(rq.Request):  # type: ignore[misc]
    """A region of these rectangles under a new resource id."""

    _request = rq.Struct(
        rq.Card8("opcode"),
        rq.Opcode(5),
        rq.RequestLength(),
        rq.Card32("region"),
        rq.List("rectangles", structs.Rectangle),
    )


class DamageArea:
    """Empties a damage object and says what was in it of one place on the screen."""

    def __init__(self, server: display.Display, wire: Wire, damage_id: int, place: Box) -> None:
        """The server must have XFIXES, its version must have been asked for, as the extension wants."""
        self._server = server
        self._wire = wire
        self._opcode = server.display.get_extension_major(EXTENSION_NAME)
        region = self._create([])
        inside = self._create([(place.left, place.top, place.width, place.height)])
        damage_opcode = server.display.get_extension_major(damage.extname)
        self._empty = _SUBTRACT.pack(
            damage_opcode, 3, _SUBTRACT.size // 4, damage_id, X.NONE, region
        ) + _INTERSECT.pack(self._opcode, 14, _INTERSECT.size // 4, region, inside, region)
        self._fetch = _FETCH.pack(self._opcode, 19, _FETCH.size // 4, region)

    def _create(self, rectangles: list[tuple[int, int, int, int]]) -> int:
        region = int(self._server.display.allocate_resource_id())
        CreateRegion(
            display=self._server.display, opcode=self._opcode, region=region, rectangles=rectangles
        )
        return region

    def take(self, behind: bytes) -> Box:
        """Empty the damage: the extents on the screen of what was in it. Raises what `Wire.ask` does.

        `behind` is a request with a reply, or nothing. It is served right behind, and the extents are told last: to be
        woken for one of two replies costs as much as both.
        """
        counts = (3, 1) if behind else (3,)
        reply = self._wire.ask(self._empty + behind + self._fetch, *counts)[-1]
        x, y, width, height = _EXTENTS.unpack_from(reply)
        return Box(x, y, x + width, y + height)
