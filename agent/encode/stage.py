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
    encoder: VideoEncoder | None = None
    size: tuple[int, int] = (0, 0)
    profile: Profile = "baseline"
    """What the encoder was opened for."""
    retry_at: float = 0.0
    fault: str = ""
    broken: dict[str, str] = field(default_factory=dict)
    """Encoders that broke down, and why: the next one takes over until there is none left."""

    def is_urgent(self, now: float) -> bool:
        """Whether a key frame must be made although nothing moved."""
        return self.keyframe_wanted and self.retry_at <= now


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
        self._newest_us = 0
        self._refresh = Refresh(rate.fps)
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="encode", daemon=True)

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

    def set_bitrate(self, codec: VideoCodec, bitrate_bps: int) -> None:
        """Aim at another rate from the next picture on."""
        with self._work:
            if codec in self._rungs:
                self._rungs[codec].bitrate_bps = bitrate_bps

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
                    budget_bytes = self._rate.bitrate_bps / self._rate.fps / 8
                    self._refresh.repeated(now, max(sizes, default=0) / budget_bytes)
                else:
                    self._refresh.changed(now)
        finally:
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
        return replace(frame, captured_us=self._in_order(now_us), grab_us=0, changed=NOWHERE)

    def _in_order(self, captured_us: int) -> int:
        """The time of a picture, later than all before: a repeat may have been made while it was read."""
        self._newest_us = max(captured_us, self._newest_us + MIN_STEP_US)
        return self._newest_us

    def _encode(self, codec: VideoCodec, rung: Rung, frame: Frame) -> AccessUnit | None:
        with self._work:
            if self._rungs.get(codec) is not rung or time.monotonic() < rung.retry_at:
                return None
            bitrate_bps, keyframe = rung.bitrate_bps, rung.keyframe_wanted
            rung.keyframe_wanted = False
        try:
            encoder = self._ready_encoder(codec, rung, frame, bitrate_bps)
            unit = encoder.encode(frame, keyframe=keyframe)
        except EncoderUnavailable as problem:
            self._give_up_for_now(codec, rung, str(problem))
            return None
        except Exception as problem:
            logger.exception("the %s encoder broke", codec)
            words = f"encoding failed unexpectedly ({type(problem).__name__}): see the log"
            self._give_up_for_now(codec, rung, words)
            return None
        rung.fault = ""
        self._deliver(unit)
        self._on_unit(unit)
        return unit

    def _ready_encoder(
        self, codec: VideoCodec, rung: Rung, frame: Frame, bitrate_bps: int
    ) -> VideoEncoder:
        """The codec's encoder, opened for the picture's size and aimed at the wanted rate."""
        width, height = frame.size
        profile = self._profile_for(codec)
        if rung.encoder is not None and (rung.size, rung.profile) == ((width, height), profile):
            rung.encoder.set_bitrate(bitrate_bps)
            return rung.encoder
        if rung.encoder is not None:
            _close(rung.encoder)
            rung.encoder = None
        settings = EncoderSettings(width, height, self._rate.fps, bitrate_bps, profile)
        encoder = self._open_encoder(codec, settings, rung.broken)
        logger.info("encoding %s by %s at %dx%d", codec, encoder.name, width, height)
        with self._work:
            rung.size, rung.profile = (width, height), profile
            rung.encoder = encoder
            if self._rungs.get(codec) is not rung:
                self._abandoned.append(encoder)
        return encoder

    def _profile_for(self, codec: VideoCodec) -> Profile:
        """The most that all viewers of a codec decode."""
        with self._work:
            wanted = {viewer.profile for viewer in self._viewers.values() if viewer.codec == codec}
        return min(wanted, key=PROFILES.index, default="baseline")

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
