"""The root of the media process on this test's own loop: offers that fail, wait, or are let go meanwhile."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest

from agent import backends, ipc, media
from agent.congestion.tiers import ViewerPath
from agent.encode.rung import Tier
from agent.input.base import Injector
from agent.media import Media
from agent.session import Session
from tests.agent.browser import until

OFFER = ipc.OpenSession(1, "player", "v=0", ())


class Pipe(ipc.PipeWriter):
    """Keeps what is sent."""

    def __init__(self) -> None:
        read, write = os.pipe()
        os.close(read)
        super().__init__(write)
        os.close(write)
        self.sent: list[ipc.Message] = []

    def send(self, message: ipc.Message) -> None:
        self.sent.append(message)


@pytest.fixture
async def root() -> AsyncIterator[tuple[Media, Pipe]]:
    pipe = Pipe()
    root = Media(ipc.Configure("testpattern", 160, 120, 10, 1_000_000, "delay", audio=False), pipe)
    yield root, pipe
    await root.close()


def ended(pipe: Pipe) -> bool:
    return any(isinstance(message, ipc.SessionClosed) for message in pipe.sent)


async def test_whatever_goes_wrong_an_offer_is_refused_in_words(
    root: tuple[Media, Pipe], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(self: Session, sdp: str, servers: Sequence[Mapping[str, Any]]) -> str:
        raise KeyError("secret detail")

    monkeypatch.setattr(Session, "answer", broken)
    host, pipe = root
    host.on_message(OFFER)
    await until(lambda: ended(pipe))
    assert pipe.sent[0] == ipc.SessionRefused(1, media.BROKEN)
    assert "Traceback" in caplog.text


async def test_a_session_that_is_closed_while_its_offer_waits_is_not_answered(
    root: tuple[Media, Pipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = asyncio.Event()

    async def answer(self: Session, sdp: str, servers: Sequence[Mapping[str, Any]]) -> str:
        await gate.wait()
        return "v=0"

    monkeypatch.setattr(Session, "answer", answer)
    host, pipe = root
    host.on_message(OFFER)
    host.on_message(ipc.CloseSession(1, "the browser began again"))  # read in the same breath
    await until(lambda: ended(pipe))
    gate.set()
    host.on_message(ipc.OpenSession(2, "player", "v=0", ()))
    await until(lambda: ipc.SessionAnswer(2, "v=0") in pipe.sent)
    assert pipe.sent[0] == ipc.SessionClosed(1, "the browser began again")
    assert not any(isinstance(m, ipc.SessionAnswer) and m.session == 1 for m in pipe.sent)


async def test_a_display_that_does_not_answer_is_busy_and_blocks_nothing(
    root: tuple[Media, Pipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answer(self: Session, sdp: str, servers: Sequence[Mapping[str, Any]]) -> str:
        return "v=0"

    gate = threading.Event()
    monkeypatch.setattr(Session, "answer", answer)
    monkeypatch.setattr(media, "PROBE_LIMIT_S", 0.1)
    monkeypatch.setattr(backends, "capture_problem", lambda source: gate.wait(20) and None)
    host, pipe = root
    host.on_message(OFFER)
    host.on_message(ipc.Ping())
    assert pipe.sent == [ipc.Pong()]
    await until(lambda: ended(pipe))
    assert pipe.sent[1:3] == [ipc.SessionAnswer(1, "v=0"), ipc.SessionRefused(1, media.SILENT)]
    gate.set()


async def test_encoders_that_take_too_long_are_not_taken_for_a_display_that_is_silent(
    root: tuple[Media, Pipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()

    def hang(codec: str) -> tuple[None, list[str]]:
        gate.wait(20)
        return None, []

    backends.begin_trials()  # what has to be imported is
    monkeypatch.setattr(media, "PROBE_LIMIT_S", 2.0)
    monkeypatch.setattr(backends, "encoder_of", hang)
    ready = await root[0].ready()
    gate.set()
    assert ready == ipc.Ready(("testpattern",), (media.UNKNOWN,))


class Watching:
    """Stands in for a session, and counts how often its path is looked at."""

    connected = True
    codec = "H264"

    def __init__(self, number: int) -> None:
        self.number, self.looks = number, 0

    @property
    def path(self) -> ViewerPath:
        self.looks += 1
        return ViewerPath(self.number, player=True, media_bps=1_000_000, limited=False)

    def steer(self, tier: Tier) -> None:
        """Nothing."""


async def test_every_rate_that_changes_is_no_look_at_every_session(
    root: tuple[Media, Pipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of 64 viewers' feedback, 16 times a second, looked at all 64."""
    monkeypatch.setattr(media, "CONDUCT_S", 1.0)
    host, _ = root
    host._settling.cancel()
    watching = [Watching(number) for number in range(8)]
    sessions: dict[int, Any] = {one.number: one for one in watching}
    host._sessions.update(sessions)
    for one in watching * 3:
        host._callbacks(one.number).rate()
    assert {one.looks for one in watching} == {1}
    await until(lambda: {one.looks for one in watching} == {2})
    host._sessions.clear()


async def test_a_fault_of_a_pipeline_is_told(root: tuple[Media, Pipe]) -> None:
    host, pipe = root
    await asyncio.to_thread(host._shared.video.on_fault, "the display is gone")
    await until(lambda: pipe.sent)
    assert pipe.sent == [
        ipc.Notice("picture", "The picture stands still: the display is gone"),
    ]


async def test_a_backend_that_breaks_is_a_problem_and_no_end(
    root: tuple[Media, Pipe], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(source: str) -> Injector:
        raise KeyError("secret detail")

    monkeypatch.setattr(backends, "open_injector", broken)
    ready = await root[0].ready()
    assert ready.uses == ("testpattern",)
    assert "KeyError" in ready.problems[0]
    assert "Traceback" in caplog.text
