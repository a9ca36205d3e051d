"""The `delay` controller: transport-wide feedback in, a target bitrate out, at every feedback (about 60 ms).

Down when a queue stands or one-way delay grows: to 0.85 of what arrives, and lower still until the
queue has drained. Up in proportion to what the dispersion of our own frames shows to be free. Loss
alone says nothing below 10 %. Beside a flow that never lets the queue drain it competes for its share.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from enum import Enum
from typing import Final

from agent.congestion.capacity import AcknowledgedRate, Dispersion
from agent.congestion.flight import Packet
from agent.congestion.liveness import Liveness, Verdict
from agent.congestion.loss import RateLimits
from agent.congestion.queue import StandingQueue
from agent.congestion.trendline import Trendline, Usage

DECREASE: Final = 0.85
"""libwebrtc's AimdRateControl: kDefaultBackoffFactor."""
AIM: Final = 0.92
"""Of the capacity: a frame then crosses the link in 0.92 of its interval, and the next finds it free."""
GAIN: Final = 0.5
"""Of the way to the aim, at each feedback."""
MAX_GROWTH: Final = 1.25
"""At each feedback: a wrong measure is seen as a queue before it has grown far."""
DRAIN_SHARE: Final = 0.25
"""The least share of the rate while the queue drains."""
SLOWER: Final = 0.85
"""Frames that cross the path at less than this share of the rate leave a queue behind each."""
APP_LIMITED: Final = 0.6
"""Sending less than this share of the rate says nothing about a higher one."""
SENT_WINDOW_S: Final = 0.5
HIGH_LOSS: Final = 0.10
SOME_LOSS: Final = 0.02
LOSS_PACKETS: Final = 100
"""Loss is counted over the last so many at least."""
BLIND_GROWTH: Final = 1.005
"""At each feedback when frames are too small to measure with: 8 % a second, as libwebrtc."""
RESTORE: Final = 0.9
DIP_S: Final = 10.0
"""For how long the rate before a dip is remembered."""
MISLED: Final = 0.65
"""What arrives is less than this share of what frames showed, though no more arrived before: a shaper
lets the first packets after a pause through at once (a token bucket)."""
AS_BEFORE: Final = 0.8
BEFORE_FEEDBACKS: Final = 16
CAUTION_S: Final = 3.0
"""For how long what arrived counts for more than what frames show."""
REACTION_S: Final = 0.06
"""What passes between two feedbacks; a decision shows a round trip and this later."""
DRAINS: Final = 0.85
"""A queue that is less than this share of what it was a decision ago is draining."""
STUBBORN: Final = 3
"""Decreases in a row that did not drain the queue: it is not ours."""
FLOOR_PATIENCE_S: Final = 3.0
"""For so long a queue may be ours at the lowest rate."""
SHARE: Final = 0.5
"""Of the capacity, beside others: what one flow of two has."""
BELIEVED: Final = 1.25
"""Of what arrives: more than this is not tried beside others, whatever frames show."""
YIELD: Final = 0.9
RETURN: Final = 0.05
CALM_S: Final = 2.0
"""No queue for so long: the other flow is gone."""
START_RTT_S: Final = 0.05


class Mode(Enum):
    """Who the queue belongs to."""

    ALONE = "alone"
    COMPETE = "compete"


class DelayController:
    """Values in, values out; `now` and the packets' send times are of one clock."""

    def __init__(self, start_bps: int, limits: RateLimits | None = None) -> None:
        self._limits = limits or RateLimits()
        self._rate_bps = float(self._limits.clamp(start_bps))
        self._trendline = Trendline()
        self._queue = StandingQueue()
        self._dispersion = Dispersion()
        self._acknowledged = AcknowledgedRate()
        self._shown_bps = float("inf")
        """The capacity that frames showed last: at a low rate they are too small to show any."""
        self._sent: deque[tuple[float, int]] = deque()
        self._sent_bytes = 0
        self._fates: deque[bool] = deque(maxlen=LOSS_PACKETS)
        self._frame: list[Packet] = []
        """What feedback spoke of so far, of the newest frame."""
        self._begun = False
        """Whether any of it arrived."""
        self._rtt_s = START_RTT_S
        self._liveness = Liveness()
        self._held = False
        """Nothing was heard for a while: the next feedback raises nothing."""
        self._mode = Mode.ALONE
        self._decided_at = -1.0
        self._draining = False
        self._stubborn = 0
        self._floor_since = 0.0
        """When the rate was last above the floor while a queue stood."""
        self._stood_s = 0.0
        """The queue at the last decrease."""
        self._calm_since: float | None = None
        self._before_dip: tuple[float, float] | None = None
        """When the rate fell first, and from where."""
        self._misled: tuple[float, float] | None = None
        """When frames showed more than there was, and what there was."""
        self._arrived_bps: deque[float] = deque(maxlen=BEFORE_FEEDBACKS)
        """What arrived, at each feedback of the last second."""
        self.target_bps = int(self._rate_bps)
        self.fraction_lost = 0.0
        """Of the last 100 packets, 0 to 1."""

    @property
    def queue_stands(self) -> bool:
        """Whether more is on the path than the set-point lets stand."""
        return self._queue.standing_s > self._queue.set_point_s

    @property
    def is_limited(self) -> bool:
        """Whether the target is what the path carries: what fills it is sent, and more was not asked for."""
        return self.target_bps < self._limits.ceiling_bps and not self._is_app_limited()

    def on_feedback(self, packets: Sequence[Packet], now: float) -> int:
        """Take what a feedback said of packets, in the order of sending; return the target in bit/s."""
        if not packets:
            return self.target_bps
        self._take(packets, now)
        self._arrived_bps.append(self._acknowledged.bps)
        self._shown_bps = self._dispersion.capacity_bps(now) or self._shown_bps
        lost = [packet.sent_s for packet in packets if packet.arrived_s is None]
        self.fraction_lost = self._fates.count(False) / len(self._fates)
        match self._mode:
            case Mode.ALONE:
                self._decide(lost, now)
            case Mode.COMPETE:
                self._compete(lost, now)
        self._held = False
        self.target_bps = self._limits.clamp(self._drained())
        return self.target_bps

    def on_wait(self, waiting_since: float | None, now: float) -> int:
        """Look whether the path is silent, some times a second; return the target in bit/s."""
        match self._liveness.look(waiting_since, now, self._rtt_s):
            case Verdict.HOLD:
                self._held = True
            case Verdict.HALVE:
                self._held = True
                # Of a still screen's lone packet nothing is heard until the next one: its loss is no silence.
                if not self._is_app_limited():
                    self._note_dip(now)
                    self._rate_bps = self._limits.clamp(self._rate_bps / 2)
                    self.target_bps = min(self.target_bps, int(self._rate_bps))
            case Verdict.FREE:
                pass
        return self.target_bps

    # What is known

    def _take(self, packets: Sequence[Packet], now: float) -> None:
        counted: list[Packet] = []  # all but stragglers, of frames that were looked at
        bursts: dict[float, float] = {}
        """When the last packet arrived of those that left at one time."""
        frame, rtt_s = self._frame, self._rtt_s
        for packet in packets:
            arrived_s, sent_s, number = packet.arrived_s, packet.sent_s, packet.frame
            self._fates.append(arrived_s is not None)
            if number is None:
                counted.append(packet)
                continue
            self._sent.append((sent_s, packet.size_bytes))
            self._sent_bytes += packet.size_bytes
            if frame and number != frame[0].frame:
                if number < (frame[0].frame or 0):
                    continue
                self._dispersion.add(frame)
                frame, self._begun = [], False
            counted.append(packet)
            frame.append(packet)
            if arrived_s is None:
                continue
            if not self._begun:
                self._begun = True
                self._queue.add(sent_s, arrived_s)
            bursts[sent_s] = max(arrived_s, bursts.get(sent_s, arrived_s))
            rtt_s = rtt_s * 0.98 + 0.02 * (now - sent_s)
        for sent_s, last_s in bursts.items():
            self._trendline.add(sent_s, last_s)
        self._frame, self._rtt_s = frame, rtt_s
        self._acknowledged.add(counted)
        while self._sent and self._sent[0][0] < self._sent[-1][0] - SENT_WINDOW_S:
            self._sent_bytes -= self._sent.popleft()[1]

    def _is_app_limited(self) -> bool:
        sent_bps = 8 * self._sent_bytes / SENT_WINDOW_S
        return sent_bps < APP_LIMITED * self.target_bps

    def _is_overused(self, lost: list[float]) -> bool:
        standing_s, most_s = self._queue.standing_s, self._queue.set_point_s
        grows = self._trendline.usage is Usage.OVER and standing_s > most_s / 2
        full = bool(lost) and self.fraction_lost > SOME_LOSS and standing_s > most_s / 2
        heavy = len(self._fates) == LOSS_PACKETS and self.fraction_lost > HIGH_LOSS
        return standing_s > most_s or grows or full or heavy or self._is_slower()

    def _is_slower(self) -> bool:
        """The frames of just now took longer than their interval: seen before the queue stands."""
        seen_bps = self._dispersion.recent_bps(self._frame, self._queue.slack_s)
        slow = seen_bps is not None and seen_bps < SLOWER * self.target_bps
        return slow and not self._is_app_limited()

    # What follows from it

    def _decide(self, lost: list[float], now: float) -> None:
        if self._is_overused(lost):
            if now - self._decided_at > self._rtt_s + REACTION_S:
                self._decrease(now)
        elif self._queue.standing_s <= self._queue.set_point_s / 2:
            self._stubborn, self._draining, self._floor_since = 0, False, now
            if not self._held and not self._is_app_limited():
                self._increase(now)

    def _decrease(self, now: float) -> None:
        """To 0.85 of what arrives; of a path that we do not fill, of what our last frames saw of it."""
        standing_s, stood_s = self._queue.standing_s, self._stood_s
        self._decided_at, self._stood_s = now, standing_s
        if self._draining and standing_s < DRAINS * stood_s:
            return
        if self._rate_bps > self._limits.floor_bps:
            self._floor_since = now
        # At the floor it is no wonder that a queue of ours does not drain at once.
        at_floor_s = now - self._floor_since
        self._stubborn += self._draining and not 0 < at_floor_s < FLOOR_PATIENCE_S
        if self._stubborn >= STUBBORN:
            self._begin_to_compete()
            return
        seen_bps = self._dispersion.recent_bps(self._frame)
        base_bps = self._rate_bps if seen_bps is None else seen_bps
        if not self._is_app_limited():
            base_bps = min(base_bps, self._acknowledged.bps)
        shown_bps = self._dispersion.capacity_bps(now) or 0.0
        as_before = base_bps > AS_BEFORE * max(self._arrived_bps)
        stands = standing_s > self._queue.set_point_s
        if stands and as_before and base_bps < MISLED * shown_bps:
            self._misled, self._before_dip = (now, base_bps), None
        else:
            self._note_dip(now)
        self._rate_bps = self._limits.clamp(min(self._rate_bps, DECREASE * base_bps))
        self._draining = True

    def _note_dip(self, now: float) -> None:
        if self._before_dip is None or now - self._before_dip[0] > DIP_S:
            self._before_dip = (now, self._rate_bps)

    def _increase(self, now: float) -> None:
        capacity_bps = self._dispersion.capacity_bps(now)
        if capacity_bps is None:
            self._rate_bps = self._limits.clamp(BLIND_GROWTH * self._rate_bps)
            return
        aim_bps = AIM * capacity_bps
        if self._misled is not None:
            since, real_bps = self._misled
            aim_bps = min(aim_bps, AIM * real_bps)
            if now - since > CAUTION_S and self._rate_bps >= 0.98 * aim_bps:
                self._rate_bps = self._limits.clamp(BLIND_GROWTH * self._rate_bps)
                if self._rate_bps > real_bps / AIM:
                    self._misled = None
                return
        if self._restore(aim_bps, now) or aim_bps <= self._rate_bps:
            return
        step_bps = GAIN * (aim_bps - self._rate_bps)
        grown_bps = min(self._rate_bps + step_bps, MAX_GROWTH * self._rate_bps)
        self._rate_bps = self._limits.clamp(grown_bps)

    def _restore(self, aim_bps: float, now: float) -> bool:
        """Once two frames show that a dip is over, go back to 0.9 of the rate before it at once."""
        if self._before_dip is None:
            return False
        fell_at, before_bps = self._before_dip
        if now - fell_at > DIP_S:
            self._before_dip = None
            return False
        seen_bps = self._dispersion.recent_bps(self._frame) or 0.0
        if self._rate_bps >= RESTORE * before_bps or min(seen_bps, aim_bps / AIM) < before_bps:
            return False
        self._rate_bps = RESTORE * before_bps
        self._before_dip = None
        return True

    def _drained(self) -> float:
        """The rate, less what makes the standing queue drain within a round trip."""
        if self._mode is Mode.COMPETE or not self._draining:
            return self._rate_bps
        over_s = max(self._queue.standing_s - self._queue.set_point_s / 2, 0.0)
        return self._rate_bps * max(1 - over_s / REACTION_S, DRAIN_SHARE)

    # Beside others

    def _begin_to_compete(self) -> None:
        self._mode, self._calm_since, self._before_dip = Mode.COMPETE, None, None
        self._draining, self._stubborn = False, 0

    def _compete(self, lost: list[float], now: float) -> None:
        """Towards our share, one step down for each round trip in which something is lost.

        A queue that is our own drains at this rate, and so ends the mode.
        """
        if lost and lost[-1] > self._decided_at:  # sent after the last step (as RFC 6675 2)
            self._decided_at = now
            self._rate_bps *= YIELD
        else:
            aim_bps = min(SHARE * self._shown_bps, BELIEVED * self._acknowledged.bps)
            self._rate_bps += RETURN * (aim_bps - self._rate_bps)
        self._rate_bps = self._limits.clamp(self._rate_bps)
        if self._queue.standing_s > self._queue.set_point_s:
            self._calm_since = None
        elif self._calm_since is None:
            self._calm_since = now
        elif now - self._calm_since > CALM_S:
            self._mode = Mode.ALONE
