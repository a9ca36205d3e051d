"""Supervision with stand-ins for the media process that die, hang or talk nonsense."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from agent import ipc, media_process
from agent.input.base import Injector, InputUnavailable
from agent.input.recorder import Recorder
from agent.media_process import MediaProcess
from agent.watchdog import Watchdog
from tests.agent.browser import until
from tests.agent.process import gone

CONFIGURE = ipc.Configure("testpattern", None, None, 30, 1_000_000, "delay", audio=False)
READY = (
    "import os, sys, time, signal; from agent import ipc\n"
    "def say(m): os.write(1, ipc.encode(m))\n"
    "def hear():\n"
    "    d = ipc.FrameDecoder()\n"
    "    while p := os.read(0, 65536): yield from d.feed(p)\n"
    "say(ipc.Ready((), ()))\n"
)


class Listener:
    def __init__(self) -> None:
        self.heard: list[ipc.Message] = []
        self.deaths: list[str] = []

    def on_media(self, message: ipc.Message) -> None:
        self.heard.append(message)

    async def on_media_died(self, reason: str) -> None:
        self.deaths.append(reason)


@asynccontextmanager
async def supervised(code: str) -> AsyncIterator[tuple[MediaProcess, Listener]]:
    listener = Listener()
    media = MediaProcess(CONFIGURE, listener, command=(sys.executable, "-c", code))
    task = asyncio.create_task(media.run())
    try:
        yield media, listener
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_process_that_dies_is_started_again_and_its_death_is_told() -> None:
    code = READY + "os.kill(os.getpid(), signal.SIGKILL)"
    async with supervised(code) as (_, listener):
        await until(lambda: len(listener.deaths) >= 3)
        assert set(listener.deaths) == {"signal SIGKILL"}


async def test_what_was_said_before_a_death_arrives() -> None:
    code = READY + "say(ipc.HeldInput((4,), (0,))); os.kill(os.getpid(), signal.SIGKILL)"
    async with supervised(code) as (_, listener):
        await until(lambda: listener.deaths)
        assert listener.heard == [ipc.Ready((), ()), ipc.HeldInput((4,), (0,))]


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import os; os.write(1, b'\\xff' * 100)", "bad frame"),
        ("print('hello, agent')", "bad frame"),
        ("import sys; sys.exit(7)", "exit code 7"),
        (READY + "import os; os.close(1); sys.exit(0)", "exit code 0"),
    ],
)
async def test_a_process_that_talks_nonsense_or_leaves_is_replaced(code: str, why: str) -> None:
    async with supervised(code) as (_, listener):
        await until(lambda: len(listener.deaths) >= 2)
        assert why in listener.deaths[0]


async def test_a_process_that_does_not_get_ready_is_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(media_process, "START_LIMIT_S", 0.3)
    monkeypatch.setattr(media_process, "STOP_LIMIT_S", 0.2)
    async with supervised("import time; time.sleep(60)") as (_, listener):
        await until(lambda: listener.deaths)
        assert "not ready" in listener.deaths[0]


async def test_messages_wait_for_ready_and_then_keep_their_order() -> None:
    code = READY + "for m in hear(): say(m) if isinstance(m, ipc.LoseSession) else None"
    async with supervised(code) as (media, listener):
        sent = [ipc.LoseSession(n) for n in range(media_process.MAX_WAITING)]
        assert all(media.send(message) for message in sent)
        assert not media.send(ipc.LoseSession(-1))
        await until(lambda: len(listener.heard) > len(sent))
        assert media.send(ipc.LoseSession(1000))
        await until(lambda: listener.heard[1:] == [*sent, ipc.LoseSession(1000)])


async def test_what_a_process_says_while_it_stops_arrives() -> None:
    code = READY + (
        "say(ipc.HeldInput((4,), ()))\n"
        "for m in hear():\n"
        "    if isinstance(m, ipc.Stop): say(ipc.HeldInput((4, 5), ())); say(ipc.HeldInput((), ()))\n"
    )
    async with supervised(code) as (_, listener):
        await until(lambda: ipc.HeldInput((4,), ()) in listener.heard)
    assert listener.heard[-2:] == [ipc.HeldInput((4, 5), ()), ipc.HeldInput((), ())]


async def test_what_a_process_said_before_it_hung_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media_process, "STOP_LIMIT_S", 3.0)
    code = READY + (
        "for m in hear():\n"
        "    if isinstance(m, ipc.Stop): say(ipc.HeldInput((4,), ())); time.sleep(60)\n"
    )
    async with supervised(code) as (media, listener):
        await media.ready.wait()
    assert listener.heard[-1] == ipc.HeldInput((4,), ())


async def test_stopping_asks_then_kills(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media_process, "STOP_LIMIT_S", 0.3)
    stubborn = READY + "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: time.sleep(60)"
    async with supervised(stubborn) as (media, _):
        await media.ready.wait()
        pid = media.pid
        assert pid is not None
    await gone(pid)


async def test_a_process_that_does_not_read_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media_process, "MAX_UNREAD_BYTES", 500_000)
    async with supervised(READY + "time.sleep(60)") as (media, listener):
        await media.ready.wait()
        offer = ipc.OpenSession(1, "player", "x" * 60_000, ())
        for _ in range(100):
            if not media.send(offer):
                break
            await asyncio.sleep(0)
        await until(lambda: listener.deaths)
        assert listener.deaths[0] == f"signal {signal.SIGKILL.name}"


async def test_a_process_that_stands_still_is_killed_and_one_that_answers_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(media_process, "PING_S", 0.1)
    answering = (
        READY + "for m in hear():\n"
        "    say(ipc.Pong() if isinstance(m, ipc.Ping) else m)\n"
        "    say(ipc.LoseSession(0))\n"
    )
    async with supervised(answering) as (media, listener):
        await until(lambda: listener.heard.count(ipc.LoseSession(0)) > 10)
        assert listener.deaths == []
        assert ipc.Pong() not in listener.heard
        assert media.pid is not None
        os.kill(media.pid, signal.SIGSTOP)
        await until(lambda: listener.deaths)
        assert listener.deaths == ["signal SIGKILL"]


async def test_what_is_said_while_a_process_ends_is_not_for_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stop = MediaProcess._stop

    async def late(media: MediaProcess, *arguments: Any) -> int:
        media.send(ipc.LoseSession(1))
        return await stop(media, *arguments)

    monkeypatch.setattr(MediaProcess, "_stop", late)
    code = READY + "for m in hear(): say(m) if isinstance(m, ipc.LoseSession) else None"
    async with supervised(code) as (media, listener):
        await media.ready.wait()
        assert media.pid is not None
        os.kill(media.pid, signal.SIGKILL)
        await until(lambda: len(listener.heard) == 2)
        media.send(ipc.LoseSession(2))
        await until(lambda: ipc.LoseSession(2) in listener.heard)
        assert ipc.LoseSession(1) not in listener.heard


def test_the_watchdog_releases_what_was_last_held_once() -> None:
    recorder = Recorder()
    freed: list[None] = []
    watchdog = Watchdog(lambda: recorder, lambda: freed.append(None))
    watchdog.release()
    assert recorder.calls == []
    assert freed == [None]  # the pointer, whatever is held
    watchdog.note(ipc.HeldInput((4, 5), (0,)))
    watchdog.note(ipc.HeldInput((5, 225), (2,)))
    watchdog.release()
    watchdog.release()
    assert recorder.calls == [("key", (5, False)), ("key", (225, False)), ("button", (2, False))]
    assert recorder.closed


def test_a_watchdog_without_a_display_says_so(caplog: pytest.LogCaptureFixture) -> None:
    def none() -> Injector:
        raise InputUnavailable("DISPLAY is not set")

    watchdog = Watchdog(none)
    watchdog.note(ipc.HeldInput((4,), ()))
    watchdog.release()
    assert "DISPLAY is not set" in caplog.text
