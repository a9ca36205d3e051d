"""When each frame went through the host, as the `stats` channel tells it (docs/protocol.md 6.3, 6.4): a core.

Flow: agent/transport/sender.py notes a frame, agent/session.py an input, agent/frame_reports.py tells them.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from cluster.protocol.telemetry import LEGS

VERSION: Final = 1
TYPE_CLOCK: Final = 2
TYPE_FRAMES: Final = 3
TYPE_ASK: Final = 4
TYPE_LEGS: Final = 5
TYPE_WANT: Final = 7
TYPE_ARRIVALS: Final = 8
TYPE_FREEZES: Final = 9
MAX_FRAMES: Final = 32
"""A message of so many has 1,163 bytes, which fit in one packet."""
MAX_ARRIVALS: Final = 16
"""In one message: what 240 frames a second make of 50 ms, and a little of the time before."""
MAX_INPUTS: Final = 512
"""The guard lets 500 a second in, and a frame is told within a second."""
NOT_KNOWN: Final = 0xFFFF_FFFF

_HEAD: Final = struct.Struct("!BB")
_ASK: Final = struct.Struct("!BBQ")
_CLOCK: Final = struct.Struct("!BBQQQ")
_FRAMES: Final = struct.Struct("!BBQB")
_FRAME: Final = struct.Struct("!9I")
_ARRIVALS: Final = struct.Struct("!BBQB")
_ARRIVAL: Final = struct.Struct("!II")
_FREEZES: Final = struct.Struct("!BBI")
_LEGS: Final = struct.Struct(f"!BB{len(LEGS)}I")
_U32: Final = 0xFFFF_FFFF


class StatsError(ValueError):
    """A `stats` message of the browser that is not as docs/protocol.md 6.4 says; the text names the field."""


@dataclass(frozen=True, slots=True)
class SentFrame:
    """One frame as it went out to one viewer; times in microseconds of the host's monotonic clock."""

    rtp_timestamp: int
    captured_us: int
    """When reading it began."""
    grabbed_us: int
    """When it was read; the same as `captured_us`: it was not, the picture before is told again."""
    converted_us: int
    encoded_us: int
    first_sent_us: int
    last_sent_us: int
    """When the kernel had its last packet."""


@dataclass(frozen=True, slots=True)
class Ask:
    """The browser asks for frames, and what time it is."""

    asked_us: int
    """The browser's clock, given back as it is."""


@dataclass(frozen=True, slots=True)
class Legs:
    """What the browser measured in the last two seconds: medians in seconds, by names of LEGS."""

    seconds: dict[str, float]


@dataclass(frozen=True, slots=True)
class Arrivals:
    """When frames had arrived, in the order in which they were shown."""

    frames: tuple[tuple[int, float], ...]
    """RTP timestamp, and when the last packet came, in seconds of the browser's clock."""


@dataclass(frozen=True, slots=True)
class Freezes:
    """How often the picture stood still since the connection began: `freezeCount` of W3C webrtc-stats."""

    count: int


class InputTimes:
    """When the newest inputs were injected; the oldest is forgotten beyond MAX_INPUTS."""

    def __init__(self) -> None:
        self._noted: deque[tuple[int, int]] = deque(maxlen=MAX_INPUTS)

    def note(self, sequence: int, injected_us: int) -> None:
        """Everything up to event `sequence` has been injected; one that was noted stays as it is."""
        if sequence and (not self._noted or self._noted[-1][1] != sequence):
            self._noted.append((injected_us, sequence))

    def before(self, at_us: int) -> tuple[int, int]:
        """The newest event that was injected before, and when; (0, `at_us`): none is known."""
        index = bisect_right(self._noted, at_us, key=lambda noted: noted[0])
        if not index:
            return 0, at_us
        injected_us, sequence = self._noted[index - 1]
        return sequence, injected_us


def _delta(later_us: int, earlier_us: int) -> int:
    return min(max(later_us - earlier_us, 0), _U32)


def encode_frames(frames: Sequence[SentFrame], inputs: InputTimes) -> Iterator[bytes]:
    """The FRAMES messages of some frames, in order."""
    for start in range(0, len(frames), MAX_FRAMES):
        some = frames[start : start + MAX_FRAMES]
        base_us = min(frame.captured_us for frame in some)
        rows = [_frame(frame, base_us, inputs) for frame in some]
        yield b"".join((_FRAMES.pack(VERSION, TYPE_FRAMES, base_us, len(some)), *rows))


def _frame(frame: SentFrame, base_us: int, inputs: InputTimes) -> bytes:
    began_us = frame.captured_us
    sequence, injected_us = inputs.before(began_us)
    return _FRAME.pack(
        frame.rtp_timestamp,
        _delta(began_us, base_us),
        _delta(frame.grabbed_us, began_us),
        _delta(frame.converted_us, began_us),
        _delta(frame.encoded_us, began_us),
        _delta(frame.first_sent_us, began_us),
        _delta(frame.last_sent_us, began_us),
        sequence,
        _delta(began_us, injected_us),
    )


def encode_clock(asked_us: int, heard_us: int, said_us: int) -> bytes:
    """CLOCK: an ASK came at `heard_us` of the host's clock, and this answer leaves at `said_us`."""
    return _CLOCK.pack(VERSION, TYPE_CLOCK, asked_us, heard_us, said_us)


def encode_want() -> bytes:
    """WANT: the browser is to tell arrivals."""
    return _HEAD.pack(VERSION, TYPE_WANT)


def _arrivals(payload: bytes) -> Arrivals:
    if len(payload) < _ARRIVALS.size:
        raise StatsError(f"arrivals: expected {_ARRIVALS.size} bytes or more, got {len(payload)}")
    _, _, base_us, count = _ARRIVALS.unpack_from(payload)
    if not 1 <= count <= MAX_ARRIVALS:
        raise StatsError(f"count: expected 1 to {MAX_ARRIVALS} arrivals, got {count}")
    size = _ARRIVALS.size + count * _ARRIVAL.size
    if len(payload) != size:
        raise StatsError(f"size: expected {size} bytes, got {len(payload)}")
    rows = _ARRIVAL.iter_unpack(payload[_ARRIVALS.size :])
    return Arrivals(tuple((stamp, (base_us + after_us) / 1e6) for stamp, after_us in rows))


def decode(payload: bytes) -> Ask | Legs | Arrivals | Freezes:
    """One message of the browser; raise StatsError when it is none."""
    if len(payload) < _HEAD.size:
        raise StatsError(f"head: expected {_HEAD.size} bytes, got {len(payload)}")
    version, kind = _HEAD.unpack_from(payload)
    if version != VERSION:
        raise StatsError(f"version: expected {VERSION}, got {version}")
    if kind == TYPE_ARRIVALS:
        return _arrivals(payload)
    shape = {TYPE_ASK: _ASK, TYPE_LEGS: _LEGS, TYPE_FREEZES: _FREEZES}.get(kind)
    if shape is None:
        known = (TYPE_ASK, TYPE_LEGS, TYPE_ARRIVALS, TYPE_FREEZES)
        raise StatsError(f"type: expected one of {known}, got {kind}")
    if len(payload) != shape.size:
        raise StatsError(f"size: expected {shape.size} bytes, got {len(payload)}")
    values = shape.unpack(payload)[2:]
    if kind == TYPE_ASK:
        return Ask(values[0])
    if kind == TYPE_FREEZES:
        return Freezes(values[0])
    named = zip(LEGS, values, strict=True)
    return Legs({leg: us / 1e6 for leg, us in named if us != NOT_KNOWN})
