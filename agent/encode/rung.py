"""One encoder's rung of a codec, and the viewers who get its access units: the encode stage's own state.

The main rung follows the player's path. The lower one is for all viewers whose paths carry less.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final, Literal, NamedTuple

from agent.capture.base import NOWHERE, Box
from agent.capture.pacing import FramePacing
from agent.encode.base import AccessUnit, EncoderSettings, Profile, VideoCodec, VideoEncoder
from agent.encode.pictures import MIN_STEP_US
from agent.encode.refresh import Refresh

Sink = Callable[[AccessUnit], None]

Tier = Literal["main", "lower"]

SPARE_S: Final = 1.0
"""Between two key frames of a player's picture that others ask for: each is coarser than what it replaces."""


class RungId(NamedTuple):
    """Which picture."""

    codec: VideoCodec
    tier: Tier = "main"


@dataclass(frozen=True, slots=True)
class RungRate:
    """What a rung's encoder aims at."""

    bitrate_bps: int
    fps: int
    size_divisor: int = 1
    """The picture is encoded at this part of its width and height."""
    room: bool = False
    """Whether some pictures may take many times the mean."""


@dataclass(frozen=True, slots=True)
class Served:
    """What a viewer gets now."""

    tier: Tier
    encoder: str
    """Empty: none is open."""
    reason: str
    """Why none of the better encoders, in words."""


@dataclass(slots=True)
class Viewer:
    """Who gets the access units of one codec."""

    codec: VideoCodec
    sink: Sink
    profile: Profile = "baseline"
    """Of H.264: the most that it decodes."""
    player: bool = False
    """Others' losses cost it few key frames."""
    started: bool = False
    """Whether it had its first key frame; nothing before that can be decoded."""
    tier: Tier = "main"
    next_tier: Tier | None = None
    """Where it goes with that one's next key frame; until then it gets all of `tier`."""
    newest_us: int = 0
    """When the last picture that it got was captured."""
    turn: threading.Lock = field(default_factory=threading.Lock, repr=False)
    """Held while it gets a unit: when it moves, both rungs' threads may have one."""

    def watches(self, rung: RungId) -> bool:
        """Whether it gets this rung's units, or will."""
        return self.codec == rung.codec and rung.tier in (self.tier, self.next_tier)

    def take(self, rung: RungId, unit: AccessUnit) -> AccessUnit | None:
        """This unit as it gets it, later than all before: the other rung may be ahead. None: it does not get it."""
        mine = self.started and rung.tier == self.tier
        if not self.watches(rung) or not (unit.keyframe or mine):
            return None
        if rung.tier == self.next_tier:
            self.tier, self.next_tier = rung.tier, None
        self.started = True
        self.newest_us = max(unit.captured_us, self.newest_us + MIN_STEP_US)
        if unit.captured_us < self.newest_us:
            return replace(unit, captured_us=self.newest_us)
        return unit


@dataclass(slots=True)
class Rung:
    """What is wanted of one encoder, which only the thread of its lane calls."""

    rate: RungRate
    keyframe_wanted: bool = True
    keyframe_at: float | None = None
    """When a key frame is made that is not wanted at once."""
    keyframe_made: float = float("-inf")
    encoder: VideoEncoder | None = None
    opened: EncoderSettings | None = None
    """What the encoder was opened with."""
    fresh: bool = False
    """A new picture came since it began to encode the last one."""
    unseen: Box | None = None
    """What has changed since then; None: all, or not known."""
    begun_at: float = float("-inf")
    refresh: Refresh = field(init=False)
    pacing: FramePacing | None = None
    """Where it takes fewer pictures than there are."""
    not_before: float = 0.0
    """Nothing is due until then."""
    fault: str = ""
    """Why it makes no picture, in words that the user was told."""
    broken: dict[str, str] = field(default_factory=dict)
    """Encoders that broke down, and why: the next one takes over until there is none left."""

    def __post_init__(self) -> None:
        self.refresh = Refresh(self.rate.fps)

    def aim(self, rate: RungRate, source_fps: int) -> None:
        """From the next picture on; `source_fps` is how many of them come a second."""
        paced = rate.fps < source_fps
        if paced and (self.pacing is None or rate.fps != self.rate.fps):
            self.pacing = FramePacing(rate.fps)
        elif not paced:
            self.pacing = None
        self.rate = rate
        self.refresh.fps = rate.fps

    def ask_keyframe(self, now: float, *, spare: bool) -> None:
        """Make a key frame at once, or with `spare` a while after the one before."""
        if not spare:
            self.keyframe_wanted = True
        elif self.keyframe_at is None:
            self.keyframe_at = max(now, self.keyframe_made + SPARE_S)

    def wants_keyframe(self, now: float) -> bool:
        """Whether the next picture is to be a key frame."""
        return self.keyframe_wanted or (self.keyframe_at is not None and self.keyframe_at <= now)

    def saw(self, changed: Box | None) -> None:
        """A picture came in which this changed."""
        self.fresh = True
        if self.unseen is not None:
            self.unseen = None if changed is None else self.unseen.joined(changed)

    def is_due(self, now: float) -> bool:
        """Whether to encode the newest picture now."""
        if self.not_before > now:
            return False
        if self.wants_keyframe(now):
            return True
        if self.fresh:
            return self.pacing is None or self.pacing.due_at() <= now
        deadline = self.refresh.next_deadline()
        return deadline is not None and deadline <= now

    def next_deadline(self, now: float) -> float | None:
        """When it may be due though no new picture comes; None: never."""
        if self.not_before > now:
            return self.not_before
        times = [self.refresh.next_deadline(), self.keyframe_at]
        if self.pacing is not None and self.fresh:
            times.append(self.pacing.due_at())
        return min((at for at in times if at is not None and at > now), default=None)

    def begin(self, now: float) -> bool:
        """The newest picture is encoded from now on; whether as a key frame."""
        keyframe, self.keyframe_wanted = self.wants_keyframe(now), False
        self.fresh, self.unseen, self.begun_at = False, NOWHERE, now
        return keyframe

    def encoded(self, unit: AccessUnit, now: float, *, new: bool) -> None:
        """It was encoded, not for the first time unless `new`: when is it encoded again?"""
        self.fault = ""
        if self.pacing is not None:
            self.pacing.taken(now)
        if unit.keyframe:
            self.keyframe_made, self.keyframe_at = now, None
        if new or unit.keyframe:
            self.refresh.changed(now)
        else:
            budget_bytes = self.rate.bitrate_bps / self.rate.fps / 8
            self.refresh.repeated(now, len(unit.payload) / budget_bytes)

    def lose_encoder(self, why: str) -> None:
        """It broke down, or could not be opened; the next one has to begin with all of the picture."""
        if self.encoder is not None:
            self.broken[self.encoder.name] = why
        self.encoder, self.unseen, self.keyframe_wanted = None, None, True
