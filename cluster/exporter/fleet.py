"""The fleet as it was last seen: every host with its newest telemetry, and what it adds up to.

Flow: sweep.py brings the frames of one look at Redis, page by page; exposition.py writes what is here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from cluster.exporter.verdict import POSSIBLE, Verdict, judge
from cluster.protocol.messages import ROOM_PATTERN
from cluster.protocol.telemetry import (
    DROPS,
    OTHER,
    REPAIRS,
    STATES,
    SessionFigures,
    Telemetry,
    TelemetryError,
    decode,
)

MAX_HOSTS: Final = 20_000
"""Twice what one exporter was measured with; more are counted and left out."""
OFFLINE_LIFE_S: Final = 3600.0
"""How long a host that has gone is remembered as offline."""
MAX_VERSIONS: Final = 16
"""Of agents, by how many hosts run them: a host alone cannot make new series by new names."""
OFFLINE: Final = "offline"
HOST_STATES: Final = (*STATES, OFFLINE)
STAGE_BOUNDS_S: Final = (
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.016,
    0.025,
    0.033,
    0.05,
    0.1,
    0.25,
    1.0,
)
"""A frame of 60 a second lasts 16 ms, of 30 a second 33 ms."""
RTT_BOUNDS_S: Final = (0.001, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.4, 1.0)


class Histogram:
    """Classic buckets by labels, of values that were looked at."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.rows: dict[tuple[str, ...], tuple[list[int], float]] = {}

    def observe(self, labels: tuple[str, ...], value: float) -> None:
        """One value, 0 or more."""
        counts, total = self.rows.get(labels) or ([0] * (len(self.bounds) + 1), 0.0)
        index = next((i for i, bound in enumerate(self.bounds) if value <= bound), -1)
        counts[index] += 1
        self.rows[labels] = (counts, total + value)

    def buckets(self) -> Iterator[tuple[tuple[str, ...], list[tuple[str, float]], float]]:
        """Each row's cumulative counts by their upper bound, and its sum."""
        names = [repr(bound) for bound in self.bounds] + ["+Inf"]
        for labels, (counts, total) in self.rows.items():
            sums = [float(sum(counts[: i + 1])) for i in range(len(counts))]
            yield labels, list(zip(names, sums, strict=True)), total


@dataclass(slots=True)
class Host:
    """One host's newest frame, and when it was first seen (seconds of the wall clock)."""

    payload: bytes
    telemetry: Telemetry
    seen_at: float
    look: int
    online: bool = True
    verdicts: tuple[Verdict, ...] = ()

    @property
    def state(self) -> str:
        """One of HOST_STATES."""
        return self.telemetry.state if self.online else OFFLINE


@dataclass(slots=True)
class Totals:
    """What the hosts that are online add up to; `hosts` has the others, too."""

    hosts: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(HOST_STATES, 0)))
    sessions: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """By codec, encoder and path."""
    congestion: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[Verdict] = field(default_factory=lambda: Counter(dict.fromkeys(POSSIBLE, 0)))
    versions: frozenset[str] = frozenset()
    """The agents' that have a name of their own; the others are `other`."""


class Fleet:
    """Takes one look after the other: `note` for each frame that is there, then `complete`."""

    def __init__(self, max_hosts: int = MAX_HOSTS) -> None:
        self.hosts: dict[str, Host] = {}
        self.totals = Totals()
        self.seen = False
        """Whether one look was whole; before it nobody knows how many hosts there are."""
        self.left_out = 0
        """Hosts for which there was no room in the last look."""
        self.frames: Counter[str] = Counter({"new": 0, "invalid": 0})
        self.dropped: Counter[str] = Counter(dict.fromkeys(DROPS, 0))
        """Frames of pictures, by why; a lower bound (see `_count`)."""
        self.packets: Counter[str] = Counter(dict.fromkeys(REPAIRS, 0))
        """By the names of REPAIRS; a lower bound, too."""
        self.stages = Histogram(STAGE_BOUNDS_S)
        """By stage, encoder and codec."""
        self.round_trips = Histogram(RTT_BOUNDS_S)
        """By path."""
        self.legs = Histogram(STAGE_BOUNDS_S)
        """By leg and path."""
        self._max_hosts = max_hosts
        self._look = 0
        self._left_out = 0

    def note(self, name: str, payload: bytes, now: float) -> None:
        """A frame is there; a second time in one look changes nothing."""
        host = self.hosts.get(name)
        if host is not None and host.payload == payload:
            host.look, host.online = self._look, True
            return
        try:
            telemetry = decode(payload)
        except TelemetryError:
            self.frames["invalid"] += 1
            return
        if host is None:
            if not ROOM_PATTERN.fullmatch(name) or not self._has_room():
                self._left_out += 1
                return
            host = self.hosts[name] = Host(payload, telemetry, now, self._look)
        else:
            self._count(host.telemetry, telemetry)
            host.payload, host.telemetry, host.seen_at = payload, telemetry, now
            host.look, host.online = self._look, True
        self.frames["new"] += 1
        failing = telemetry.state == "failing"
        host.verdicts = tuple(judge(session, failing=failing) for session in telemetry.sessions)
        for session in telemetry.sessions:
            self._observe(session)

    def _has_room(self) -> bool:
        """Whoever is offline gives way, the longest first."""
        if len(self.hosts) < self._max_hosts:
            return True
        gone = [name for name, host in self.hosts.items() if not host.online]
        if gone:
            del self.hosts[min(gone, key=lambda name: self.hosts[name].seen_at)]
        return bool(gone)

    def _observe(self, session: SessionFigures) -> None:
        for stage, median_s in session.stages_s.items():
            self.stages.observe((stage, session.encoder, session.codec), median_s)
        if session.rtt_s is not None:
            self.round_trips.observe((session.path,), session.rtt_s)
        for leg, median_s in (session.legs_s or {}).items():
            self.legs.observe((leg, session.path), median_s)

    def _count(self, before: Telemetry, after: Telemetry) -> None:
        """Sessions have no names here: where their number changed, one interval is not counted."""
        if len(before.sessions) != len(after.sessions):
            return
        for old, new in zip(before.sessions, after.sessions, strict=True):
            for reason, count in new.dropped.items():
                self.dropped[reason] += max(0, count - old.dropped.get(reason, 0))
            for kind, count in (new.repair or {}).items():
                self.packets[kind] += max(0, count - (old.repair or {}).get(kind, 0))

    def complete(self, now: float) -> None:
        """The look is whole: who was not in it is offline."""
        totals, versions = Totals(), Counter[str]()
        for name, host in list(self.hosts.items()):
            host.online = host.look == self._look
            if not host.online and now - host.seen_at > OFFLINE_LIFE_S:
                del self.hosts[name]
                continue
            totals.hosts[host.state] += 1
            versions[host.telemetry.agent] += 1
            if host.online:
                for session in host.telemetry.sessions:
                    totals.sessions[session.codec, session.encoder, session.path] += 1
                    totals.congestion[session.congestion] += 1
                totals.verdicts.update(host.verdicts)
        totals.versions = frozenset(name for name, _ in versions.most_common(MAX_VERSIONS))
        self.totals = totals
        self.seen = True
        self.left_out, self._left_out = self._left_out, 0
        self._look += 1

    def version(self, host: Host) -> str:
        """The host's agent as a label."""
        version = host.telemetry.agent
        return version if version in self.totals.versions else OTHER
