"""The root of the media process: builds the backends, and joins sessions to pipelines until told to stop.

Started by agent/media_process.py as `python -m agent.media`; frames of agent/ipc.py on standard input
and output. It ends when its input does, so it never outlives the agent.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, cast

from agent import backends, ipc, lifeline, logs, memory, telemetry
from agent.audio.plan import SoundPlan
from agent.audio_pipeline import AudioPipeline
from agent.clipboard.base import Policy
from agent.clipboard.stage import ClipboardStage
from agent.congestion.tiers import Tiers
from agent.cursor.stage import CursorStage
from agent.desk.apps import DeskApps
from agent.desk.desk import Desk
from agent.encode.base import VideoCodec
from agent.input.base import InputUnavailable
from agent.input.guard import Role
from agent.input.hands import Hands
from agent.input.pads import Pads
from agent.pipeline import PipelineSettings, VideoPipeline
from agent.session import Callbacks, Session, Shared
from cluster.protocol.messages import Candidate

logger = logging.getLogger(__name__)

CONFIGURE_LIMIT_S: Final = 10.0
CLOSE_LIMIT_S: Final = 6.0
PROBE_LIMIT_S: Final = 5.0
"""A display server that stands still answers nobody; others take some ms."""
SETTLE_S: Final = 0.25
CONDUCT_S: Final = 0.05
"""Between two plans when rates change: each takes a look at every session, and each session's rate changes so often."""
PICTURE_S: Final = 0.5
"""From an answer to the first picture that is captured, if all is well: then its source need not be looked at."""
GIVE_BACK_S: Final = 3.0
"""After the start or the last session; a page that is loaded anew is back within it."""
MAX_SESSIONS: Final = 64
"""The largest capacity of a room."""
SWITCH_INTERVAL_S: Final = 0.000_5
"""The default 5 ms is a third of a frame: how long a stage may wait for another stage's GIL."""
SILENT: Final = "The host's display does not answer."
UNKNOWN: Final = "The host's encoders or its input do not answer."
BROKEN: Final = "The host could not open a session; the reason is in its log."
CODECS: Final[tuple[VideoCodec, ...]] = ("H264", "VP8", "VP9")


class Media:
    """Everything that is shared by the sessions of this process; lives on its event loop."""

    def __init__(self, configure: ipc.Configure, pipe: ipc.PipeWriter) -> None:
        self._configure = configure
        self._pipe = pipe
        self._loop = asyncio.get_running_loop()
        self._sessions: dict[int, Session] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        # One thread, so that leaving the pipelines keeps its order.
        self._teardown = ThreadPoolExecutor(1, thread_name_prefix="teardown")
        # Another one, so that a display server that stands still does not keep sessions from ending.
        self._probes = ThreadPoolExecutor(1, thread_name_prefix="probe")
        self._shared = self._build()
        self._sound = SoundPlan()
        self._tiers = {codec: Tiers() for codec in CODECS}
        self._conducted_at = float("-inf")
        self._conducting: asyncio.TimerHandle | None = None
        """The plan that is due, for rates that changed too soon after the last one."""
        self._settling = self._loop.call_later(SETTLE_S, self._settle)
        self._gathering = self._loop.call_later(telemetry.EVERY_S, self._gather)
        self._giving_back: asyncio.TimerHandle | None = None

    def _build(self) -> Shared:
        told = self._configure
        size = None if told.width is None or told.height is None else (told.width, told.height)
        apps = DeskApps(
            (told.apps, told.window_apps),
            backends.window_capture(told.source) if told.window_apps else None,
            lambda name: self._tell(ipc.StartApp(name)),
            lambda name: self._tell(ipc.EndApp(name)),
        )
        desk = Desk(partial(backends.open_capture, told.source, size, told.fps), apps, told.fps)
        video = VideoPipeline(
            desk.open, backends.open_encoder, PipelineSettings(told.fps, told.bitrate_bps)
        )
        desk.open_anew = video.open_anew
        video.on_fault = partial(self._fault, "picture", "The picture stands still: {}")
        audio: AudioPipeline | None = None
        if told.audio:
            audio = AudioPipeline(partial(backends.open_audio, told.source))
            audio.on_fault = partial(self._fault, "sound", "There is no sound: {}")
        hands = Hands(
            partial(backends.open_injector, told.source),
            self._tell_held,
            desk.area,
            desk.blind,
        )
        cursor = CursorStage(partial(backends.open_cursor, told.source), desk.area)
        desk.on_shown = cursor.look
        pads: Pads | None = None
        if told.source != "testpattern":
            complain = partial(self._fault, "gamepad", "Gamepads do nothing on this host: {}")
            pads = Pads(backends.open_gamepad, complain)
        policy = cast(Policy, told.clipboard)
        clipboard = ClipboardStage(partial(backends.open_clipboard, told.source), policy)
        return Shared(
            video,
            audio,
            hands,
            cursor,
            clipboard,
            desk,
            told.bitrate_bps,
            told.congestion,
            backends.h264_profiles,
            pads,
            (told.udp_ports[0], told.udp_ports[-1]) if told.udp_ports else None,
        )

    def _tell(self, message: ipc.Message) -> None:
        """Say something to the agent. To one that is gone nothing: the end of its pipe ends us in order."""
        try:
            self._pipe.send(message)
        except ipc.IpcError as error:
            logger.warning("%s was not told: %s", type(message).__name__, error)

    def _tell_held(self, keys: tuple[int, ...], buttons: tuple[int, ...]) -> None:
        self._tell(ipc.HeldInput(keys, buttons))

    def _fault(self, about: str, form: str, reason: str) -> None:
        """Of a pipeline, on one of its threads."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            self._loop.call_soon_threadsafe(self._tell, ipc.Notice(about, form.format(reason)))

    def _settle(self) -> None:
        """See that pictures go on; make the releases that are owed; give the display back when nobody is here."""
        self._settling = self._loop.call_later(SETTLE_S, self._settle)
        if not self._shared.video.look():
            logger.critical(
                "several encoders hang: this process ends, so that another one is started"
            )
            lifeline.end_within_grace(0)
        if self._sessions:
            self._conduct()
            self._shared.hands.settle()
        else:
            self._shared.hands.rest()

    def _gather(self) -> None:
        """Tell what the sessions' figures are."""
        self._gathering = self._loop.call_later(telemetry.EVERY_S, self._gather)
        figures = [session.figures() for session in self._sessions.values()]
        known = tuple(figure for figure in figures if figure is not None)
        self._tell(ipc.Figures(telemetry.gathered(known)))

    async def ready(self) -> ipc.Ready:
        """What will be used, and what is missing in words."""
        found, silence = ipc.Ready((self._configure.source,), ()), SILENT
        try:
            async with asyncio.timeout(PROBE_LIMIT_S):
                found = await self._loop.run_in_executor(self._probes, self._look_at_picture)
                silence = UNKNOWN
                return await self._loop.run_in_executor(self._probes, self._look_further, found)
        except TimeoutError:
            problem = silence
        except Exception as error:
            logger.exception("a backend broke while it was looked at")
            problem = f"a backend broke unexpectedly ({type(error).__name__}): see the log"
        return ipc.Ready(found.uses, (*found.problems, problem))

    def _look_at_picture(self) -> ipc.Ready:
        source = self._configure.source
        backends.begin_trials()
        uses = (backends.capture_used(source),)
        problem = backends.capture_problem(source)
        return ipc.Ready(uses, () if problem is None else (f"no picture: {problem}",))

    def _look_further(self, picture: ipc.Ready) -> ipc.Ready:
        uses, problems = list(picture.uses), list(picture.problems)
        for codec in CODECS:
            encoder, why = backends.encoder_of(codec)
            if encoder is not None:
                uses.append(encoder.name)
            else:
                problems.append(f"no {codec}: {'; '.join(why)}")
        try:
            injector = backends.open_injector(self._configure.source)
        except InputUnavailable as error:
            problems.append(f"no input: {error}")
        else:
            uses.append(injector.name)
            injector.close()
        return ipc.Ready(tuple(uses), tuple(problems))

    def on_message(self, message: ipc.Message) -> None:
        """A message of the agent."""
        match message:
            case ipc.OpenSession():
                self._open(message)
            case ipc.Ping():
                self._tell(ipc.Pong())
            case ipc.AppChanged(name, state, group, words):
                self._shared.desk.app_changed(name, state, group, words)
            case ipc.RemoteCandidate(number, candidate, mid, index):
                if (session := self._sessions.get(number)) is not None:
                    self._start(session.add_candidate(Candidate(candidate, mid, index)))
            case ipc.LoseSession(number):
                if (session := self._sessions.get(number)) is not None:
                    session.lose()
            case ipc.CloseSession(number, reason):
                if (session := self._sessions.get(number)) is not None:
                    self._start(session.close(reason))
            case _:
                logger.error("the agent sent %s, which is ours", type(message).__name__)

    async def close(self) -> None:
        """End every session; what is held is released first."""
        self._settling.cancel()
        self._gathering.cancel()
        self._shared.hands.close()
        sessions = list(self._sessions.values())
        try:
            async with asyncio.timeout(CLOSE_LIMIT_S):
                await asyncio.gather(*(session.close("the host stopped") for session in sessions))
                await self._loop.run_in_executor(self._teardown, self._shared.hands.close)
        except TimeoutError:
            logger.error("the sessions did not end in %.0f s", CLOSE_LIMIT_S)  # noqa: TRY400 - no bug of ours
        for timer in (self._conducting, self._giving_back):
            if timer is not None:
                timer.cancel()
        self._teardown.shutdown(wait=False)
        self._probes.shutdown(wait=False)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a session's task failed", exc_info=error)

    def _open(self, message: ipc.OpenSession) -> None:
        """Make the session at once, so that what the agent says of it next finds it."""
        number = message.session
        role: Role = "player" if message.role == "player" else "viewer"
        if len(self._sessions) >= MAX_SESSIONS:
            self._tell(ipc.SessionRefused(number, f"{MAX_SESSIONS} browsers are connected"))
            return
        session = Session(number, role, self._shared, self._callbacks(number))
        if (former := self._sessions.get(message.former)) is not None:
            session.follow(former)
        self._sessions[number] = session
        self._start(self._answer(session, message))

    async def _answer(self, session: Session, message: ipc.OpenSession) -> None:
        """Answer or refuse the offer, unless the session was closed meanwhile.

        Whether there is a picture is looked at while the browser connects: it can be refused then, too.
        """
        number, refusal = session.number, None
        try:
            if number in self._sessions:
                sdp = await session.answer(message.sdp, message.ice_servers)
                if number in self._sessions:
                    self._tell(ipc.SessionAnswer(number, sdp))
                    session.prepare()
                    refusal = await self._problem()
        except ValueError as error:
            refusal = str(error)
        except Exception as error:
            if number in self._sessions:
                logger.error("session %d: its offer was not answered", number, exc_info=error)  # noqa: TRY400 - with the traceback
            refusal = BROKEN
        if number not in self._sessions:
            await session.close("closed while its offer was answered")
        elif refusal is not None:
            self._tell(ipc.SessionRefused(number, refusal))
            await session.close("refused")

    async def _problem(self) -> str | None:
        """Why no picture can be shown now, in words, or None."""
        source = self._configure.source
        await asyncio.sleep(PICTURE_S)
        if self._shared.video.has_picture:
            return None
        try:
            async with asyncio.timeout(PROBE_LIMIT_S):
                return await self._loop.run_in_executor(
                    self._probes, backends.capture_problem, source
                )
        except TimeoutError:
            return SILENT

    def _callbacks(self, number: int) -> Callbacks:
        def candidate(found: Candidate) -> None:
            self._tell(
                ipc.LocalCandidate(number, found.candidate, found.sdp_mid, found.sdp_mline_index)
            )

        def connected() -> None:
            self._tell(ipc.SessionConnected(number))
            self._conduct()

        def silent() -> None:
            self._tell(ipc.SessionSilent(number))

        return Callbacks(
            candidate, connected, silent, self._rate_changed, partial(self._closed, number)
        )

    def _rate_changed(self) -> None:
        """Of any session: conduct at once, but not more often than each CONDUCT_S."""
        if self._conducting is not None:
            return
        due = self._conducted_at + CONDUCT_S
        if due <= self._loop.time():
            self._conduct()
        else:
            self._conducting = self._loop.call_at(due, self._conduct)

    def _conduct(self) -> None:
        """Of each codec the first player's path says the rate; whoever's carries less shares the lower picture."""
        if self._conducting is not None:
            self._conducting.cancel()
            self._conducting = None
        self._conducted_at = self._loop.time()
        slowest_bps = self._shared.bitrate_bps
        video = self._shared.video
        for codec, tiers in self._tiers.items():
            watching = [s for s in self._sessions.values() if s.connected and s.codec == codec]
            if not watching:
                continue
            plan = tiers.decide([session.path for session in watching], self._loop.time())
            slowest_bps = min(slowest_bps, plan.main_bps)
            video.set_bitrate(codec, plan.main_bps, room=plan.room)
            if plan.lower_bps is not None:
                video.set_bitrate(codec, plan.lower_bps, "lower")
            for session in watching:
                session.steer("lower" if session.number in plan.lower else "main")
        if self._shared.audio is not None:
            losses = [s.sound_loss for s in self._sessions.values() if s.connected]
            settings = self._sound.decide(slowest_bps, max(losses, default=0.0))
            self._shared.audio.adapt(settings)

    def _closed(self, number: int, reason: str) -> None:
        session = self._sessions.pop(number, None)
        if session is None:
            return
        if not self._sessions:
            self._shared.hands.rest()
        self._conduct()
        self._start(self._leave(session, reason))

    async def _leave(self, session: Session, reason: str) -> None:
        await self._loop.run_in_executor(self._teardown, session.leave)
        self._tell(ipc.SessionClosed(session.number, reason))
        self.give_memory_back_soon()

    def give_memory_back_soon(self) -> None:
        """What the start or the last session needed, unless another session begins."""
        if self._giving_back is not None:
            self._giving_back.cancel()
        self._giving_back = self._loop.call_later(GIVE_BACK_S, self._give_memory_back)

    def _give_memory_back(self) -> None:
        if not self._sessions:
            memory.give_back()


class _Inbox:
    """Reads the agent's frames on a thread and hands them to the event loop."""

    def __init__(self, descriptor: int) -> None:
        self._loop = asyncio.get_running_loop()
        self.stop = asyncio.Event()
        self.configure: asyncio.Future[ipc.Configure] = self._loop.create_future()
        self.media: Media | None = None
        threading.Thread(target=self._read, args=(descriptor,), name="ipc", daemon=True).start()

    def _read(self, descriptor: int) -> None:
        try:
            for message in ipc.messages(descriptor):
                self._loop.call_soon_threadsafe(self._take, message)
        except ipc.IpcError as error:
            logger.error("the agent's pipe failed: %s", error)  # noqa: TRY400 - no bug of ours here
        lifeline.end_within_grace()
        self._loop.call_soon_threadsafe(self.stop.set)

    def end(self) -> None:
        """Stop in an orderly way, or after the grace in any way."""
        lifeline.end_within_grace()
        self.stop.set()

    def _take(self, message: ipc.Message) -> None:
        match message:
            case ipc.Stop():
                self.end()
            case ipc.Configure() if not self.configure.done():
                self.configure.set_result(message)
            case _ if self.media is not None:
                self.media.on_message(message)
            case _:
                logger.error("the agent sent %s before Ready", type(message).__name__)


async def serve(read: int, write: int) -> None:
    """Serve the agent on these two pipes until it says Stop, ends, or SIGTERM comes."""
    inbox = _Inbox(read)
    pipe = ipc.PipeWriter(write)
    if sys.platform != "win32":  # there the end of the pipe is the one way to say it
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, inbox.end)
    async with asyncio.timeout(CONFIGURE_LIMIT_S):
        configure = await inbox.configure
    media = inbox.media = Media(configure, pipe)
    ready = await media.ready()
    if sys.platform == "win32":
        from agent import mitigations  # noqa: PLC0415 - of Windows only

        mitigations.apply()  # the encoders' trials, which are processes, have begun
    pipe.send(ready)
    media.give_memory_back_soon()
    gc.collect()
    gc.freeze()
    await inbox.stop.wait()
    await media.close()


def main() -> None:
    """The process: standard output belongs to the frames, so whatever prints goes to standard error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the agent's; it says Stop
    if sys.platform == "win32":
        signal.signal(signal.SIGBREAK, signal.SIG_IGN)
    logs.configure(os.environ.get("TIGHTBEAM_LOG_FORMAT", "text"))
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    read, write = os.dup(0), os.dup(1)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    # Named for Windows, whose default gives a UDP socket up when a destination was unreachable
    # (python/cpython#127057): ICE tries those all the time.
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(serve(read, write))


if __name__ == "__main__":
    main()
