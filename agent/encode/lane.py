"""A lane of the encode stage: one thread that drives the encoders of some rungs, and its successor when one hangs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from agent.capture.base import Box, Frame
from agent.encode.base import (
    AccessUnit,
    EncoderSettings,
    EncoderUnavailable,
    VideoCodec,
    VideoEncoder,
)
from agent.encode.pictures import Picture, Pictures
from agent.encode.rung import Rung, RungId

logger = logging.getLogger(__name__)

OpenEncoder = Callable[[VideoCodec, EncoderSettings, Collection[str]], VideoEncoder]
"""Opens the best encoder of a codec whose name is not in the collection; raises EncoderUnavailable."""

RETRY_S = 2.0
"""How long encoders are left alone when none of a codec's can be opened or goes on."""

REST_S = 0.1
"""From one lower picture to the next while the player loses some: where all cores are busy it would take their time."""

HUNG_LOOKS = 6
"""A call to an encoder that is still not over when `look` finds it for this many times in a row hangs. Counted, not
timed, so that a pause of this process (a suspended machine) is not taken for one of the encoder."""

OPENING_LOOKS = 40
"""The same while an encoder is opened: the first use of a graphics card may take seconds."""

MOST_HUNG = 3
"""Threads that may be left behind in encoders that never return: as many as may hang one after the other."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What a lane has from the stage."""

    open_encoder: OpenEncoder
    settings_for: Callable[[RungId, Rung, Frame], EncoderSettings]
    """What the rung's encoder has to be opened with now. Called with the lock held."""
    deliver: Callable[[RungId, AccessUnit], None]
    """Called without the lock, on the lane's thread."""
    on_fault: Callable[[str], None]
    """Words for the user; it must wait for nobody. Called on the lane's thread, and by `look`."""


@dataclass(slots=True, eq=False)
class _Call:
    """The thread is at an encoder: opens it (there is none yet), encodes, or closes it."""

    codec: VideoCodec
    encoder: VideoEncoder | None
    job: _Job | None = None
    """None: the encoder is closed, as nobody needs it any more."""
    looks: int = 0


@dataclass(frozen=True, slots=True)
class _Job:
    """One picture for one rung."""

    rung_id: RungId
    rung: Rung
    picture: Picture
    frame: Frame
    """Of the picture, with its time, and with what has changed for this rung."""
    new: bool
    """Whether the rung has not had this picture."""
    keyframe: bool
    settings: EncoderSettings


class _ReplacedError(BaseException):
    """The lane went on without this thread, which must end and touch nothing; no failure of an encoder."""


class Lane:
    """Encodes the newest picture for its rungs, one after the other, in a thread of the name given.

    Each encoder is that thread's alone. All methods but `join` are called with the lock of `pictures` held.
    """

    def __init__(self, name: str, pictures: Pictures, orders: Orders) -> None:
        self.rungs: dict[RungId, Rung] = {}
        self.dropped = 0
        """Pictures that were replaced before the thread had time for them."""
        self._name = name
        self._pictures = pictures
        self._orders = orders
        self._work = threading.Condition(pictures.lock)
        self._looked = True
        """Whether the thread has seen the newest picture."""
        self._abandoned: list[VideoEncoder] = []
        self._call: _Call | None = None
        self._left_behind: list[threading.Thread] = []
        self._thread: threading.Thread | None = None

    def watch(self, rung_id: RungId, rung: Rung) -> None:
        """Encode for one rung more; the first one starts the thread."""
        self.rungs[rung_id] = rung
        if self._thread is None:
            self._start_thread()

    def unwatch(self, rung_id: RungId) -> None:
        """Encode no more for this rung; the thread closes what was open."""
        encoder = self.rungs.pop(rung_id).encoder
        if encoder is not None:
            self._abandoned.append(encoder)
            self.wake()

    def saw(self, changed: Box | None) -> None:
        """A new picture is there, which this changed."""
        if self.rungs:
            self.dropped += not self._looked
            self._looked = False
            for rung in self.rungs.values():
                rung.saw(changed)
            self.wake()

    def rest(self) -> None:
        """The player has lost a picture: its encoder gets more time."""
        for rung in self.rungs.values():
            rung.not_before = max(rung.not_before, rung.begun_at + REST_S)

    def wake(self) -> None:
        """Have the thread look for what is due, or end when the pictures are closed."""
        self._work.notify()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread; False when it still runs."""
        if self._thread is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def look(self) -> bool:
        """Whether encoding can go on; call it some times a second. An encoder that hangs is left behind.

        Its thread cannot be ended: it stays in the encoder's code, and should it ever come back it closes the
        encoder and ends. Another thread takes its place, with the next encoder, until too many are left behind (False).
        """
        call = self._call
        if call is None or self._pictures.closed:
            return True
        call.looks += 1
        failed, job = call.encoder, call.job
        if failed is None:
            if job is not None and call.looks == OPENING_LOOKS:
                self._tell(job, f"an encoder of {call.codec} video hangs while it is opened")
            return call.looks < 2 * OPENING_LOOKS
        if call.looks < HUNG_LOOKS:
            return True
        self._left_behind = [thread for thread in self._left_behind if thread.is_alive()]
        if len(self._left_behind) == MOST_HUNG:
            if job is not None and call.looks == HUNG_LOOKS:
                self._tell(job, f"{failed.name} hangs, as did those before it")
            return False
        logger.warning("%s of %s video hangs and is left alone", failed.name, call.codec)
        if job is not None:
            job.rung.lose_encoder(f"{failed.name} hangs")
        self._abandoned = [encoder for encoder in self._abandoned if encoder is not failed]
        self._end_call(call)
        if self._thread is not None:
            self._left_behind.append(self._thread)
        self._start_thread()
        return True

    def _tell(self, job: _Job, reason: str) -> None:
        """Why a rung makes no picture."""
        job.rung.fault = reason
        logger.warning("no %s video: %s", job.rung_id.codec, reason)
        self._orders.on_fault(reason)

    def _start_thread(self) -> None:
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while (call := self._next_call()) is not None:
                if call.job is not None:
                    self._encode(call, call.job)
                elif call.encoder is not None:
                    _close(call.encoder)
                    self._came_back(call)
        except _ReplacedError:
            logger.info("an encoder that hung came back; it is closed")
            return
        except BaseException:
            self._close_all()
            raise
        self._close_all()

    def _next_call(self) -> _Call | None:
        """Wait for something to do; None when stopping."""
        with self._work:
            while not self._pictures.closed:
                self._looked = True
                now = time.monotonic()
                if self._abandoned:
                    encoder = self._abandoned.pop()
                    self._call = _Call(encoder.codec, encoder)
                elif (job := self._next_job(now)) is not None:
                    self._call = _Call(job.rung_id.codec, job.rung.encoder, job)
                else:
                    self._work.wait(self._time_to_wait(now))
                    continue
                return self._call
            return None

    def _next_job(self, now: float) -> _Job | None:
        """Of the rungs that are due the one that has waited longest gets the newest picture."""
        picture = self._pictures.newest
        due = [item for item in self.rungs.items() if item[1].is_due(now)]
        if picture is None or not due:
            return None
        rung_id, rung = min(due, key=lambda item: item[1].begun_at)
        new = rung.fresh
        frame = picture.frame if new else self._pictures.again(picture)
        frame = replace(frame, changed=rung.unseen)
        keyframe = rung.begin(now)
        settings = self._orders.settings_for(rung_id, rung, frame)
        return _Job(rung_id, rung, self._pictures.hold(picture), frame, new, keyframe, settings)

    def _time_to_wait(self, now: float) -> float | None:
        """Until the next repeat, or until a key frame is due or tried again."""
        deadlines = [rung.next_deadline(now) for rung in self.rungs.values()]
        return min((at - now for at in deadlines if at is not None), default=None)

    def _encode(self, call: _Call, job: _Job) -> None:
        unit: AccessUnit | None = None
        problem = ""
        try:
            encoder = self._ready_encoder(call, job)
            unit = encoder.encode(job.frame, keyframe=job.keyframe)
        except EncoderUnavailable as error:
            problem = str(error)
        except Exception as error:
            logger.exception("the %s encoder broke", call.codec)
            problem = f"encoding failed unexpectedly ({type(error).__name__}): see the log"
        self._came_back(call)
        if unit is None:
            self._give_up_for_now(job, problem)
            return
        with self._pictures.lock:
            job.rung.encoded(unit, time.monotonic(), new=job.new)
        self._orders.deliver(job.rung_id, unit)

    def _came_back(self, call: _Call) -> None:
        """The call is over. Raises _ReplacedError when the lane did not wait for it."""
        with self._pictures.lock:
            if self._call is call:
                self._end_call(call)
                return
        if call.encoder is not None:
            _close(call.encoder)
        raise _ReplacedError

    def _end_call(self, call: _Call) -> None:
        self._call = None
        if call.job is not None:
            self._pictures.let_go(call.job.picture)

    def _ready_encoder(self, call: _Call, job: _Job) -> VideoEncoder:
        """The rung's encoder, opened for the settings and aimed at their rate."""
        rung, settings = job.rung, job.settings
        before = call.encoder
        if before is not None and rung.opened is not None and _suits(before, rung.opened, settings):
            before.set_bitrate(settings.bitrate_bps)
            return before
        if before is not None:
            _close(before)
            with self._pictures.lock:
                if self._call is not call:
                    raise _ReplacedError
                call.encoder = rung.encoder = None
        encoder = self._orders.open_encoder(call.codec, settings, rung.broken)
        size = settings.width // settings.size_divisor, settings.height // settings.size_divisor
        tier = job.rung_id.tier
        room = ", with room for large pictures" if settings.room and encoder.uses_room else ""
        logger.info(
            "encoding %s (%s) by %s at %dx%d%s", call.codec, tier, encoder.name, *size, room
        )
        with self._pictures.lock:
            call.looks = 0
            rung.opened = settings
            call.encoder = rung.encoder = encoder
            if self.rungs.get(job.rung_id) is not rung:
                self._abandoned.append(encoder)
        return encoder

    def _give_up_for_now(self, job: _Job, reason: str) -> None:
        """After a failure: an encoder that broke down is closed, and replaced at once if any other can be opened."""
        rung = job.rung
        with self._pictures.lock:
            failed = rung.encoder
            rung.lose_encoder(reason)
            if failed is None:
                reason = "; ".join(rung.broken.values()) or reason
                rung.broken.clear()
                rung.not_before = time.monotonic() + RETRY_S
            elif self.rungs.get(job.rung_id) is rung:  # else it is there already
                self._abandoned.append(failed)
        if failed is not None:
            logger.warning("%s of %s video broke down: %s", failed.name, job.rung_id.codec, reason)
        elif reason != rung.fault:
            self._tell(job, reason)

    def _close_all(self) -> None:
        with self._pictures.lock:
            encoders = [rung.encoder for rung in self.rungs.values() if rung.encoder]
            encoders += self._abandoned
            self.rungs.clear()
            self._abandoned = []
        for encoder in encoders:
            _close(encoder)


def _suits(encoder: VideoEncoder, opened: EncoderSettings, settings: EncoderSettings) -> bool:
    """Whether it can go on as it was opened, with another bitrate at most."""
    room = settings.room if encoder.uses_room else opened.room
    return opened == replace(settings, bitrate_bps=opened.bitrate_bps, room=room)


def _close(encoder: VideoEncoder) -> None:
    """A driver that breaks while it is closed must not take the thread with it."""
    try:
        encoder.close()
    except Exception:
        logger.exception("%s could not be closed", encoder.name)
