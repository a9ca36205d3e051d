"""The encode stage: shares each picture of the source out to the rungs, and what they make of it to their viewers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from agent.capture.base import Frame
from agent.encode.base import PROFILES, AccessUnit, EncoderSettings, Profile, VideoCodec
from agent.encode.lane import Lane, OpenEncoder, Orders
from agent.encode.pictures import Pictures
from agent.encode.rung import Rung, RungId, RungRate, Served, Tier, Viewer

logger = logging.getLogger(__name__)


class EncodeStage:
    """Pictures arrive by `offer` from the capture thread, and the newest one is kept for key frames.

    The main rungs' encoders have a thread named `encode`, the lower ones' another, `encode lower`: what these are
    slow at, or hang in, costs the player nothing. Each begins with its first rung, and takes the newest picture when
    it has time. The pictures' lock guards all that is shared.

    `on_fault` (words for the user) and `on_unit` (after delivery) are about main rungs and called on their thread,
    `on_fault` also by `look`, with the lock held: it must wait for nobody. A rung that is not given a rate of its
    own begins with `rate`.
    """

    def __init__(
        self,
        open_encoder: OpenEncoder,
        rate: RungRate,
        on_fault: Callable[[str], None],
        on_unit: Callable[[AccessUnit], None],
    ) -> None:
        self._rate = rate
        self._on_unit = on_unit
        self._pictures = Pictures()
        self._lock = self._pictures.lock
        self._viewers: dict[str, Viewer] = {}
        self._rates: dict[RungId, RungRate] = {}
        self._fps = rate.fps
        orders = Orders(open_encoder, self._settings_for, self._deliver, on_fault)
        self._lanes: dict[Tier, Lane] = {
            "main": Lane("encode", self._pictures, orders),
            "lower": Lane(
                "encode lower", self._pictures, replace(orders, on_fault=self._leave_lower)
            ),
        }

    @property
    def dropped(self) -> int:
        """Pictures that were replaced before they were encoded for the main rungs."""
        return self._lanes["main"].dropped

    def request_stop(self) -> None:
        """Give back every picture, and have the threads close the encoders and end."""
        with self._lock:
            self._pictures.close()
            for lane in self._lanes.values():
                lane.wake()

    def join(self, timeout_s: float) -> bool:
        """Wait for the threads; False when one still runs."""
        deadline = time.monotonic() + timeout_s
        lanes = self._lanes.values()
        return all(lane.join(max(0.0, deadline - time.monotonic())) for lane in lanes)

    def offer(self, frame: Frame) -> None:
        """Hand over a picture; one that was not taken yet is dropped for it."""
        with self._lock:
            dropped = self.dropped
            self._pictures.put(frame)
            for lane in self._lanes.values():
                lane.saw(frame.changed)
            if self.dropped > dropped:
                self._lanes["lower"].rest()

    def add_viewer(self, viewer_id: str, viewer: Viewer) -> None:
        """Serve one viewer more; it begins with a key frame."""
        with self._lock:
            self._viewers[viewer_id] = viewer
            rung = self._watched_rung(RungId(viewer.codec, viewer.tier))
            rung.keyframe_wanted = True
            rung.not_before = 0.0

    def remove_viewer(self, viewer_id: str) -> bool:
        """Stop serving a viewer; returns whether any is left. Closes a rung that nobody watches."""
        with self._lock:
            self._viewers.pop(viewer_id, None)
            self._leave_unwatched()
            return bool(self._viewers)

    def move_viewer(self, viewer_id: str, tier: Tier) -> None:
        """Serve a viewer from another rung, from that one's next key frame on, which is asked for."""
        with self._lock:
            viewer = self._viewers.get(viewer_id)
            if viewer is None or tier == (viewer.next_tier or viewer.tier):
                return
            rung = self._lanes[tier].rungs.get(RungId(viewer.codec, tier))
            if tier == "lower" and rung is not None and rung.fault:
                return
            viewer.next_tier = None if tier == viewer.tier else tier
            if viewer.next_tier is not None:
                logger.info("viewer %s goes to the %s picture", viewer_id, tier)
                self._ask_keyframe(RungId(viewer.codec, tier), viewer)
            self._leave_unwatched()

    def _leave_lower(self, reason: str) -> None:
        """Whoever has a lower picture gets the main one instead: better one that its path does not carry than none."""
        with self._lock:
            for viewer_id, viewer in self._viewers.items():
                rung = self._lanes["lower"].rungs.get(RungId(viewer.codec, viewer.tier))
                if rung is not None and rung.fault:
                    self.move_viewer(viewer_id, "main")

    def request_keyframe(self, viewer_id: str) -> None:
        """Make a key frame of what this viewer gets, also when nothing moves.

        At once, but where the viewer shares the picture of a player: there not more than one a second.
        """
        with self._lock:
            viewer = self._viewers.get(viewer_id)
            if viewer is not None:
                self._ask_keyframe(RungId(viewer.codec, viewer.tier), viewer)

    def _ask_keyframe(self, rung_id: RungId, asking: Viewer) -> None:
        others = (viewer for viewer in self._viewers.values() if viewer is not asking)
        spare = not asking.player and any(v.player and v.watches(rung_id) for v in others)
        self._watched_rung(rung_id).ask_keyframe(time.monotonic(), spare=spare)

    def _watched_rung(self, rung_id: RungId) -> Rung:
        """The rung, which begins when somebody watches it; something will be asked of it. With the lock."""
        lane = self._lanes[rung_id.tier]
        rung = lane.rungs.get(rung_id)
        if rung is None:
            rung = Rung(self._rates.get(rung_id, self._rate))
            rung.aim(rung.rate, self._fps)
            lane.watch(rung_id, rung)
        lane.wake()
        return rung

    def _leave_unwatched(self) -> None:
        """With the lock."""
        for rung_id, _ in list(self._rungs()):
            if not any(viewer.watches(rung_id) for viewer in self._viewers.values()):
                self._lanes[rung_id.tier].unwatch(rung_id)

    def _rungs(self) -> Iterator[tuple[RungId, Rung]]:
        """All that are watched. With the lock."""
        for lane in self._lanes.values():
            yield from lane.rungs.items()

    def set_rate(self, rung_id: RungId, rate: RungRate) -> None:
        """Aim at another rate from the next picture on; another size begins with a key frame."""
        with self._lock:
            self._rates[rung_id] = rate
            rung = self._lanes[rung_id.tier].rungs.get(rung_id)
            if rung is not None:
                rung.aim(rate, self._fps)

    def set_fps(self, fps: int) -> None:
        """As many pictures as this come a second while all moves."""
        with self._lock:
            self._fps = fps
            for _, rung in self._rungs():
                rung.aim(rung.rate, fps)

    def watched(self) -> set[RungId]:
        """The rungs that somebody watches."""
        with self._lock:
            return {rung_id for rung_id, _ in self._rungs()}

    def look(self) -> bool:
        """Whether encoding can go on (see `Lane.look`), if only for the main rungs; call it some times a second."""
        with self._lock:
            self._lanes["lower"].look()
            return self._lanes["main"].look()

    def encoders(self) -> dict[VideoCodec, str]:
        """The names of the encoders that are open, of the main rungs."""
        with self._lock:
            rungs = self._lanes["main"].rungs.items()
            return {rung_id.codec: rung.encoder.name for rung_id, rung in rungs if rung.encoder}

    def served(self, viewer_id: str) -> Served:
        """What a viewer gets."""
        with self._lock:
            viewer = self._viewers.get(viewer_id)
            if viewer is None:
                return Served("main", "", "")
            rung = self._lanes[viewer.tier].rungs.get(RungId(viewer.codec, viewer.tier))
            if rung is None or rung.encoder is None:
                return Served(viewer.tier, "", "")
            reasons = (*rung.broken.values(), rung.encoder.reason)
            return Served(viewer.tier, rung.encoder.name, "; ".join(filter(None, reasons)))

    def _settings_for(self, rung_id: RungId, rung: Rung, frame: Frame) -> EncoderSettings:
        """What the rung's encoder has to be opened with now. With the lock."""
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
            room=rate.room,
            shared=rung_id.tier == "lower",
        )

    def _deliver(self, rung_id: RungId, unit: AccessUnit) -> None:
        """Called on the thread of the rung's lane, without the lock."""
        with self._lock:
            watching = [item for item in self._viewers.items() if item[1].watches(rung_id)]
        for viewer_id, viewer in watching:
            with viewer.turn:
                with self._lock:
                    taken = viewer.take(rung_id, unit)
                try:
                    if taken is not None:
                        viewer.sink(taken)
                except Exception:
                    logger.exception("viewer %s is dropped: its sink failed", viewer_id)
                    self.remove_viewer(viewer_id)
        if unit.keyframe:
            with self._lock:
                self._leave_unwatched()
        if rung_id.tier == "main":
            self._on_unit(unit)
