"""Where a screen changed: the extents of its damage, by the regions of the XFIXES extension.

Source: fixesproto 2 ("Region Objects"), which python-xlib 0.33 has no requests for.
"""

from __future__ import annotations

from typing import Any

from Xlib import display
from Xlib.ext import damage
from Xlib.protocol import rq, structs

from agent.capture.base import Box

EXTENSION_NAME = "XFIXES"


class CreateRegion(rq.Request):  # type: ignore[misc]
    """A region of these rectangles under a new resource id."""

    _request = rq.Struct(
        rq.Card8("opcode"),
        rq.Opcode(5),
        rq.RequestLength(),
        rq.Card32("region"),
        rq.List("rectangles", structs.Rectangle),
    )


class IntersectRegion(rq.Request):  # type: ignore[misc]
    """Leaves in the last region what is in both of the others."""

    _request = rq.Struct(
        rq.Card8("opcode"),
        rq.Opcode(14),
        rq.RequestLength(),
        rq.Card32("source1"),
        rq.Card32("source2"),
        rq.Card32("destination"),
    )


class FetchRegion(rq.ReplyRequest):  # type: ignore[misc]
    """The extents of a region; its single rectangles stay unread behind them."""

    _request = rq.Struct(
        rq.Card8("opcode"),
        rq.Opcode(19),
        rq.RequestLength(),
        rq.Card32("region"),
    )
    _reply = rq.Struct(
        rq.ReplyCode(),
        rq.Pad(1),
        rq.Card16("sequence_number"),
        rq.ReplyLength(),
        rq.Int16("x"),
        rq.Int16("y"),
        rq.Card16("width"),
        rq.Card16("height"),
        rq.Pad(16),
    )


class DamageArea:
    """Empties a damage object and says what was in it of one place on the screen."""

    def __init__(self, server: display.Display, damage_id: int, place: Box) -> None:
        """The server must have XFIXES, its version must have been asked for, as the extension wants."""
        self._server = server
        self._damage = damage_id
        self._opcode = server.display.get_extension_major(EXTENSION_NAME)
        self._region = self._create([])
        self._place = self._create([(place.left, place.top, place.width, place.height)])

    def _create(self, rectangles: list[tuple[int, int, int, int]]) -> int:
        region = int(self._server.display.allocate_resource_id())
        CreateRegion(
            display=self._server.display, opcode=self._opcode, region=region, rectangles=rectangles
        )
        return region

    def take(self) -> Any:
        """Empty the damage; the request to wait for, whose reply goes to `box_of`."""
        damage.damage_subtract(self._server, self._damage, parts=self._region)
        IntersectRegion(
            display=self._server.display,
            opcode=self._opcode,
            source1=self._region,
            source2=self._place,
            destination=self._region,
        )
        return FetchRegion(
            display=self._server.display, defer=True, opcode=self._opcode, region=self._region
        )


def box_of(reply: Any) -> Box:
    """The part of the screen that a FetchRegion reply covers."""
    return Box(reply.x, reply.y, reply.x + reply.width, reply.y + reply.height)
