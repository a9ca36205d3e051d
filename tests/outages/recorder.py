"""Stands outside both endpoints: what was said, what was applied, and when, for every direction of every pair.

A stream is one direction of one negotiation (of one connection in the plain dialect). Its items carry their own
number, so what is counted here is what really came out at the other end.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Literal, NewType

from loadtests.receipt import Receipt

Direction = Literal["up", "down"]
StreamId = NewType("StreamId", str)


@dataclass(slots=True)
class Stream:
    """Times are monotonic seconds; the index in `said` is the item's number."""

    room: str
    direction: Direction
    said: list[float] = field(default_factory=list)
    applied: list[tuple[int, float]] = field(default_factory=list)
    receipt: Receipt = field(default_factory=Receipt)
    over: bool = False
    """The protocol has ended it, so what was not applied by then is not owed."""

    def apply(self, number: int) -> None:
        """An item has come out now."""
        self.applied.append((number, time.monotonic()))
        self.receipt.take(number)

    @property
    def missing(self) -> int:
        """How many items were said and never applied."""
        return self.receipt.lost(len(self.said))


class Recorder:
    """Knows every stream of a test."""

    def __init__(self) -> None:
        self.streams: dict[StreamId, Stream] = {}
        self.left: set[str] = set()

    def begin(self, room: str, direction: Direction, name: str) -> StreamId:
        """A new stream; `name` is that of its negotiation or connection."""
        stream = StreamId(f"{room}/{direction}/{name}")
        self.streams[stream] = Stream(room, direction)
        return stream

    def say(self, stream: StreamId) -> str:
        """The text of the next item of a stream."""
        said = self.streams[stream].said
        said.append(time.monotonic())
        return f"{stream} {len(said) - 1}"

    def apply(self, text: str) -> None:
        """An item has come out at the other end."""
        stream, number = text.split(" ")
        self.streams[StreamId(stream)].apply(int(number))

    def end(self, stream: StreamId | None) -> None:
        """A stream is over, if it ever began."""
        if stream in self.streams:
            self.streams[stream].over = True

    def go_on(self, stream: StreamId | None) -> None:
        """A stream that seemed over is not."""
        if stream in self.streams:
            self.streams[stream].over = False

    def end_room(self, room: str) -> None:
        """Everybody has left it on purpose."""
        self.left.add(room)
        for stream in self.streams.values():
            stream.over = stream.over or stream.room == room

    @property
    def lost(self) -> int:
        """Items of running streams that were never applied; a test waits for 0."""
        return sum(stream.missing for stream in self.streams.values() if not stream.over)

    @property
    def doubled(self) -> int:
        """Over all streams."""
        return sum(stream.receipt.doubled for stream in self.streams.values())

    @property
    def reordered(self) -> int:
        """Over all streams."""
        return sum(stream.receipt.reordered for stream in self.streams.values())

    @property
    def skipped(self) -> int:
        """Over all streams, the ended ones too."""
        return sum(stream.receipt.skipped for stream in self.streams.values())

    def deliveries(self, since: float) -> dict[str, float]:
        """For each room: when both directions have applied something said since then; inf: not yet."""
        first: dict[tuple[str, Direction], float] = {}
        for stream in self.streams.values():
            if stream.room in self.left:
                continue
            key = (stream.room, stream.direction)
            fresh = [at for number, at in stream.applied if stream.said[number] >= since]
            first[key] = min([first.get(key, math.inf), *fresh])
        rooms = {room for room, _ in first}
        return {
            room: max(first.get((room, "up"), math.inf), first.get((room, "down"), math.inf))
            for room in rooms
        }

    def recovery_s(self, since: float, share: float = 0.99) -> float:
        """Seconds from then until this share of the rooms delivers in both directions; inf: not yet."""
        times = sorted(self.deliveries(since).values())
        return times[math.ceil(share * len(times)) - 1] - since if times else math.inf

    def silence_s(self, rooms: set[str], since: float) -> float:
        """The longest time that one direction of these rooms applied nothing, from then until now."""
        applied: dict[tuple[str, Direction], list[float]] = {}
        for stream in self.streams.values():
            if stream.room in rooms:
                times = applied.setdefault((stream.room, stream.direction), [])
                times += [at for _, at in stream.applied if at >= since]
        now = time.monotonic()
        gaps = [
            after - before
            for times in applied.values()
            for before, after in zip([since, *sorted(times)], [*sorted(times), now], strict=True)
        ]
        return max(gaps, default=math.inf)
