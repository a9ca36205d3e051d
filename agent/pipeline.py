"""The picture's way through the host: capture stage, mailbox, encode stage, viewers."""

from __future__ import annotations

import ctypes
import logging
import statistics
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from agent.capture.base import Frame
from agent.capture.stage import CaptureStage, OpenCapture
from agent.congestion.ladder import LEAST_FPS, Ladder
from agent.encode.base import AccessUnit, VideoCodec
from agent.encode.lane import OpenEncoder
from agent.encode.rung import RungId, RungRate, Served, Tier, Viewer
from agent.encode.stage import EncodeStage

logger = logging.getLogger(__name__)

JOIN_LIMIT_S = 2.0

MAPPED_BLOCK_BYTES = 256 * 1024
_M_MMAP_THRESHOLD = -3

STATS_WINDOW_S = 2.0
STATS_UNITS = 512
"""Enough for two codecs at 120 pictures a second over the window."""


@dataclass(frozen=True, slots=True)
class PipelineSettings:
    """What the host was told to send."""

    fps: int
    bitrate_bps: int


@dataclass(frozen=True, slots=True)
class PipelineStats:
    """What the pipeline did lately; medians over the last units, in microseconds."""

    running: bool
    fps: float
    grab_us: float
    convert_us: float
    encode_us: float
    dropped: int
    encoders: Mapping[VideoCodec, str]
    size: tuple[int, int]


class VideoPipeline:
    """One source, one encode per codec and at most one lower one, any number of viewers.

    Threads `capture` and `encode` run from the first viewer to the last, and `encode lower` beside them from the first
    who gets a lower picture. Methods may be called from any thread; only `remove_viewer` may block, when it removes
    the last viewer.
    """

    def __init__(
        self, open_capture: OpenCapture, open_encoder: OpenEncoder, settings: PipelineSettings
    ) -> None:
        _map_big_blocks()
        self._open_capture = open_capture
        self._open_encoder = open_encoder
        self._settings = settings
        self._lock = threading.Lock()
        self._run: _Run | None = None
        self._pointing: set[str] = set()
        self.on_fault: Callable[[str], None] = _ignore
        """Called on a stage's thread or by `look`, with words for the user; it must wait for nobody.

        The pipeline goes on trying.
        """

    def prepare(self, viewer_id: str, viewer: Viewer) -> None:
        """Open source and encoder for a viewer that is connecting, where nobody else's are open.

        It gets nothing yet: `add_viewer` follows, or `remove_viewer` does.
        """
        if self._run is None:
            self.add_viewer(viewer_id, replace(viewer, sink=_to_nobody))

    def add_viewer(self, viewer_id: str, viewer: Viewer) -> None:
        """Serve one viewer more. Its sink, called by one encode thread at a time, begins with a key frame."""
        with self._lock:
            first = self._run is None
            if self._run is None:
                self._run = _Run(
                    self._open_capture, self._open_encoder, self._settings, self._fault
                )
                self._run.capture.draw_cursor(drawn=bool(self._pointing))
            self._run.encode.add_viewer(viewer_id, viewer)
            if first:
                self._run.start()

    def remove_viewer(self, viewer_id: str) -> None:
        """Stop serving a viewer; unknown ones are ignored.

        With the last one, capture and encoders are closed and their threads joined: this blocks for
        at most about 2 s, so call it through a thread.
        """
        self.draw_pointer(viewer_id, wanted=False)
        with self._lock:
            run = self._run
            if run is None or run.encode.remove_viewer(viewer_id):
                return
            self._run = None
        run.stop()

    def request_keyframe(self, viewer_id: str) -> None:
        """Make a key frame for a viewer even when nothing moves (see `EncodeStage.request_keyframe`)."""
        if (run := self._run) is not None:
            run.encode.request_keyframe(viewer_id)

    def set_bitrate(
        self, codec: VideoCodec, bitrate_bps: int, tier: Tier = "main", *, room: bool = False
    ) -> None:
        """Aim at another rate from the next picture on; frame rate and size follow (agent/congestion/ladder.py).

        `room`: some pictures may take many times the mean.
        """
        if (run := self._run) is not None:
            run.set_bitrate(RungId(codec, tier), bitrate_bps, room=room)

    def move_viewer(self, viewer_id: str, tier: Tier) -> None:
        """Serve a viewer from its codec's main or lower picture, from the next key frame of that on."""
        if (run := self._run) is not None:
            run.encode.move_viewer(viewer_id, tier)

    def look(self) -> bool:
        """Call it four times a second: notices an encoder that hangs, and when frame rate and size are due.

        False: encoding cannot go on in this process.
        """
        if (run := self._run) is None:
            return True
        run.adapt()
        return run.encode.look()

    def draw_pointer(self, viewer_id: str, *, wanted: bool) -> None:
        """Draw the host's pointer into the picture while any viewer wants it."""
        with self._lock:
            (self._pointing.add if wanted else self._pointing.discard)(viewer_id)
            if self._run is not None:
                self._run.capture.draw_cursor(drawn=bool(self._pointing))

    def nudge(self) -> None:
        """Look for a new picture at once: called right after an injected input."""
        if (run := self._run) is not None:
            run.capture.nudge()

    def open_anew(self) -> None:
        """Open the source again: what it is to show has changed."""
        if (run := self._run) is not None:
            run.capture.open_anew()

    def stats(self) -> PipelineStats:
        """What happened lately."""
        run = self._run
        if run is None:
            return PipelineStats(False, 0.0, 0.0, 0.0, 0.0, 0, {}, (0, 0))
        return run.stats()

    @property
    def has_picture(self) -> bool:
        """Whether a picture was captured, and nothing has failed since."""
        run = self._run
        return run is not None and run.has_picture

    def served(self, viewer_id: str) -> Served:
        """Which picture a viewer gets, by which encoder, and why by that one."""
        run = self._run
        return Served("main", "", "") if run is None else run.encode.served(viewer_id)

    def _fault(self, reason: str) -> None:
        self.on_fault(reason)


@dataclass(frozen=True, slots=True)
class _Timing:
    """When a unit was delivered, and how long its stages took."""

    at: float
    captured_us: int
    grab_us: int
    convert_us: int
    encode_us: int


class _Run:
    """The two stages between a first and a last viewer."""

    def __init__(
        self,
        open_capture: OpenCapture,
        open_encoder: OpenEncoder,
        settings: PipelineSettings,
        on_fault: Callable[[str], None],
    ) -> None:
        rate = RungRate(settings.bitrate_bps, settings.fps)
        self.encode = EncodeStage(open_encoder, rate, on_fault, self._note_unit)
        self.capture = CaptureStage(open_capture, self._note_frame, on_fault)
        self._settings = settings
        self._timings: deque[_Timing] = deque(maxlen=STATS_UNITS)
        self._size = (0, 0)
        self._adapting = threading.Lock()
        self._targets: dict[RungId, tuple[int, bool]] = {}
        """In bit/s, and whether there is room."""
        self._ladders: dict[RungId, Ladder] = {}
        self._fps = settings.fps

    def start(self) -> None:
        self.capture.start()

    def stop(self) -> None:
        """Idempotent teardown: capture first, so that nothing new arrives."""
        deadline = time.monotonic() + JOIN_LIMIT_S
        self.capture.request_stop()
        self.encode.request_stop()
        for stage in (self.encode, self.capture):
            if not stage.join(max(0.0, deadline - time.monotonic())):
                logger.error("%s did not end in %.0f s", type(stage).__name__, JOIN_LIMIT_S)

    @property
    def has_picture(self) -> bool:
        return self._size != (0, 0) and not self.capture.fails

    def stats(self) -> PipelineStats:
        now = time.monotonic()
        timings = list(self._timings)
        # repeats of a static picture have no grab; units of two codecs share one picture
        grabs = {timing.captured_us: timing for timing in timings if timing.grab_us}.values()
        return PipelineStats(
            running=True,
            fps=sum(now - timing.at < STATS_WINDOW_S for timing in grabs) / STATS_WINDOW_S,
            grab_us=_median([timing.grab_us for timing in grabs]),
            convert_us=_median([timing.convert_us for timing in timings]),
            encode_us=_median([timing.encode_us for timing in timings]),
            dropped=self.encode.dropped,
            encoders=self.encode.encoders(),
            size=self._size,
        )

    def set_bitrate(self, rung_id: RungId, bitrate_bps: int, *, room: bool) -> None:
        with self._adapting:
            self._targets[rung_id] = bitrate_bps, room
        self.adapt()

    def adapt(self) -> None:
        """Choose frame rates and sizes. All rungs share the captured pictures: the highest frame rate counts."""
        now = time.monotonic()
        with self._adapting:
            watched = self.encode.watched()
            frame_rates = [self._settings.fps] if not watched & self._targets.keys() else []
            for rung_id, (target_bps, room) in self._targets.items():
                step = self._ladder(rung_id).choose(target_bps, self._size, now)
                rate = RungRate(target_bps, step.fps, step.size_divisor, room)
                self.encode.set_rate(rung_id, rate)
                if rung_id in watched:
                    frame_rates.append(step.fps)
            self._set_fps(max(frame_rates))

    def _ladder(self, rung_id: RungId) -> Ladder:
        """The lower rung has half the pictures at most: it must not cost the player as much again."""
        if rung_id not in self._ladders:
            fps = self._settings.fps
            if rung_id.tier == "lower" and fps // 2 >= LEAST_FPS:
                fps //= 2
            self._ladders[rung_id] = Ladder(fps, self._settings.bitrate_bps)
        return self._ladders[rung_id]

    def _set_fps(self, fps: int) -> None:
        if fps != self._fps:
            logger.info("the path carries %d pictures a second", fps)
            self._fps = fps
            self.encode.set_fps(fps)
            self.capture.limit(fps if fps < self._settings.fps else None)

    def _note_frame(self, frame: Frame) -> None:
        if frame.size != self._size:
            self._size = frame.size
            self.adapt()
        self.encode.offer(frame)

    def _note_unit(self, unit: AccessUnit) -> None:
        timing = _Timing(
            time.monotonic(), unit.captured_us, unit.grab_us, unit.convert_us, unit.encode_us
        )
        self._timings.append(timing)


def _median(values: list[int]) -> float:
    return float(statistics.median(values)) if values else 0.0


def _map_big_blocks() -> None:
    """Have glibc give freed pictures and encoder buffers back to the system at once (mallopt(3)).

    It maps blocks above 128 KiB for themselves, but raises that limit up to 32 MiB as it sees such
    blocks freed; then they fragment the heaps of threads that have ended. A limit that is set stays.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, MAPPED_BLOCK_BYTES)


def _ignore(reason: str) -> None:
    """Nobody listens; the fault is in the log."""


def _to_nobody(unit: AccessUnit) -> None:
    """Its viewer is not connected yet."""
