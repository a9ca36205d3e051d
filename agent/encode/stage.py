"""The encode stage: one thread that encodes each picture once per rung and hands it to its viewers."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from agent.capture.base import Frame
from agent.encode.base import (
    PROFILES,
    AccessUnit,
    EncoderSettings,
    EncoderUnavailable,
    Profile,
    VideoCodec,
    VideoEncoder,
)
from agent.encode.rung import PATIENCE_S, Rung, RungId, RungRate, Served, Tier, Viewer
from agent.mailbox import Mailbox

logger = logging.getLogger(__name__)

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


@dataclass(slots=True)
class _Call:
    """The encode thread is at this rung's encoder, or opens it."""

    rung_id: RungId
    rung: Rung
    looks: int = 0


class _ReplacedError(BaseException):
    """The stage went on without this thread, which must end and touch nothing; no failure of an encoder."""


class EncodeStage:
    """Runs the encoders in a thread named `encode`.

    Pictures arrive by `offer` from the capture thread, through a one-slot mailbox. The last picture
    is kept, so that a key frame can be made while nothing moves. `_work` guards all that is shared.
    `on_fault` (words for the user) and `on_unit` (a main rung's, after delivery) are called on the
    encode thread, `on_fault` also by `look`, whose lock is held: it must wait for nobody. A rung that
    is not given a rate of its own begins with `rate`.
    """

    def __init__(
        self,
        open_encoder: OpenEncoder,
        rate: RungRate,
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
        self._rungs: dict[RungId, Rung] = {}
        self._rates: dict[RungId, RungRate] = {}
        self._abandoned: list[VideoEncoder] = []
        self._last: Frame | None = None
        self._newest_us = 0
        self._fps = rate.fps
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
            rung = self._watched_rung(RungId(viewer.codec, viewer.tier))
            rung.keyframe_wanted = True
            rung.retry_at = 0.0
            self._work.notify()

    def remove_viewer(self, viewer_id: str) -> bool:
        """Stop serving a viewer; returns whether any is left. Closes a rung that nobody watches."""
        with self._work:
            self._viewers.pop(viewer_id, None)
            self._leave_unwatched()
            self._work.notify()
            return bool(self._viewers)

    def move_viewer(self, viewer_id: str, tier: Tier) -> None:
        """Serve a viewer from another rung, from that one's next key frame on, which is asked for."""
        with self._work:
            viewer = self._viewers.get(viewer_id)
            if viewer is None or tier == (viewer.next_tier or viewer.tier):
                return
            viewer.next_tier = None if tier == viewer.tier else tier
            if viewer.next_tier is not None:
                rung_id = RungId(viewer.codec, tier)
                logger.info("viewer %s goes to the %s picture", viewer_id, tier)
                self._ask_keyframe(rung_id, self._watched_rung(rung_id), viewer)
            self._leave_unwatched()
            self._work.notify()

    def _watched_rung(self, rung_id: RungId) -> Rung:
        """The rung, which begins when somebody watches it. Under `_work`."""
        rung = self._rungs.get(rung_id)
        if rung is None:
            rung = self._rungs[rung_id] = Rung(self._rates.get(rung_id, self._rate))
            rung.aim(rung.rate, self._fps)
        return rung

    def _leave_unwatched(self) -> None:
        """Under `_work`; the encode thread closes what was open."""
        for rung_id in list(self._rungs):
            if not any(viewer.watches(rung_id) for viewer in self._viewers.values()):
                encoder = self._rungs.pop(rung_id).encoder
                if encoder is not None:
                    self._abandoned.append(encoder)

    def request_keyframe(self, viewer_id: str) -> None:
        """Make a key frame of what this viewer gets, also when nothing moves.

        At once, but where the viewer shares the picture of a player: there not more than one a second.
        """
        with self._work:
            viewer = self._viewers.get(viewer_id)
            if viewer is not None:
                rung_id = RungId(viewer.codec, viewer.tier)
                self._ask_keyframe(rung_id, self._watched_rung(rung_id), viewer)
                self._work.notify()

    def _ask_keyframe(self, rung_id: RungId, rung: Rung, asking: Viewer) -> None:
        others = (viewer for viewer in self._viewers.values() if viewer is not asking)
        spare = not asking.player and any(v.player and v.watches(rung_id) for v in others)
        rung.ask_keyframe(time.monotonic(), spare=spare)

    def set_rate(self, rung_id: RungId, rate: RungRate) -> None:
        """Aim at another rate from the next picture on; another size begins with a key frame."""
        with self._work:
            self._rates[rung_id] = rate
            if rung_id in self._rungs:
                self._rungs[rung_id].aim(rate, self._fps)

    def set_fps(self, fps: int) -> None:
        """As many pictures as this come a second while all moves."""
        with self._work:
            self._fps = fps
            for rung in self._rungs.values():
                rung.aim(rung.rate, fps)

    def watched(self) -> set[RungId]:
        """The rungs that somebody watches."""
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
                    codec = call.rung_id.codec
                    self._on_fault(f"an encoder of {codec} video hangs while it is opened")
                return call.looks < 2 * OPENING_LOOKS
            if call.looks < HUNG_LOOKS:
                return True
            codec = call.rung_id.codec
            logger.warning("%s of %s video hangs and is left alone", failed.name, codec)
            call.rung.broken[failed.name] = f"{failed.name} hangs"
            call.rung.encoder, call.rung.keyframe_wanted = None, True
            self._abandoned = [encoder for encoder in self._abandoned if encoder is not failed]
            self._call = None
            self._left_behind = [thread for thread in self._left_behind if thread.is_alive()]
            self._left_behind.append(self._thread)
            self._thread = self._new_thread()
            self._thread.start()
            return len(self._left_behind) <= MOST_HUNG

    def _new_thread(self) -> threading.Thread:
        return threading.Thread(target=self._run, name="encode", daemon=True)

    def encoders(self) -> dict[VideoCodec, str]:
        """The names of the encoders that are open, of the main rungs."""
        with self._work:
            rungs = self._rungs.items()
            return {
                rung_id.codec: rung.encoder.name
                for rung_id, rung in rungs
                if rung.encoder and rung_id.tier == "main"
            }

    def served(self, viewer_id: str) -> Served:
        """What a viewer gets."""
        with self._work:
            viewer = self._viewers.get(viewer_id)
            if viewer is None:
                return Served("main", "", "")
            rung = self._rungs.get(RungId(viewer.codec, viewer.tier))
            if rung is None or rung.encoder is None:
                return Served(viewer.tier, "", "")
            reasons = (*rung.broken.values(), rung.encoder.reason)
            return Served(viewer.tier, rung.encoder.name, "; ".join(filter(None, reasons)))

    def _run(self) -> None:
        try:
            while (work := self._next_work()) is not None:
                frame, rungs = work
                for rung_id, rung in rungs:
                    self._encode(rung_id, rung, frame)
        except _ReplacedError:
            logger.info("an encoder that hung came back; it is closed")
            return
        except BaseException:
            self._give_everything_back()
            raise
        self._give_everything_back()

    def _next_work(self) -> tuple[Frame, list[tuple[RungId, Rung]]] | None:
        """Wait for a picture: it, and for whom; None when stopping."""
        while True:
            with self._work:
                while not (self._stopping or self._abandoned):
                    now = time.monotonic()
                    fresh = self._mailbox.take()
                    if fresh is not None:
                        self._keep(fresh)
                        return fresh, self._due(now, fresh=True)
                    due = self._due(now, fresh=False)
                    if self._last is not None and due:
                        # Who has not had it, and gets nothing of another rung, gets it as it was read.
                        late = [i for i in due if i[1].is_behind and not i[1].wants_keyframe(now)]
                        return (self._last, late) if late else (self._again(self._last), due)
                    self._work.wait(self._time_to_wait(now))
                if self._stopping:
                    return None
                encoder = self._abandoned.pop()
            self._close_abandoned(encoder)

    def _close_abandoned(self, encoder: VideoEncoder) -> None:
        """Without the lock: a driver may take its time, and one that hangs here is left alone, too."""
        call = _Call(RungId(encoder.codec), Rung(self._rate, encoder=encoder))
        with self._work:
            self._call = call
        _close(encoder)
        self._came_back(call, None)

    def _keep(self, fresh: Frame) -> None:
        """The newest picture, which may be encoded again. Under `_work`."""
        if self._last is not None:
            self._last.release()
        self._last = fresh
        for rung in self._rungs.values():
            rung.saw(fresh.changed)
        fresh.captured_us = self._in_order(fresh.captured_us)

    def _due(self, now: float, *, fresh: bool) -> list[tuple[RungId, Rung]]:
        """For whom the newest picture is encoded now: the player's first."""
        due = [item for item in self._rungs.items() if item[1].is_due(now, fresh=fresh)]
        return sorted(due, key=lambda item: item[0].tier == "lower")

    def _time_to_wait(self, now: float) -> float | None:
        """Until the next repeat, or until a key frame is due or tried again."""
        deadlines = [rung.next_deadline(now) for rung in self._rungs.values()]
        return min((at - now for at in deadlines if at is not None), default=None)

    def _again(self, frame: Frame) -> Frame:
        """The same picture, as of now: its RTP timestamp must be a new one."""
        now_us = time.monotonic_ns() // 1000
        return replace(frame, captured_us=self._in_order(now_us), grab_us=0)

    def _in_order(self, captured_us: int) -> int:
        """The time of a picture, later than all before: a repeat may have been made while it was read."""
        self._newest_us = max(captured_us, self._newest_us + MIN_STEP_US)
        return self._newest_us

    def _encode(self, rung_id: RungId, rung: Rung, frame: Frame) -> None:
        with self._work:
            now = time.monotonic()
            if self._rungs.get(rung_id) is not rung or now < rung.retry_at:
                return
            waits = rung_id.tier == "lower" and bool(self._mailbox)
            if waits and now - rung.encoded_at < PATIENCE_S:
                return
            settings = self._settings_for(rung_id, rung, frame)
            picture = replace(frame, changed=rung.unseen)
            keyframe, rung.keyframe_wanted = rung.wants_keyframe(now), False
            call = self._call = _Call(rung_id, rung)
            encoder = rung.encoder
        unit: AccessUnit | None = None
        problem = ""
        try:
            encoder = self._ready_encoder(call, settings)
            unit = encoder.encode(picture, keyframe=keyframe)
        except EncoderUnavailable as error:
            problem = str(error)
        except Exception as error:
            logger.exception("the %s encoder broke", rung_id.codec)
            problem = f"encoding failed unexpectedly ({type(error).__name__}): see the log"
        self._came_back(call, encoder)
        if unit is None:
            self._give_up_for_now(rung_id, rung, problem)
            return
        with self._work:
            rung.encoded(unit, time.monotonic())
        self._deliver(rung_id, unit)
        if rung_id.tier == "main":
            self._on_unit(unit)

    def _came_back(self, call: _Call, encoder: VideoEncoder | None) -> None:
        """The call is over. Raises _ReplacedError when the stage did not wait for it."""
        with self._work:
            if self._call is call:
                self._call = None
                return
        if encoder is not None:
            _close(encoder)
        raise _ReplacedError

    def _settings_for(self, rung_id: RungId, rung: Rung, frame: Frame) -> EncoderSettings:
        """What the rung's encoder has to be opened with now. Under `_work`."""
        width, height = frame.size
        codec, rate = rung_id.codec, rung.rate
        wanted = {viewer.profile for viewer in self._viewers.values() if viewer.codec == codec}
        least: Profile = "baseline"
        profile = min(wanted, key=PROFILES.index, default=least)
        # Encoders believe in the frame rate that they were opened for: for each picture to have its
        # share at a lower one they are told of more.
        bitrate_bps = rate.bitrate_bps * self._rate.fps // rate.fps
        return EncoderSettings(
            width=width,
            height=height,
            fps=self._rate.fps,
            bitrate_bps=bitrate_bps,
            profile=profile,
            size_divisor=rate.size_divisor,
            surface=frame.surface_format,
        )

    def _ready_encoder(self, call: _Call, settings: EncoderSettings) -> VideoEncoder:
        """The codec's encoder, opened for these settings and aimed at their rate."""
        codec, rung = call.rung_id.codec, call.rung
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
        logger.info(
            "encoding %s (%s) by %s at %dx%d", codec, call.rung_id.tier, encoder.name, *size
        )
        with self._work:
            call.looks = 0
            rung.opened = settings
            rung.encoder = encoder
            if self._rungs.get(call.rung_id) is not rung:
                self._abandoned.append(encoder)
        return encoder

    def _give_up_for_now(self, rung_id: RungId, rung: Rung, reason: str) -> None:
        """After a failure: an encoder that broke down is closed, and replaced at once if any other can be opened."""
        codec = rung_id.codec
        with self._work:
            failed, rung.encoder = rung.encoder, None
            rung.keyframe_wanted = True
            if failed is not None:
                rung.broken[failed.name] = reason
                if self._rungs.get(rung_id) is rung:  # else it is there already
                    self._abandoned.append(failed)
            else:
                reason = "; ".join(rung.broken.values()) or reason
                rung.broken.clear()
                rung.retry_at = time.monotonic() + RETRY_S
        if failed is not None:
            logger.warning("%s of %s video broke down: %s", failed.name, codec, reason)
        elif reason != rung.fault:
            rung.fault = reason
            logger.warning("no %s video: %s", codec, reason)
            self._on_fault(reason)

    def _deliver(self, rung_id: RungId, unit: AccessUnit) -> None:
        targets: list[tuple[str, Viewer, bool]] = []
        with self._work:
            for viewer_id, viewer in self._viewers.items():
                before = viewer.tier
                if viewer.takes(rung_id, keyframe=unit.keyframe):
                    targets.append((viewer_id, viewer, viewer.tier != before))
            if unit.keyframe:
                self._leave_unwatched()
        for viewer_id, viewer, moved in targets:
            try:
                # It may have had the same picture from the other rung: this one is of another time.
                later_us = unit.captured_us + MIN_STEP_US // 2
                viewer.sink(replace(unit, captured_us=later_us) if moved else unit)
            except Exception:
                logger.exception("viewer %s is dropped: its sink failed", viewer_id)
                with self._work:
                    self._viewers.pop(viewer_id, None)

    def _give_everything_back(self) -> None:
        with self._work:
            self._stopping = True
            waiting, last = self._mailbox.take(), self._last
            self._last = None
            encoders = [rung.encoder for rung in self._rungs.values() if rung.encoder]
            self._rungs.clear()
            encoders += self._abandoned
            self._abandoned = []
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
