"""Stage and teller: who is told what of the host's cursor, and when it is drawn into the picture instead."""

from __future__ import annotations

import threading

import pytest

from agent.capture.base import Box
from agent.cursor import stage as stage_module
from agent.cursor.base import CursorSource, CursorUnavailable
from agent.cursor.stage import CursorStage
from agent.cursor.teller import CursorTeller, Ways
from agent.cursor.wire import TYPE_PLACE, TYPE_SHAPE, TYPE_STATE, Look
from tests.cursor.fake import FakeCursor, square
from tests.eventually import eventually, until


class Viewer:
    """A teller, what it sent, and whether it wants the pointer in the picture."""

    def __init__(self, stage: CursorStage, name: str = "1", *, viewer: bool = False) -> None:
        self.sent: list[bytes] = []
        self.drawn: list[bool] = []
        self.full = False
        self.teller = CursorTeller(name, stage, Ways(self._send, self._draw), viewer=viewer)

    def _send(self, message: bytes) -> bool:
        if not self.full:
            self.sent.append(message)
        return not self.full

    def _draw(self, *, wanted: bool) -> None:
        self.drawn.append(wanted)

    def kinds(self) -> list[int]:
        return [message[1] for message in self.sent]


def cursor_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "cursor"]


async def test_one_source_serves_all_viewers_and_ends_with_the_last() -> None:
    fakes: list[FakeCursor] = []

    def opened() -> CursorSource:
        fakes.append(FakeCursor())
        return fakes[-1]

    stage = CursorStage(opened)
    viewers = [Viewer(stage, "1"), Viewer(stage, "2")]
    for viewer in viewers:
        viewer.teller.open()
        viewer.teller.open()
        await until(lambda viewer=viewer: viewer.kinds() == [TYPE_SHAPE, TYPE_STATE])  # type: ignore[misc]
    (fake,) = fakes
    fake.move(30, 40)
    viewers[0].teller.set_relative(True)
    await until(lambda: TYPE_PLACE in viewers[0].kinds())
    assert TYPE_PLACE not in viewers[1].kinds()
    viewers[0].teller.set_relative(False)
    await until(lambda: not fake.follows)
    for viewer in viewers:
        viewer.teller.close()
        viewer.teller.close()
        assert viewer.drawn == []
    eventually(lambda: fake.closed and not cursor_threads(), "the thread's end")
    viewers[0].teller.open()
    await until(lambda: len(fakes) == 2)
    viewers[0].teller.close()


async def test_a_viewer_is_always_told_the_place() -> None:
    fake = FakeCursor()
    viewer = Viewer(CursorStage(lambda: fake), viewer=True)
    viewer.teller.open()
    await until(lambda: TYPE_PLACE in viewer.kinds())
    assert viewer.sent[1][4] == 1, "apart from its own pointer"
    viewer.teller.close()


async def test_the_place_is_told_as_it_is_in_what_is_shown_now() -> None:
    fake, areas = FakeCursor(), [Box(320, 240, 640, 480)]
    stage = CursorStage(lambda: fake, lambda: areas[-1])
    viewer = Viewer(stage, viewer=True)
    fake.move(480, 360)
    viewer.teller.open()
    await until(lambda: TYPE_PLACE in viewer.kinds())
    state, place = viewer.sent[-2:]
    assert state[5:] == bytes.fromhex("014000f0")  # 320 by 240
    assert place[2:] == bytes.fromhex("80008000")
    areas.append(Box(0, 0, 640, 480))
    stage.look()
    await until(lambda: viewer.sent[-1] != place)
    assert viewer.sent[-2][5:] == bytes.fromhex("028001e0")
    assert viewer.sent[-1][2:] == bytes.fromhex("bfffbfff")
    viewer.teller.close()


async def test_a_full_channel_gets_the_newest_when_it_has_room() -> None:
    fake = FakeCursor()
    viewer = Viewer(CursorStage(lambda: fake))
    viewer.full = True
    viewer.teller.open()
    for blue in range(50):
        fake.show(square(bytes([0, 0, blue, 255])))
    fake.show(None)
    await until(lambda: viewer.teller._writer._cursor is not None)
    await until(lambda: viewer.teller._writer._packed is None)
    viewer.full = False
    await until(lambda: viewer.sent)
    assert [(message[1], message[2]) for message in viewer.sent] == [(TYPE_STATE, Look.HIDDEN)]
    viewer.teller.close()


async def test_without_a_channel_or_a_cursor_the_pointer_is_in_the_picture_of_a_locked_mouse(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stage_module, "FIRST_BACK_OFF_S", 0.01)
    fakes: list[FakeCursor] = []
    there = threading.Event()
    there.set()

    def opened() -> CursorSource:
        if not there.is_set():
            raise CursorUnavailable("not yet")
        fakes.append(FakeCursor())
        return fakes[-1]

    viewer = Viewer(CursorStage(opened))
    viewer.teller.set_relative(True)
    assert viewer.drawn == [True]
    viewer.teller.open()
    await until(lambda: viewer.drawn == [True, False], "the page draws")
    there.clear()
    fakes[0].vanish()
    await until(lambda: viewer.drawn == [True, False, True], "the picture has it")
    assert viewer.sent[-1][2] == Look.UNKNOWN
    there.set()
    await until(lambda: viewer.drawn[-1] is False, "the next source")
    viewer.teller.set_relative(False)
    viewer.teller.close()


async def test_a_source_that_is_lost_for_the_twentieth_time_is_back_as_soon_as_at_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The wait doubled with every loss, however long the source had worked between them."""
    monkeypatch.setattr(stage_module, "FIRST_BACK_OFF_S", 0.01)
    monkeypatch.setattr(stage_module, "LAST_BACK_OFF_S", 3600.0)
    fakes: list[FakeCursor] = []

    def opened() -> CursorSource:
        fakes.append(FakeCursor())
        return fakes[-1]

    viewer = Viewer(CursorStage(opened))
    viewer.teller.open()
    for number in range(1, 21):
        await until(lambda number=number: len(fakes) == number and fakes[-1]._told)  # type: ignore[misc]
        fakes[-1].vanish()
    viewer.teller.close()
