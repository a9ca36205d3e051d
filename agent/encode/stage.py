"""The encode stage: one thread that encodes each picture once per codec and hands it to viewers."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace

from agent.capture.base import NOWHERE, Frame
from agent.encode.base import (
    PROFILES,
    AccessUnit,
    EncoderSettings,
    EncoderUnavailable,
    Profile,
    VideoCodec,
    VideoEncoder,
)
from agent.encode.refresh import Refresh
from agent.mailbox import Mailbox

logger = logging.getLogger(__name__)

Sink = Callable[[AccessUnit], None]
OpenEncoder = Callable[[VideoCodec, EncoderSettings, Collection[str]], VideoEncoder]
"""Opens the best encoder of a codec whose name is not in the collection; raises EncoderUnavailable."""

MIN_STEP_US = 1_000
"""Between two pictures: more than 1/90000 s, so that their RTP timestamps differ."""

RETRY_S = 2.0
"""How long encoders are left alone when none of a codec's can be opened or goes on."""

HUNG_LOOKS = 6
"""A call to an encoder that is still not over when `look` finds it for this many times in a row hangs. Counted, not
timed, so that a pause of this process (a suspended machine) is not taken for one of the encoder."""

OPENING_LOOKS = 40
"""The same while an encoder is opened: the first use of a graphics card may take seconds."""

MOST_HUNG = 3
"""Threads that may be left behind in encoders that never return: as many as may hang one after the other."""


@dataclass(frozen=True, slots=True)
class StageRate:
    """Frames a second, and the bitrate that a codec starts with."""

    fps: int
    bitrate_bps: int


@dataclass(slots=True)
class Viewer:
    """Who gets the access units of one codec."""

    codec: VideoCodec
    sink: Sink
    profile: Profile = "baseline"
    """Of H.264: the most that it decodes."""
    started: bool = False
    """Whether it had its first key frame; nothing before that can be decoded."""


@dataclass(slots=True)
class Rung:
    """One codec's encoder and what is wanted of it. The encoder is the encode thread's alone."""

    bitrate_bps: int
    keyframe_wanted: bool = True
    size_divisor: int = 1
    """The picture is encoded at this part of its width and height."""
    encoder: VideoEncoder | None = None
    opened: EncoderSettings | None = None
    """What the encoder was opened with."""
    retry_at: float = 0.0
    fault: str = ""
    broken: dict[str, str] = field(default_factory=dict)
    """Encoders that broke down, and why: the next one takes over until there is none left."""

    def is_urgent(self, now: float) -> bool:
        """Whether a key frame must be made although nothing moved."""
        return self.keyframe_wanted and self.retry_at <= now


@dataclass(slots=True)
class _Call:
    """The encode thread is at this rung's encoder, or opens it."""

    codec: VideoCodec
    rung: Rung
    looks: int = 0


class _ReplacedError(BaseException):
    """The stage went on without this thread, which must end and touch nothing; no failure of an encoder."""


class EncodeStage:
    """Runs the encoders in a thread named `encode`.

    Pictures arrive by `offer` from the capture thread, through a one-slot mailbox. The last picture
    is kept, so that a key frame can be made while nothing moves. `_work` guards all that is shared.
    `on_fault` (words for the user) and `on_unit` (after delivery) are called on the encode thread.
    """

    def __init__(
        self,
        open_encoder: OpenEncoder,
        rate: StageRate,
        on_fault: Callable[[str], None],
        on_unit: Callable[[AccessUnit], None],
    ) -> None:
        self._open_encoder = open_encoder
        self._rate = rate
        self._on_fault = on_fault
        self._on_unit = on_unit
        self._work = threading.Condition()
        self._mailbox: Mailbox[Frame] = Mailbox()
        self._viewers: dict[str, Viewer] = {}
        self._rungs: dict[VideoCodec, Rung] = {}
        self._abandoned: list[VideoEncoder] = []
        self._last: Frame | None = None
        self._missed = False
        """An encoder hung at a picture that other rungs have not had: their next one must be whole."""
        self._newest_us = 0
        self._fps = rate.fps
        self._refresh = Refresh(rate.fps)
        self._stopping = False
        self._call: _Call | None = None
        self._left_behind: list[threading.Thread] = []
        self._thread = self._new_thread()

    @property
    def dropped(self) -> int:
        """Pictures that were replaced before they were encoded."""
        return self._mailbox.dropped

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def request_stop(self) -> None:
        """Ask the thread to give back every picture, close the encoders and end."""
        with self._work:
            self._stopping = True
            self._work.notify()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread; False when it still runs."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def offer(self, frame: Frame) -> None:
        """Hand over a picture; one that was not taken yet is dropped for it."""
        with self._work:
            if self._stopping:
                refused: Frame | None = frame
            else:
                refused = self._mailbox.put(frame)
                if refused is not None:
                    frame.follow(refused)
            self._work.notify()
        if refused is not None:
            refused.release()

    def add_viewer(self, viewer_id: str, viewer: Viewer) -> None:
        """Serve one viewer more; it begins with a key frame."""
        with self._work:
            self._viewers[viewer_id] = viewer
            rung = self._rungs.setdefault(viewer.codec, Rung(self._rate.bitrate_bps))
            rung.keyframe_wanted = True
            rung.retry_at = 0.0
            self._work.notify()

    def remove_viewer(self, viewer_id: str) -> bool:
        """Stop serving a viewer; returns whether any is left. Closes a codec that nobody watches."""
        with self._work:
            self._viewers.pop(viewer_id, None)
            watched = {viewer.codec for viewer in self._viewers.values()}
            for codec in [codec for codec in self._rungs if codec not in watched]:
                encoder = self._rungs.pop(codec).encoder
                if encoder is not None:
                    self._abandoned.append(encoder)
            self._work.notify()
            return bool(self._viewers)

    def request_keyframe(self, codec: VideoCodec) -> None:
        """Make the next unit of `codec` a key frame, at once even when nothing moves."""
        with self._work:
            if codec in self._rungs:
                self._rungs[codec].keyframe_wanted = True
                self._work.notify()

    def set_rate(self, codec: VideoCodec, bitrate_bps: int, size_divisor: int) -> None:
        """Aim at another rate from the next picture on; another size begins with a key frame."""
        with self._work:
            if codec in self._rungs:
                self._rungs[codec].bitrate_bps = bitrate_bps
                self._rungs[codec].size_divisor = size_divisor

    def set_fps(self, fps: int) -> None:
        """As many pictures as this come a second while all moves."""
        with self._work:
            self._fps = self._refresh.fps = fps

    def watched(self) -> set[VideoCodec]:
        """The codecs that somebody watches."""
        with self._work:
            return set(self._rungs)

    def look(self) -> bool:
        """Whether encoding can go on; call it some times a second. An encoder that hangs is left behind.

        Its thread cannot be ended: it stays in the encoder's code, and should it ever come back it closes the
        encoder and ends. Another thread takes its place, with the next encoder. False: too many are left behind.
        """
        with self._work:
            call = self._call
            if call is None or self._stopping:
                return True
            call.looks += 1
            failed = call.rung.encoder
            if failed is None:
                if call.looks == OPENING_LOOKS:
                    self._on_fault(f"an encoder of {call.codec} video hangs while it is opened")
                return call.looks < 2 * OPENING_LOOKS
            if call.looks < HUNG_LOOKS:
                return True
            logger.warning("%s of %s video hangs and is left alone", failed.name, call.codec)
            call.rung.broken[failed.name] = f"{failed.name} hangs"
            call.rung.encoder, call.rung.keyframe_wanted = None, True
            self._abandoned = [encoder for encoder in self._abandoned if encoder is not failed]
            self._call = None
            self._missed = True
            self._left_behind = [thread for thread in self._left_behind if thread.is_alive()]
            self._left_behind.append(self._thread)
            self._thread = self._new_thread()
            self._thread.start()
            return len(self._left_behind) <= MOST_HUNG

    def _new_thread(self) -> threading.Thread:
        return threading.Thread(target=self._run, name="encode", daemon=True)

    def encoders(self) -> dict[VideoCodec, str]:
        """The names of the encoders that are open."""
        with self._work:
            rungs = self._rungs.items()
            return {codec: rung.encoder.name for codec, rung in rungs if rung.encoder}

    def _run(self) -> None:
        try:
            while (work := self._next_work()) is not None:
                frame, rungs, repeat = work
                spent = [self._encode(codec, rung, frame) for codec, rung in rungs]
                now = time.monotonic()
                if repeat and not any(unit.keyframe for unit in spent if unit is not None):
                    sizes = [len(unit.payload) for unit in spent if unit is not None]
                    most_bps = max((rung.bitrate_bps for _, rung in rungs), default=1)
                    budget_bytes = most_bps / self._fps / 8
                    self._refresh.repeated(now, max(sizes, default=0) / budget_bytes)
                else:
                    self._refresh.changed(now)
        except _ReplacedError:
            logger.info("an encoder that hung came back; it is closed")
            return
        except BaseException:
            self._give_everything_back()
            raise
        self._give_everything_back()

    def _next_work(self) -> tuple[Frame, list[tuple[VideoCodec, Rung]], bool] | None:
        """Wait for a picture: it, for whom, and whether it was seen before; None when stopping."""
        with self._work:
            while not self._stopping:
                self._close_abandoned()
                fresh = self._mailbox.take()
                if fresh is not None:
                    if self._last is not None:
                        self._last.release()
                    self._last = fresh
                    if self._missed:
                        fresh.changed, self._missed = None, False
                    fresh.captured_us = self._in_order(fresh.captured_us)
                    return fresh, list(self._rungs.items()), False
                now = time.monotonic()
                due = self._due(now) if self._last is not None else []
                if self._last is not None and due:
                    return self._again(self._last), due, True
                self._work.wait(self._time_to_wait(now))
            return None

    def _due(self, now: float) -> list[tuple[VideoCodec, Rung]]:
        """For whom the last picture is encoded again now."""
        deadline = self._refresh.next_deadline()
        everyone = deadline is not None and now >= deadline
        return [item for item in self._rungs.items() if everyone or item[1].is_urgent(now)]

    def _time_to_wait(self, now: float) -> float | None:
        """Until the next repeat, or until a key frame that failed is tried again."""
        retries = [rung.retry_at for rung in self._rungs.values() if rung.keyframe_wanted]
        deadlines = [at for at in (self._refresh.next_deadline(), *retries) if at is not None]
        later = [at - now for at in deadlines if at > now]
        return min(later, default=None)

    def _again(self, frame: Frame) -> Frame:
        """The same picture, as of now: its RTP timestamp must be a new one."""
        now_us = time.monotonic_ns() // 1000
        changed = None if self._missed else NOWHERE
        return replace(frame, captured_us=self._in_order(now_us), grab_us=0, changed=changed)

    def _in_order(self, captured_us: int) -> int:
        """The time of a picture, later than all before: a repeat may have been made while it was read."""
        self._newest_us = max(captured_us, self._newest_us + MIN_STEP_US)
        return self._newest_us

    def _encode(self, codec: VideoCodec, rung: Rung, frame: Frame) -> AccessUnit | None:
        with self._work:
            if self._rungs.get(codec) is not rung or time.monotonic() < rung.retry_at:
                return None
            # Encoders believe in the frame rate that they were opened for: for each picture to have its
            # share at a lower one they are told of more.
            bitrate_bps = rung.bitrate_bps * self._rate.fps // self._fps
            settings = self._settings_for(codec, rung, frame, bitrate_bps)
            keyframe, rung.keyframe_wanted = rung.keyframe_wanted, False
            call = self._call = _Call(codec, rung)
            encoder = rung.encoder
        unit: AccessUnit | None = None
        problem = ""
        try:
            encoder = self._ready_encoder(call, settings)
            unit = encoder.encode(frame, keyframe=keyframe)
        except EncoderUnavailable as error:
            problem = str(error)
        except Exception as error:
            logger.exception("the %s encoder broke", codec)
            problem = f"encoding failed unexpectedly ({type(error).__name__}): see the log"
        self._came_back(call, encoder)
        if unit is None:
            self._give_up_for_now(codec, rung, problem)
            return None
        rung.fault = ""
        self._deliver(unit)
        self._on_unit(unit)
        return unit

    def _came_back(self, call: _Call, encoder: VideoEncoder | None) -> None:
        """The call is over. Raises _ReplacedError when the stage did not wait for it."""
        with self._work:
            if self._call is call:
                self._call = None
                return
        if encoder is not None:
            _close(encoder)
        raise _ReplacedError

    def _settings_for(
        self, codec: VideoCodec, rung: Rung, frame: Frame, bitrate_bps: int
    ) -> EncoderSettings:
        """What the codec's encoder has to be opened with now. Under `_work`."""
        width, height = frame.size
        wanted = {viewer.profile for viewer in self._viewers.values() if viewer.codec == codec}
        least: Profile = "baseline"
        profile = min(wanted, key=PROFILES.index, default=least)
        return EncoderSettings(
            width, height, self._rate.fps, bitrate_bps, profile, rung.size_divisor
        )

    def _ready_encoder(self, call: _Call, settings: EncoderSettings) -> VideoEncoder:
        """The codec's encoder, opened for these settings and aimed at their rate."""
        codec, rung = call.codec, call.rung
        opened = rung.opened and replace(rung.opened, bitrate_bps=settings.bitrate_bps)
        before = rung.encoder
        if before is not None and opened == settings:
            before.set_bitrate(settings.bitrate_bps)
            return before
        if before is not None:
            _close(before)
            with self._work:
                if self._call is not call:
                    raise _ReplacedError
                rung.encoder = None
        encoder = self._open_encoder(codec, settings, rung.broken)
        size = settings.width // settings.size_divisor, settings.height // settings.size_divisor
        logger.info("encoding %s by %s at %dx%d", codec, encoder.name, *size)
        with self._work:
            call.looks = 0
            rung.opened = settings
            rung.encoder = encoder
            if self._rungs.get(codec) is not rung:
                self._abandoned.append(encoder)
        return encoder

    def _give_up_for_now(self, codec: VideoCodec, rung: Rung, reason: str) -> None:
        """After a failure: an encoder that broke down is replaced at once, if any other can be opened."""
        with self._work:
            failed, rung.encoder = rung.encoder, None
            rung.keyframe_wanted = True
            if failed is not None:
                rung.broken[failed.name] = reason
            else:
                reason = "; ".join(rung.broken.values()) or reason
                rung.broken.clear()
                rung.retry_at = time.monotonic() + RETRY_S
        if failed is not None:
            logger.warning("%s of %s video broke down: %s", failed.name, codec, reason)
            _close(failed)
        elif reason != rung.fault:
            rung.fault = reason
            logger.warning("no %s video: %s", codec, reason)
            self._on_fault(reason)

    def _deliver(self, unit: AccessUnit) -> None:
        with self._work:
            targets = [
                (viewer_id, viewer)
                for viewer_id, viewer in self._viewers.items()
                if viewer.codec == unit.codec and (viewer.started or unit.keyframe)
            ]
            for _, viewer in targets:
                viewer.started = True
        for viewer_id, viewer in targets:
            try:
                viewer.sink(unit)
            except Exception:
                logger.exception("viewer %s is dropped: its sink failed", viewer_id)
                with self._work:
                    self._viewers.pop(viewer_id, None)

    def _close_abandoned(self) -> None:
        while self._abandoned:
            _close(self._abandoned.pop())

    def _give_everything_back(self) -> None:
        with self._work:
            self._stopping = True
            waiting, last = self._mailbox.take(), self._last
            self._last = None
            encoders = [rung.encoder for rung in self._rungs.values() if rung.encoder]
            self._rungs.clear()
            self._close_abandoned()
        for encoder in encoders:
            _close(encoder)
        for frame in (waiting, last):
            if frame is not None:
                frame.release()


def _close(encoder: VideoEncoder) -> None:
    """A driver that breaks while it is closed must not take the thread with it."""
    try:
        encoder.close()
    except Exception:
        logger.exception("%s could not be closed", encoder.name)
