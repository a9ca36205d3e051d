"""Requests past python-xlib on its own connection to a real X server, and that it keeps its own bearings."""

from __future__ import annotations

from collections.abc import Iterator
from struct import pack

import pytest
from Xlib import X, display, error

from agent.capture.base import CaptureUnavailable
from agent.capture.x11_wire import Wire
from agent.x11 import close, connect
from tests.eventually import eventually
from tests.xserver import XServer, x_server

GET_INPUT_FOCUS = pack("=BxH", 43, 1)


def get_geometry(drawable: int) -> bytes:
    return pack("=BxHI", 14, 2, drawable)


@pytest.fixture(scope="module")
def server() -> Iterator[XServer]:
    with x_server("320x240") as server:
        yield server


@pytest.fixture
def connection(server: XServer) -> Iterator[display.Display]:
    connection = connect(CaptureUnavailable, server.name)
    yield connection
    close(connection)


def test_reply_comes_and_others_events_stay_with_python_xlib(connection: display.Display) -> None:
    root = connection.screen().root
    root.change_attributes(event_mask=X.SubstructureNotifyMask)
    wire = Wire(connection, X.MapNotify)
    window = root.create_window(0, 0, 8, 8, 0, X.CopyFromParent)
    window.map()
    (reply,) = wire.ask(get_geometry(root.id), 1)
    assert int.from_bytes(reply[16:18], "little") == 320
    others: list[int] = []

    def has_noted() -> bool:
        wire.receive()
        others.extend(event.type for event in wire.events())
        return wire.has_noted

    eventually(has_noted)
    assert others == [X.CreateNotify]
    assert root.get_geometry().width == 320


def test_refused_request_raises_and_the_next_is_answered(connection: display.Display) -> None:
    wire = Wire(connection, X.MapNotify)
    with pytest.raises(error.BadDrawable):
        wire.ask(get_geometry(0xFFFFFF) + GET_INPUT_FOCUS, 1, 1)
    map_nothing = pack("=BxHI", 8, 2, 0xFFFFFF)
    assert len(wire.ask(map_nothing + GET_INPUT_FOCUS * 2, 2, 1)) == 2
    connection.sync()


def test_serials_go_on_beyond_16_bits(connection: display.Display) -> None:
    wire = Wire(connection, X.MapNotify)
    for _ in range(33):
        wire.ask(GET_INPUT_FOCUS, 1)
        unanswered = pack("=BxH", 127, 1) * 1999  # NoOperation
        wire.ask(unanswered + GET_INPUT_FOCUS, 2000)
    assert connection.screen().root.get_geometry().height == 240


def test_answer_in_pieces_is_put_together(
    connection: display.Display, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.capture.x11_wire.RECEIVED_BYTES", 5)
    wire = Wire(connection, X.MapNotify)
    list_extensions = pack("=BxH", 99, 1)
    focus, extensions, geometry = wire.ask(
        GET_INPUT_FOCUS + list_extensions + get_geometry(connection.screen().root.id), 1, 1, 1
    )
    assert len(focus) == len(geometry) == 32 < len(extensions)
    assert connection.screen().root.get_geometry().height == 240
