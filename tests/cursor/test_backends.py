"""The cursor backends' contract, and what XFixes makes of an X server's pointers."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from agent.cursor.base import CursorUnavailable
from agent.cursor.xfixes import XFixesCursor, _shape
from tests.cursor.contract import keep_the_contract, read_until
from tests.cursor.fake import FakeCursor, square
from tests.cursor.pointer import HOT, RED, SIDE, WHITE, Pointing
from tests.xserver import XServer, x_display, x_server


@pytest.fixture
def server() -> Iterator[XServer]:
    with x_server("640x480") as server:
        yield server


class FakePointer:
    """The fake's own hand."""

    def __init__(self, fake: FakeCursor) -> None:
        self._fake = fake
        self.move = fake.move
        self._one, self._other = square(b"\xcc\x11\x22\xff"), square(b"\xff\xff\xff\x80", 8)

    def first(self) -> None:
        self._fake.show(self._one)

    def second(self) -> None:
        self._fake.show(self._other)

    def hide(self) -> None:
        self._fake.show(None)


class RealPointer:
    """A window and a mouse on an X server."""

    def __init__(self, server: XServer, pointing: Pointing) -> None:
        self.move = server.move_pointer
        self.first, self.second, self.hide = pointing.two_halves, pointing.frame, pointing.hide


def test_the_fake_keeps_the_contract() -> None:
    fake = FakeCursor()
    keep_the_contract(fake, FakePointer(fake))


def test_xfixes_keeps_the_contract(server: XServer) -> None:
    pointing = Pointing(server.name)
    keep_the_contract(XFixesCursor(server.name), RealPointer(server, pointing))
    pointing.close()


def test_every_pixel_of_an_x_pointer_is_read(server: XServer) -> None:
    pointing, source = Pointing(server.name), XFixesCursor(server.name)
    pointing.two_halves()
    shape = read_until(source, lambda cursor: cursor.shape is not None).shape
    row = bytes([*RED, 255]) * (SIDE // 2) + bytes([*WHITE, 255]) * (SIDE // 2)
    assert shape is not None
    assert (shape.width, shape.height, shape.hot_x, shape.hot_y) == (SIDE, SIDE, *HOT)
    assert shape.pixels == row * SIDE
    source.close()
    pointing.close()


def test_multiplied_alpha_is_taken_out_again() -> None:
    image = SimpleNamespace(
        width=2, height=1, xhot=0, yhot=0, cursor_image=[0x80400000, 0x00000000]
    )
    shape = _shape(image)
    assert shape is not None
    assert shape.pixels.hex() == "80000080" + "00000000"


def test_a_pointer_that_the_program_moves_itself_is_followed(server: XServer) -> None:
    pointing, source = Pointing(server.name), XFixesCursor(server.name)
    pointing.two_halves()
    read_until(source, lambda cursor: cursor.shape is not None, follow=True)
    pointing.root.warp_pointer(77, 66)
    pointing.display.sync()
    read_until(source, lambda cursor: (cursor.x, cursor.y) == (77, 66), follow=True)
    source.close()
    pointing.close()


def test_a_server_that_is_gone_is_told_in_words(server: XServer) -> None:
    source = XFixesCursor(server.name)
    server.kill()
    with pytest.raises(CursorUnavailable, match="went away"):
        read_until(source, lambda _: False)
    source.close()
    with pytest.raises(CursorUnavailable, match="cannot open"):
        XFixesCursor(server.name)


def test_the_probe_says_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    assert "DISPLAY is not set" in (XFixesCursor.probe() or "")
    with x_display():
        assert XFixesCursor.probe() is None
