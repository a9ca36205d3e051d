"""A session's input without a connection: what a stalled process and a silent browser do to held keys."""

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from agent import backends
from agent.clipboard.stage import ClipboardStage
from agent.congestion import room
from agent.congestion.flight import Packet
from agent.cursor.stage import CursorStage
from agent.desk.desk import Desk
from agent.frame_reports import clock_us
from agent.input.base import Injector
from agent.input.events import encode_ack
from agent.input.guard import Role
from agent.input.hands import Hands
from agent.input.recorder import Recorder
from agent.pipeline import PipelineSettings, VideoPipeline
from agent.rtp.fec import Loss
from agent.rtp.rtcp import LossReport
from agent.session import Callbacks, Session, Shared
from tests.agent.browser import until
from tests.input import browser

A = 4
DOWN, UP = ("key", (A, True)), ("key", (A, False))


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


class Sent:
    """Stands in for the peer: keeps what is sent."""

    has_parity = True
    waiting_s = 0.0
    link_bps = 0.0

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self.loss: Loss | None = None

    def protect(self, loss: Loss | None) -> None:
        self.loss = loss

    def waiting_since(self) -> float:
        return time.monotonic() - self.waiting_s

    def send(self, label: str, payload: bytes) -> bool:
        self.messages.append((label, payload))
        return True


def make_session(
    open_injector: Callable[[], Injector],
    role: Role = "player",
    closed: Callable[[str], None] = lambda _: None,
) -> Session:
    desk = Desk(lambda monitor: backends.open_capture("testpattern", (64, 64), 1))
    video = VideoPipeline(
        desk.open,
        backends.open_encoder,
        PipelineSettings(1, 1_000_000),
    )
    hands = Hands(open_injector, lambda keys, buttons: None)
    cursor = CursorStage(partial(backends.open_cursor, "testpattern"))
    clipboard = ClipboardStage(partial(backends.open_clipboard, "testpattern"), "off")
    callbacks = Callbacks(lambda _: None, lambda: None, lambda: None, lambda: None, closed)
    shared = Shared(video, None, hands, cursor, clipboard, desk, 1_000_000, "delay")
    return Session(1, role, shared, callbacks)


@pytest.fixture
async def session(recorder: Recorder) -> Session:
    session = make_session(lambda: recorder)
    await until(session._shared.hands.open)
    return session


async def test_the_first_input_is_not_acknowledged_before_it_can_be_injected(
    recorder: Recorder,
) -> None:
    gate = threading.Event()

    def slow() -> Injector:
        gate.wait(30)
        return recorder

    session, sent = make_session(slow), Sent()
    peer: Any = sent
    session._peer = peer
    first = browser.events(1, 1, browser.key(A, down=True), browser.key(A, down=False))
    for _ in range(3):
        session.on_message("input", first)
    assert (sent.messages, recorder.calls) == ([], [])
    gate.set()
    await until(session._shared.hands.open)
    session.on_message("input", first)
    assert recorder.calls == [DOWN, UP]
    assert sent.messages == [("input", encode_ack(3))]


class Watched(Recorder):
    """Notes when it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.called_us = 0

    def key(self, usage: int, *, down: bool) -> None:
        self.called_us = clock_us()
        super().key(usage, down=down)


async def test_what_is_captured_before_the_injection_has_returned_comes_after_the_input() -> None:
    watched = Watched()
    session = make_session(lambda: watched)
    await until(session._shared.hands.open)
    before_us = clock_us()
    session.on_message("input", browser.events(1, 1, browser.key(A, down=True)))
    inputs = session._reports._inputs
    assert inputs.before(before_us - 1)[0] == 0
    assert inputs.before(watched.called_us)[0] == 1


async def test_a_viewer_opens_no_injector(recorder: Recorder) -> None:
    session = make_session(lambda: recorder, "viewer")
    session.on_message("input", browser.events(1, 1, browser.key(A, down=True)))
    hands = session._shared.hands
    assert (hands._opening, hands._injector) == (None, None)


async def test_a_silent_browser_holds_nothing(session: Session, recorder: Recorder) -> None:
    session.on_message("input", browser.events(1, 1, browser.key(A, down=True)))
    assert recorder.calls == [DOWN]
    await until(lambda: recorder.calls == [DOWN, UP])


async def test_a_stall_of_this_process_is_no_silence_of_the_browser(
    session: Session, recorder: Recorder
) -> None:
    session.on_message("input", browser.events(1, 1, browser.key(A, down=True)))
    loop = asyncio.get_running_loop()
    time.sleep(0.5)  # noqa: ASYNC251 - the stall; the heartbeat below came meanwhile
    loop.call_later(
        0.005, session.on_message, "input", browser.held(2, 1, [], [A])
    )  # a few turns of the loop until it is read
    await asyncio.sleep(0.02)
    assert recorder.calls == [DOWN]
    await until(lambda: recorder.calls == [DOWN, UP])


async def test_closing_releases_first_and_ends_once(session: Session, recorder: Recorder) -> None:
    session.on_message("input", browser.events(1, 1, browser.key(A, down=True)))
    await session.close("test")
    await session.close("again")
    session.on_message("input", browser.events(2, 2, browser.key(A, down=True)))
    assert recorder.calls == [DOWN, UP]


@pytest.mark.parametrize("payload", [b"", b"\x01", "text", b"\xff" * 70_000])
async def test_what_is_no_message_is_counted_and_told_at_the_end(
    recorder: Recorder, payload: bytes | str
) -> None:
    told: list[str] = []
    session = make_session(lambda: recorder, "viewer", told.append)
    session.on_message("input", payload)
    session.on_message("other", b"\x01\x01")
    session.on_message("input", browser.events(1, 1, browser.key(A, down=True)))
    await session.close("test")
    assert told == ["test (messages dropped: 2, messages not allowed: 1)"]


@pytest.mark.parametrize(("reached_s", "asked"), [(2.0, 0), (4.0, 1), (None, 1)])
async def test_two_lost_pictures_of_a_still_screen_ask_for_no_other_connection(
    session: Session, reached_s: float | None, asked: int
) -> None:
    silences: list[None] = []
    session._callbacks = replace(session._callbacks, silent=lambda: silences.append(None))
    sent = Sent()
    sent.waiting_s = 4.0
    peer: Any = sent
    session._peer = peer
    session.on_report(LossReport(0, 0, rtt_s=0.1, reached_s=reached_s))
    session._wait()
    assert len(silences) == asked
    assert session._waiting is not None
    session._waiting.cancel()


def lose_some(session: Session) -> None:
    """100 frames of 10 packets, a twentieth of which do not arrive."""
    for frame in range(100):
        now = frame / 60
        packets = [
            Packet(now, 1200, frame, None if index == frame % 20 else now + 0.05, index)
            for index in range(10)
        ]
        session.on_feedback(packets)


async def test_a_path_that_takes_bursts_fast_has_room_until_losses_cost_it_frames(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "WAIT_S", 0.0)
    sent = Sent()
    peer: Any = sent
    session._peer = peer
    session._steering.follow_delay(feedback=True)
    session.on_report(LossReport(0, 0, rtt_s=0.1))
    arrived = [Packet(index / 1000, 1200, 0, index / 1000 + 0.05, index) for index in range(10)]
    session.on_feedback(arrived)
    assert not session.path.room
    sent.link_bps = 1e9
    for _ in range(2):
        session.on_feedback(arrived)
    assert session.path.room
    lose_some(session)
    assert sent.loss is not None
    assert not session.path.room


async def test_parity_packets_are_paid_from_the_pictures_rate(session: Session) -> None:
    sent = Sent()
    peer: Any = sent
    session._peer = peer
    session._steering.follow_delay(feedback=True)
    session.on_report(LossReport(0, 0, rtt_s=0.1))
    lose_some(session)
    assert sent.loss is not None
    assert session.media_bps < session.target_bps
    sent.has_parity = False
    assert session.media_bps == session.target_bps


async def test_a_tap_between_two_connections_is_made_once_on_whichever_brought_it(
    session: Session, recorder: Recorder
) -> None:
    """The first one's acknowledgement was lost: the page says it again on the second one."""
    tap = [browser.key(A, down=True), browser.key(A, down=False)]
    second = Session(2, "player", session._shared, session._callbacks)
    second.follow(session)
    session.on_message("input", browser.events(1, 1, *tap))
    again = browser.carried({"former": 1, "first": 1, "count": 4}, browser.events(1, 1, *tap, *tap))
    second.on_message("input", again)
    session.on_message("input", browser.events(2, 1, *tap, *tap))  # overtaken
    second.on_message("input", again)
    presses = [call for call in recorder.calls if call[0] == "key"]
    assert presses == [DOWN, UP] * 2
