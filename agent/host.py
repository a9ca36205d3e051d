"""The root of the agent's process: joins signaling, the media process and the watchdog, and routes between them.

A session is one browser's offer and all that follows from it; its number names it to the media process.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final, assert_never

from agent import backends, ipc, lifeline, memory, telemetry
from agent.apps.journal import Journal
from agent.apps.runner import AppRunner, AppState
from agent.apps.user_apps import UserApps
from agent.config_file import user_folder
from agent.graphics_card import GraphicsCard
from agent.media_process import MediaProcess
from agent.presence.attendant import Attendant, Company
from agent.processor import Processor
from agent.restart import REFUSAL, connection_of
from agent.roster import Event, Left, Offered, Trickled
from agent.settings import Settings
from agent.signaling import Signaling, SignalingSettings
from agent.watchdog import Watchdog
from cluster.protocol.messages import Answer, Candidate, Control, Item, PeerId
from cluster.protocol.telemetry import Telemetry

logger = logging.getLogger(__name__)

MEDIA_READY_LIMIT_S: Final = 20.0
STARTED_S: Final = 10.0
"""By then this process has loaded all that it needs."""
FAILING_S: Final = 30.0
"""A media process that dies again within this time does not heal by beginning again at once."""
NOTICE_EVERY_S: Final = 10.0
"""Of each kind. A negotiation's log has no room for a fault that comes and goes."""
FAILING: Final = "The host's media process failed again; the reason is in the host's log."
ENDED: Final = "The person at the host ended remote control."
BUSY: Final = "The host's media process is starting again. Try again in a few seconds."


@dataclass(slots=True)
class _Session:
    number: int
    peer: PeerId
    negotiation: str
    role: str
    connection: str | None = None
    """See agent/restart.py."""
    connected: bool = False


class Host:
    """Run `run` until `stop`; every callback is on its event loop."""

    def __init__(self, settings: Settings) -> None:
        width, height = settings.size or (None, None)
        configure = ipc.Configure(
            settings.source,
            width,
            height,
            settings.fps,
            settings.bitrate_bps,
            settings.congestion,
            settings.audio,
            settings.udp_ports or (),
            settings.clipboard,
            tuple(app.name for app in settings.apps),
            tuple(app.name for app in settings.apps if app.share == "window"),
        )
        self.media = MediaProcess(configure, self, settings.log_format)
        self.signaling = Signaling(
            SignalingSettings(settings.url, settings.room, settings.token, settings.ca_file), self
        )
        self.watchdog = Watchdog(
            partial(backends.open_injector, settings.source),
            partial(backends.free_pointer, configure.window_apps),
        )
        self.apps: AppRunner | UserApps
        if settings.user_pipes is None:
            journal = Journal(user_folder(os.environ))
            self.apps = AppRunner(settings.apps, journal, self._app_changed)
        else:
            self.apps = UserApps(settings.apps, settings.user_pipes, self._app_changed)
        self._settings = settings
        self._stop = asyncio.Event()
        self._sessions: dict[int, _Session] = {}
        self._numbers = 0
        self._died_at = -math.inf
        self._noticed_at: dict[str, float] = {}
        self._used: dict[PeerId, str | None] = {}
        """The browser's connection that was the newest to come about, of each who is here."""
        self._figures: Telemetry | None = None
        self._ended_here = False
        """The person at the host ended remote control, and has not allowed it again."""
        self._attendant: Attendant | None = None

    def stop(self) -> None:
        """End every session, say goodbye, and let `run` return."""
        self._stop.set()

    async def run(self) -> None:
        """Raises SignalingRefused (in an ExceptionGroup) when the node does not want us."""
        loop = asyncio.get_running_loop()
        with _stopped_by_signals(loop, self.stop):
            if self._settings.parent_fd is not None:
                lifeline.watch(self._settings.parent_fd, partial(_soon, loop, self.stop))
            self._attendant = self._make_attendant(loop)
            self.apps.recover()
            loop.call_later(STARTED_S, memory.give_back)
            try:
                async with asyncio.TaskGroup() as tasks:
                    media = tasks.create_task(self.media.run(), name="media")
                    joined = tasks.create_task(self._join(), name="signaling")
                    reports = tasks.create_task(self._report(), name="telemetry")
                    await self._stop.wait()
                    logger.info("stopping")
                    await self.signaling.goodbye("the host stopped")
                    joined.cancel()
                    reports.cancel()
                    media.cancel()
                    await self.apps.close()
            finally:
                self.watchdog.release()
                if self._attendant is not None:
                    self._attendant.close()
                await self.apps.close()

    def _make_attendant(self, loop: asyncio.AbstractEventLoop) -> Attendant | None:
        """For the person at the host; a test pattern shows nothing of theirs."""
        settings = self._settings
        if settings.source == "testpattern":
            return None
        return Attendant(
            settings.panic,
            partial(_soon, loop, self.on_shortcut),
            backends.open_key_listener,
            backends.open_indicator if settings.indicator else None,
        )

    async def _join(self) -> None:
        """Join the room when the media process can serve it; later too, so that the user hears why not."""
        try:
            async with asyncio.timeout(MEDIA_READY_LIMIT_S):
                await self.media.ready.wait()
        except TimeoutError:
            logger.warning("the media process is not ready yet")
        await self.signaling.run()

    async def _report(self) -> None:
        """Tell the node how this host is, until cancelled."""
        loop = asyncio.get_running_loop()
        began, processor = loop.time(), Processor()
        with contextlib.closing(GraphicsCard()) as card:
            while True:
                await asyncio.sleep(telemetry.EVERY_S)
                ready = self.media.ready.is_set()
                own = telemetry.Own(loop.time() - began, processor.used_share(), card.load())
                self.signaling.report(telemetry.frame(self._figures, own, media_ready=ready))

    # From signaling

    def on_signal(self, event: Event) -> None:
        """Something happened in the room."""
        match event:
            case Offered():
                self._open(event)
            case Trickled(peer, negotiation, candidate):
                for session in self._all_of(peer):
                    if session.negotiation == negotiation:
                        self.media.send(_remote_candidate(session.number, candidate))
            case Left(peer, reason):
                self._used.pop(peer, None)
                for session in self._all_of(peer):
                    if reason == "bye":
                        self._close(session, "the browser said goodbye")
                    else:
                        self.media.send(ipc.LoseSession(session.number))
            case _:
                assert_never(event)

    def on_shortcut(self) -> None:
        """The person at the host pressed the shortcut: remote control ends at once, or is allowed again."""
        self._ended_here = not self._ended_here
        if not self._ended_here:
            logger.warning("the person at the host allows remote control again")
            self._show()
            return
        logger.warning("the person at the host ended remote control; the shortcut allows it again")
        sessions, self._sessions = _newest(self._sessions), {}
        for session in sessions:
            self._say(session, Control("ended"))
        # Nothing that it does or fails to do can hold this up; what it held is released at its death.
        self.media.kill()
        self._show()

    def _show(self) -> None:
        """Let the person at the host see who is connected."""
        if self._attendant is None:
            return
        people = {row.peer: row.role for row in self._sessions.values() if row.connected}
        roles = list(people.values())
        players = roles.count("player")
        self._attendant.show(Company(players, len(roles) - players, self._ended_here))

    def _open(self, offered: Offered) -> None:
        for former in self._all_of(offered.peer):
            if not former.connected:  # else it goes on until this one is: make before break
                self._close(former, "the browser began again")
        plays = max((row.number for row in self._all_of(offered.peer)), default=0)
        self._numbers += 1
        role = "player" if offered.role == "player" else "viewer"
        connection = connection_of(offered.sdp)
        session = _Session(self._numbers, offered.peer, offered.negotiation, role, connection)
        if self._ended_here:
            self._end(session, Control("busy", {"message": ENDED}))
            return
        if connection is not None and connection == self._used.get(offered.peer):
            logger.warning("session %d refused: %s", session.number, REFUSAL)
            self._end(session, Control("busy", {"message": REFUSAL}))
            return
        servers = self.signaling.roster.ice_servers
        self._sessions[session.number] = session
        opened = ipc.OpenSession(session.number, role, offered.sdp, servers, plays)
        if not self.media.send(opened):
            self._end(session, Control("busy", {"message": BUSY}))

    def _close(self, session: _Session, reason: str) -> None:
        self._sessions.pop(session.number, None)
        self.media.send(ipc.CloseSession(session.number, reason))
        self._show()

    def _all_of(self, peer: PeerId) -> list[_Session]:
        """The one that plays, and one that will take its place."""
        return [row for row in self._sessions.values() if row.peer == peer]

    def _say(self, session: _Session, item: Item) -> None:
        if not self.signaling.say(session.peer, session.negotiation, item):
            kind = type(item).__name__.lower()
            logger.info("session %d: its browser is not told the %s", session.number, kind)

    def _end(self, session: _Session, item: Item) -> None:
        self._sessions.pop(session.number, None)
        self._say(session, item)

    def _app_changed(self, state: AppState) -> None:
        if self.media.ready.is_set():
            self.media.send(ipc.AppChanged(state.name, state.state, state.group, state.words))

    # From the media process

    def on_media(self, message: ipc.Message) -> None:
        """The media process said something."""
        match message:
            case ipc.HeldInput():
                self.watchdog.note(message)
            case ipc.Figures(figures):
                self._figures = telemetry.checked(figures)
            case ipc.Ready(uses, problems):
                logger.info("media process %s ready: %s", self.media.pid, ", ".join(uses))
                for problem in problems:
                    logger.warning("%s", problem)
                for state in self.apps.states:
                    self._app_changed(state)
            case ipc.StartApp(name):
                self.apps.start(name)
            case ipc.EndApp(name):
                self.apps.end(name)
            case ipc.Notice(about, words):
                self._notice(about, words)
            case ipc.SessionClosed(number, reason):
                logger.info("session %d ended: %s", number, reason)
                self._sessions.pop(number, None)
                self._show()
            case (
                ipc.SessionAnswer(number)
                | ipc.LocalCandidate(number)
                | ipc.SessionRefused(number)
                | ipc.SessionConnected(number)
                | ipc.SessionSilent(number)
            ):
                session = self._sessions.get(number)
                if session is not None:
                    self._session_said(session, message)
            case _:
                logger.error("the media process sent %s, which is ours", type(message).__name__)

    def _session_said(self, session: _Session, message: ipc.Message) -> None:
        match message:
            case ipc.SessionAnswer(_, sdp):
                self._say(session, Answer(sdp))
            case ipc.LocalCandidate(_, candidate, mid, index):
                self._say(session, Candidate(candidate, mid, index))
            case ipc.SessionRefused(_, words):
                logger.warning("session %d refused: %s", session.number, words)
                self._end(session, Control("busy", {"message": words}))
            case ipc.SessionConnected():
                logger.info("session %d connected", session.number)
                session.connected = True
                self._used[session.peer] = session.connection
                self._show()
                for former in self._all_of(session.peer):
                    if former.number < session.number:
                        self._close(former, f"session {session.number} took its place")
            case ipc.SessionSilent():
                logger.info("session %d: its browser is asked to connect again", session.number)
                self._say(session, Control("renegotiate", {"keep": True}))

    def _notice(self, about: str, words: str) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._noticed_at.get(about, -math.inf) < NOTICE_EVERY_S:
            return
        watching = {session.peer for session in self._sessions.values() if session.connected}
        for session in _newest(self._sessions):
            if session.peer in watching:  # who is not connected yet is told why not
                self._noticed_at[about] = now
                self._say(session, Control("notice", {"message": words}))

    async def on_media_died(self, reason: str) -> None:
        """Release what it held; ask the pages to begin again, at once or, the second time, later."""
        loop = asyncio.get_running_loop()
        # Before any wait: an offer that comes from now on is the next process's.
        sessions, self._sessions = _newest(self._sessions), {}
        self._figures = None
        self._show()
        again, self._died_at = loop.time() - self._died_at < FAILING_S, loop.time()
        await loop.run_in_executor(None, self.watchdog.release)
        item = Control("busy", {"message": FAILING}) if again else Control("renegotiate")
        for session in sessions:
            self._say(session, item)


def _newest(sessions: dict[int, _Session]) -> list[_Session]:
    """One of each peer: what is said to it is said once."""
    return list({session.peer: session for session in sessions.values()}.values())


def _remote_candidate(number: int, candidate: Candidate) -> ipc.RemoteCandidate:
    return ipc.RemoteCandidate(
        number, candidate.candidate, candidate.sdp_mid, candidate.sdp_mline_index
    )


@contextlib.contextmanager
def _stopped_by_signals(
    loop: asyncio.AbstractEventLoop, stop: Callable[[], None]
) -> Iterator[None]:
    """SIGTERM (Windows: SIGBREAK) and SIGINT mean an orderly end; a second one ends at once.

    Not by `add_signal_handler`, which Windows does not have.
    """
    if sys.platform == "win32":
        terminate = signal.SIGBREAK
    else:
        terminate = signal.SIGTERM

    def default() -> None:
        signal.signal(terminate, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def once(*_: object) -> None:
        default()
        lifeline.end_within_grace()
        loop.call_soon_threadsafe(stop)

    signal.signal(terminate, once)
    signal.signal(signal.SIGINT, once)
    try:
        yield
    finally:
        default()


def _soon(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    """From another thread."""
    loop.call_soon_threadsafe(call)
